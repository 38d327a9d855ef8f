//! `z4j config show`: every setting with its value and its origin.
//!
//! Goes through the table of settings, and looks at values as the agent would. A secret's length is all that
//! leaves here.

use std::fmt::Write;

use serde::Serialize;

use super::engine_settings::EngineSettings;
use super::resolve::resolve_from;
use super::settings::{HMAC_SECRET, HMAC_SECRET_FILE, Known, SETTINGS, TOKEN, TOKEN_FILE};
use super::source::{Origin, Reader, Setting};
use super::{ConfigError, ConfigFlags};
use crate::environment::Environment;
use crate::net::proxy;
use crate::words::visible;

/// The document of `z4j config show --json`.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    /// Whether an agent can be built from this.
    pub(crate) ok: bool,
    /// Why not.
    pub(crate) error: Option<Problem>,
    /// The settings, in the order of the table.
    pub(crate) settings: Vec<Row>,
    /// The engines and what they can be asked to do.
    pub(crate) engines: Vec<EngineRow>,
    /// What the agent would say on its way up.
    pub(crate) warnings: Vec<String>,
}

/// What is wrong.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    code: &'static str,
    message: String,
    fix: String,
}

/// A setting.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    name: &'static str,
    /// Its value, a secret's length, or nothing.
    value: Option<String>,
    /// `flag`, `environment`, `file`, `credential`, `default`, or nothing.
    origin: Option<&'static str>,
    /// Which flag, variable, or line of which file.
    place: Option<String>,
    /// The file that holds the secret.
    secret_file: Option<String>,
    /// What is wrong with the value.
    problem: Option<String>,
    secret: bool,
    flag: Option<String>,
    file_key: Option<&'static str>,
    bounds: String,
    help: &'static str,
}

/// An engine.
#[derive(Debug, Serialize)]
pub(crate) struct EngineRow {
    name: String,
    adapter: &'static str,
    actions: Vec<String>,
}

impl From<&ConfigError> for Problem {
    fn from(error: &ConfigError) -> Self {
        Self { code: error.code(), message: error.to_string(), fix: error.fix() }
    }
}

impl Shown {
    /// Looks at everything.
    pub(crate) fn gather(environment: &Environment, flags: &ConfigFlags) -> Self {
        let (reader, unread) = match Reader::new(environment, flags) {
            Ok(reader) => (reader, None),
            // What flags and variables say is shown all the same.
            Err(error) => (Reader { environment, flags, file: None }, Some(error)),
        };
        let resolved = resolve_from(&reader);
        let error = unread.as_ref().or(resolved.as_ref().err()).map(Problem::from);
        let tables = reader.file.as_ref().map(|file| &file.engines);
        Self {
            ok: error.is_none(),
            error,
            settings: {
                let is_secure =
                    resolved.as_ref().map_or(true, |resolved| resolved.config.brain_url.is_secure());
                let mut settings = rows(&reader);
                settings.extend(proxies(environment, is_secure));
                settings
            },
            engines: match &resolved {
                Ok(resolved) => engines(&resolved.config.engines),
                Err(_) => tables.map(engines).unwrap_or_default(),
            },
            warnings: resolved.map(|resolved| resolved.warnings).unwrap_or_default(),
        }
    }

    /// As JSON.
    pub(crate) fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// As a table.
    pub(crate) fn text(&self) -> String {
        let value = |row: &Row| match (&row.value, &row.problem) {
            (Some(value), _) => visible(value),
            (None, Some(_)) => "invalid".to_owned(),
            (None, None) => "not set".to_owned(),
        };
        let widest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or_default().min(48);
        let names = widest(&mut self.settings.iter().map(|row| row.name.len()));
        let values = widest(&mut self.settings.iter().map(|row| value(row).chars().count()));
        let mut out = String::new();
        for row in &self.settings {
            let line =
                format!("{:names$}  {:values$}  {}", row.name, value(row), visible(&row.origin_text()));
            let _ = writeln!(out, "{}", line.trim_end());
            if let Some(problem) = &row.problem {
                let _ = writeln!(out, "  ! {}", visible(problem));
            }
        }
        for EngineRow { name, adapter, actions } in &self.engines {
            let actions: Vec<String> = actions.iter().map(|action| visible(action)).collect();
            let line = format!("[engine.{name}]  {adapter}  {}", actions.join(", "));
            let _ = writeln!(out, "{}", line.trim_end());
        }
        out
    }

    /// One line: why no agent can be built from this.
    pub(crate) fn complaint(&self) -> Option<String> {
        let Problem { code, message, fix } = self.error.as_ref()?;
        Some(format!("{message}; fix: {fix} [{code}]"))
    }
}

impl Row {
    fn origin_text(&self) -> String {
        let words = [self.origin.map(str::to_owned), self.place.clone()];
        let text = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
        match &self.secret_file {
            Some(file) if self.origin != Some("credential") => format!("{text} ({file})"),
            _ => text,
        }
    }
}

fn rows(reader: &Reader<'_>) -> Vec<Row> {
    let beside_secret = [&TOKEN_FILE, &HMAC_SECRET_FILE].map(|spec| spec.meta.key);
    let known = SETTINGS.iter().filter(|known| !beside_secret.contains(&known.meta().key));
    // What has no effect is shown only where somebody set it.
    known.map(|known| row(*known, reader)).filter(Row::is_worth_showing).collect()
}

/// What leads to a proxy; shown where it does, since no flag or file does.
fn proxies(environment: &Environment, is_secure: bool) -> impl Iterator<Item = Row> {
    proxy::effective(environment, is_secure).into_iter().map(|(name, value)| Row {
        name,
        value: Some(value),
        origin: Some("environment"),
        place: Some(name.to_owned()),
        secret_file: None,
        problem: None,
        secret: false,
        flag: None,
        file_key: None,
        bounds: "as curl reads it".to_owned(),
        help: "The proxy on the way to the brain, or who is reached without one",
    })
}

impl Row {
    fn is_worth_showing(&self) -> bool {
        let ignored = SETTINGS.iter().any(|known| known.meta().name() == self.name && known.meta().ignored);
        !ignored || self.value.is_some() || self.problem.is_some()
    }
}

fn row(known: &dyn Known, reader: &Reader<'_>) -> Row {
    let meta = known.meta();
    let found = match meta.key {
        key if key == TOKEN.meta.key => reader.token(),
        key if key == HMAC_SECRET.meta.key => reader.hmac_secret(),
        _ => reader.find(meta),
    };
    let mut row = Row {
        name: meta.name(),
        value: None,
        origin: None,
        place: None,
        secret_file: None,
        problem: None,
        secret: meta.secret,
        flag: meta.flag.then(|| meta.flag_name()),
        file_key: meta.in_file.then_some(meta.key),
        bounds: known.bounds(),
        help: meta.help,
    };
    match found {
        Err(error) => row.problem = Some(error.to_string()),
        Ok(Some(setting)) => row.fill(known, &setting, reader),
        Ok(None) if !meta.default.is_empty() => {
            row.value = Some(meta.default.to_owned());
            row.origin = Some("default");
        }
        Ok(None) => {}
    }
    row
}

impl Row {
    fn fill(&mut self, known: &dyn Known, setting: &Setting, reader: &Reader<'_>) {
        self.value = Some(setting.shown());
        self.problem = problem(known, setting, reader);
        self.secret_file = setting.secret_file.as_ref().map(|file| file.display().to_string());
        let (origin, place) = match &setting.origin {
            Origin::Flag(flag) => ("flag", flag.clone()),
            Origin::Environment(variable) => ("environment", (*variable).to_owned()),
            Origin::File(path, line) => ("file", format!("{}:{line}", path.display())),
            Origin::Credential(path) => ("credential", path.display().to_string()),
        };
        (self.origin, self.place) = (Some(origin), Some(place));
    }
}

fn problem(known: &dyn Known, setting: &Setting, reader: &Reader<'_>) -> Option<String> {
    match known.meta().key {
        key if key == TOKEN.meta.key => crate::secret::Token::parse(&setting.value).err().map(str::to_owned),
        key if key == HMAC_SECRET.meta.key => {
            z4j_protocol::HmacSecret::parse(&setting.value).err().map(|error| error.to_string())
        }
        _ => known.check(setting, reader).err().map(|error| error.to_string()),
    }
}

fn engines(engines: &std::collections::BTreeMap<String, EngineSettings>) -> Vec<EngineRow> {
    let row = |(name, settings): (&String, &EngineSettings)| match settings {
        EngineSettings::Null => EngineRow { name: name.clone(), adapter: "null", actions: Vec::new() },
        EngineSettings::Exec(actions) => {
            EngineRow { name: name.clone(), adapter: "exec", actions: actions.keys().cloned().collect() }
        }
    };
    engines.iter().map(row).collect()
}

#[cfg(test)]
#[path = "show_tests.rs"]
mod tests;
