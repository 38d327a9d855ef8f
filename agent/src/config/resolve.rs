//! From flags, environment and file to a [`Config`].

use std::collections::BTreeMap;

use z4j_protocol::HmacSecret;

use super::engine_settings::EngineSettings;
#[cfg(any(test, fuzzing))]
use super::file::ConfigFile;
use super::settings::{self, SETTINGS, nearest};
use super::source::{Reader, Setting};
use super::{BrainUrl, CaSettings, Config, ConfigError, ConfigFlags, RedactionSettings, Signing, dotenv};
use crate::environment::Environment;
use crate::net::proxy::{self, Proxy};
use crate::secret::Token;

/// Variables of the Python agent's past: where its files were to be.
const DEPRECATED: [&str; 2] = ["Z4J_RUNTIME_DIR", "Z4J_BUFFER_DIR"];

/// A configuration, and what should be said about how it came to be.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The configuration.
    pub(crate) config: Config,
    /// One sentence each, for stderr.
    pub(crate) warnings: Vec<String>,
}

/// Resolves the configuration.
///
/// # Errors
/// The first value that cannot be used; all required values that are missing at once.
pub(crate) fn resolve(environment: &Environment, flags: &ConfigFlags) -> Result<Resolved, ConfigError> {
    let reader = Reader::new(environment, flags)?;
    resolve_from(&reader)
}

/// As [`resolve`], with the text of a file.
#[cfg(any(test, fuzzing))]
pub(crate) fn resolve_text(environment: &Environment, text: &str) -> Result<Resolved, ConfigError> {
    let file = ConfigFile::parse("z4j.toml".as_ref(), text)?;
    resolve_from(&Reader { environment, flags: &ConfigFlags::default(), file: Some(file) })
}

/// Whether the operator said not to run (`Z4J_DISABLED`). Nothing else needs to be set for that.
///
/// # Errors
/// The setting, or the file that may hold it, cannot be used.
pub(crate) fn is_disabled(environment: &Environment, flags: &ConfigFlags) -> Result<bool, ConfigError> {
    Ok(Reader::new(environment, flags)?.get(&settings::DISABLED)?.unwrap_or_default())
}

pub(super) fn resolve_from(reader: &Reader<'_>) -> Result<Resolved, ConfigError> {
    refuse_export_names(reader.environment)?;
    let url = reader.find(settings::BRAIN_URL.meta)?;
    let project = reader.find(settings::PROJECT_ID.meta)?;
    let token = reader.token()?;
    let (Some(url), Some(_), Some(token)) = (&url, &project, &token) else {
        let required = [
            ("Z4J_BRAIN_URL", url.is_none()),
            ("Z4J_TOKEN", token.is_none()),
            ("Z4J_PROJECT_ID", project.is_none()),
        ];
        let names = required.into_iter().filter_map(|(name, missing)| missing.then_some(name)).collect();
        return Err(missing(reader.environment, names));
    };
    let dev_mode = reader.get(&settings::DEV_MODE)?.unwrap_or_default();
    let brain_url = brain_url(reader, url, dev_mode)?;
    let config = Config {
        proxy: proxy(reader.environment, &brain_url)?,
        brain_url,
        token: parse_token(token)?,
        project_id: reader.get(&settings::PROJECT_ID)?.unwrap_or_default(),
        signing: signing(reader)?,
        agent_name: reader.get(&settings::AGENT_NAME)?,
        agent_id: reader.get(&settings::AGENT_ID)?,
        transport: reader.get(&settings::TRANSPORT)?.unwrap_or_default(),
        dev_mode,
        home: reader.get(&settings::HOME)?,
        buffer_path: reader.get(&settings::BUFFER_PATH)?,
        buffer_max_bytes: reader.get(&settings::BUFFER_MAX_BYTES)?.unwrap_or_default(),
        buffer_max_events: reader.get(&settings::BUFFER_MAX_EVENTS)?.unwrap_or_default(),
        ca: CaSettings {
            cert_file: reader.environment.path("SSL_CERT_FILE"),
            cert_dir: reader.environment.path("SSL_CERT_DIR"),
            extra_file: reader.get(&settings::CA_FILE)?,
        },
        venv: reader.get(&settings::VENV)?,
        worker_role: reader.get(&settings::WORKER_ROLE)?,
        heartbeat: reader.get(&settings::HEARTBEAT)?.unwrap_or_default(),
        agent_status: !reader.get(&settings::AGENT_STATUS_DISABLED)?.unwrap_or_default(),
        log_level: reader.get(&settings::LOG_LEVEL)?.unwrap_or_default(),
        log_format: reader.get(&settings::LOG_FORMAT)?.unwrap_or_default(),
        redaction: redaction(reader)?,
        engines: engines(reader)?,
        has_engine_tables: reader.file.as_ref().is_some_and(|file| !file.engines.is_empty()),
        orchestrated: reader.get(&settings::ORCHESTRATED)?,
        stop_timeout: reader.get(&settings::STOP_TIMEOUT)?.unwrap_or_default(),
        ingest: reader.get(&settings::INGEST)?,
    };
    is_disabled_from(reader)?;
    Ok(Resolved { config, warnings: warnings(reader)? })
}

fn proxy(environment: &Environment, brain_url: &BrainUrl) -> Result<Option<Proxy>, ConfigError> {
    proxy::choose(environment, brain_url).map_err(|error| ConfigError::Invalid {
        fix: format!("set {} to http://HOST:PORT, or NO_PROXY={}", error.variable, brain_url.host_text()),
        name: error.variable,
        value: Some(error.value),
        problem: error.problem.to_owned(),
    })
}

/// The value is for `run` alone; that it can be read is for everybody.
fn is_disabled_from(reader: &Reader<'_>) -> Result<bool, ConfigError> {
    Ok(reader.get(&settings::DISABLED)?.unwrap_or_default())
}

fn redaction(reader: &Reader<'_>) -> Result<RedactionSettings, ConfigError> {
    let string_bytes = reader.get(&settings::MAX_PAYLOAD_BYTES)?.unwrap_or_default();
    Ok(RedactionSettings {
        key_patterns: reader.get(&settings::KEY_PATTERNS)?.unwrap_or_default(),
        value_patterns: reader.get(&settings::VALUE_PATTERNS)?.unwrap_or_default(),
        string_bytes: usize::try_from(string_bytes).unwrap_or(usize::MAX),
    })
}

/// Engines with a table, and those that are only named: their events come from here, their commands are
/// refused.
fn engines(reader: &Reader<'_>) -> Result<BTreeMap<String, EngineSettings>, ConfigError> {
    let mut engines = reader.file.as_ref().map(|file| file.engines.clone()).unwrap_or_default();
    for name in reader.get(&settings::ENGINES)?.unwrap_or_default() {
        engines.entry(name).or_insert(EngineSettings::Null);
    }
    Ok(engines)
}

fn parse_token(setting: &Setting) -> Result<Token, ConfigError> {
    let fix = format!("set {} to the value that the brain showed when the agent was made", setting.name);
    Token::parse(&setting.value).map_err(|problem| setting.invalid(problem, &fix))
}

fn signing(reader: &Reader<'_>) -> Result<Signing, ConfigError> {
    Ok(match reader.hmac_secret()? {
        None => Signing::Missing,
        Some(setting) => match HmacSecret::parse(&setting.value) {
            Ok(secret) => Signing::Ready(secret),
            Err(error) => Signing::Invalid(error, setting.name),
        },
    })
}

fn brain_url(reader: &Reader<'_>, setting: &Setting, dev_mode: bool) -> Result<BrainUrl, ConfigError> {
    use super::kind::Kind;
    let url = settings::BRAIN_URL.kind.read(setting, reader.environment)?;
    if !url.is_secure() && url.host().is_some() && !url.is_loopback() && !dev_mode {
        return Err(ConfigError::Plaintext {
            name: setting.name.clone(),
            url: url.as_str().to_owned(),
            secure: url.with_https(),
        });
    }
    Ok(url)
}

/// `export Z4J_TOKEN=…` in a file that is no shell script makes a variable of that whole name.
fn refuse_export_names(environment: &Environment) -> Result<(), ConfigError> {
    let mut names = environment.variables.keys().filter_map(|name| name.to_str());
    let Some(name) = names.find(|name| name.starts_with("export Z4J_")) else {
        return Ok(());
    };
    Err(ConfigError::Invalid {
        name: name.to_owned(),
        value: None,
        problem: "the name begins with `export `: the env file is read as plain lines, not by a shell"
            .to_owned(),
        fix: "remove `export ` from the lines of the env file: sed -i 's/^export //' FILE".to_owned(),
    })
}

fn missing(environment: &Environment, names: Vec<&'static str>) -> ConfigError {
    let file = environment.current_dir.as_ref().map(|dir| dir.join(".env"));
    let found = file.as_deref().map(|file| dotenv::look(file, &names)).unwrap_or_default();
    match file {
        Some(file) if names.iter().all(|name| found.names.contains(name)) => {
            ConfigError::EnvFileNotLoaded { names, file, exported: found.exported }
        }
        _ => ConfigError::Missing { names },
    }
}

/// What was set and does something else than it seems to.
fn warnings(reader: &Reader<'_>) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    let variables = &reader.environment.variables;
    let value = reader.environment.get("Z4J_DEV_MODE").and_then(|value| value.to_str()).unwrap_or_default();
    let on = matches!(value.trim().to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on");
    if on && !reader.get(&settings::DEV_MODE)?.unwrap_or_default() {
        warnings.push("Z4J_DEV_MODE in the environment is ignored; use --dev-mode".to_owned());
    }
    // The Python agent takes an empty value of this one variable for "off", and of every other for "unset".
    if variables.get(std::ffi::OsStr::new("Z4J_HEARTBEAT")).is_some_and(|value| value.is_empty()) {
        warnings
            .push("Z4J_HEARTBEAT is empty, which is unset here; write Z4J_HEARTBEAT=0 to disable".to_owned());
    }
    for known in SETTINGS.iter().filter(|known| known.meta().ignored) {
        if let Some(setting) = reader.find(known.meta())? {
            warnings.push(format!("{} has no effect", setting.name));
        }
    }
    for name in DEPRECATED.into_iter().filter(|name| reader.environment.get(name).is_some()) {
        warnings.push(format!("{name} has no effect; set Z4J_HOME to the directory that holds the buffer"));
    }
    warnings.extend(variables.keys().filter_map(|name| misspelt(name.to_str()?)));
    Ok(warnings)
}

/// A sentence about a variable that is no setting, and nearly is.
fn misspelt(name: &str) -> Option<String> {
    let known = || SETTINGS.iter().map(|known| known.meta().variable).filter(|name| name.starts_with("Z4J_"));
    let others = ["Z4J_DEV_MODE"].into_iter().chain(DEPRECATED);
    if !name.starts_with("Z4J_") || known().chain(others).any(|known| known == name) {
        return None;
    }
    let near = nearest(name, known())?;
    Some(format!("{name} is no setting; did you mean {near}?"))
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
pub(super) mod tests;
