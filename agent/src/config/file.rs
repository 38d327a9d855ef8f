//! The file of settings: TOML, read strictly. Every refusal is placed: file, line, column.
//!
//! Its keys are the variables' names without `Z4J_`, in lower case, and the tables `[engine.NAME]`. It holds
//! no secret, only the paths of their files.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::engine_settings::{self, EngineSettings};
use super::settings::{Meta, SETTINGS, nearest};
use super::source::Setting;
use super::{ConfigError, secret_file};
use crate::environment::Environment;
use crate::files;
use crate::words::{errno_text, word};

/// Largest file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a file says.
pub(crate) struct ConfigFile {
    /// Its path, as it was given.
    pub(crate) path: PathBuf,
    /// Its settings by key.
    pub(super) entries: BTreeMap<&'static str, Entry>,
    /// Its `[engine.NAME]` tables.
    pub(super) engines: BTreeMap<String, EngineSettings>,
}

/// A setting of the file.
pub(super) struct Entry {
    pub(super) value: Raw,
    /// Its line, from 1.
    pub(super) line: usize,
}

/// A value as text.
pub(super) enum Raw {
    One(String),
    Many(Vec<String>),
}

impl ConfigFile {
    /// Reads the file that a setting names.
    ///
    /// # Errors
    /// It cannot be read, or says what no file may say.
    pub(super) fn read(setting: &Setting, environment: &Environment) -> Result<Self, ConfigError> {
        let path = Path::new(&setting.value);
        let bytes = files::read(path, MAX_FILE_BYTES).map_err(|error| {
            if error.kind() == io::ErrorKind::PermissionDenied {
                return secret_file::unreadable(&setting.name, path, environment, &error);
            }
            let fix = format!("set {} to the path of a readable TOML file", setting.name);
            setting.invalid(&errno_text(&error), &fix)
        })?;
        let text = String::from_utf8(bytes)
            .map_err(|_| setting.invalid("the file is not UTF-8", "write the file anew as TOML in UTF-8"))?;
        let file = Self::parse(path, &text)?;
        file.refuse_open_programs(setting)?;
        Ok(file)
    }

    /// Whoever can write the file chooses what the agent runs.
    fn refuse_open_programs(&self, setting: &Setting) -> Result<(), ConfigError> {
        let runs = self.engines.values().any(|engine| matches!(engine, EngineSettings::Exec(_)));
        let mode = std::fs::metadata(&self.path).map_or(0, |metadata| metadata.permissions().mode());
        if runs && mode & 0o002 != 0 {
            let fix = format!("chmod o-w {}", word(&self.path));
            return Err(setting.invalid("it names programs to run, and everybody may write it", &fix));
        }
        Ok(())
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// It says what no file may say.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let place = Place { path, text };
        let table = DeTable::parse(text).map_err(|error| place.toml(&error))?;
        let mut file = Self { path: path.to_owned(), entries: BTreeMap::new(), engines: BTreeMap::new() };
        for (key, value) in table.into_inner() {
            if key.get_ref() == "engine" {
                file.engines = engine_settings::read(value, &place)?;
                continue;
            }
            let meta = place.key(&key)?;
            let (line, _) = place.line(key.span().start);
            let value = place.value(&meta, &value)?;
            file.entries.insert(meta.key, Entry { value, line });
        }
        Ok(file)
    }
}

/// A file's text, to say where something stands in it.
pub(super) struct Place<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Place<'_> {
    /// A refusal of what stands at an offset.
    pub(super) fn refuse(&self, offset: usize, problem: &str, fix: &str) -> ConfigError {
        let (line, column) = self.line(offset);
        ConfigError::File {
            path: self.path.to_owned(),
            line,
            column,
            problem: problem.to_owned(),
            fix: fix.to_owned(),
        }
    }

    /// A refusal by the TOML reader.
    pub(super) fn toml(&self, error: &toml::de::Error) -> ConfigError {
        let offset = error.span().map_or(0, |span| span.start);
        let problem = error.message().replace('\n', ", ");
        self.refuse(offset, &problem, "correct that line; `z4j config show --help` has an example of a file")
    }

    /// Line and column, both from 1.
    fn line(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
    }

    fn key(&self, key: &Spanned<std::borrow::Cow<'_, str>>) -> Result<Meta, ConfigError> {
        let (name, at) = (key.get_ref().as_ref(), key.span().start);
        let metas = || SETTINGS.iter().map(|known| known.meta());
        match metas().find(|meta| meta.key == name) {
            Some(meta) if meta.secret => {
                let problem = format!("`{name}` would put a secret into the file of settings");
                let fix =
                    format!("put it into a file of its own (mode 0400) and write {name}_file = \"/PATH\"");
                Err(self.refuse(at, &problem, &fix))
            }
            Some(meta) if !meta.in_file => {
                let problem = format!("`{name}` is no setting of the file");
                let fix = format!("set {} in the environment", meta.variable);
                Err(self.refuse(at, &problem, &fix))
            }
            Some(meta) => Ok(meta),
            None => {
                let allowed = || metas().filter(|meta| meta.in_file && !meta.ignored).map(|meta| meta.key);
                let bare = name.to_ascii_lowercase();
                let bare = bare.strip_prefix("z4j_").unwrap_or(&bare);
                let fix = match nearest(bare, allowed()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => {
                        format!("use one of {}, or [engine.NAME]", allowed().collect::<Vec<_>>().join(", "))
                    }
                };
                Err(self.refuse(at, &format!("`{}` is no setting", name.escape_debug()), &fix))
            }
        }
    }

    fn value(&self, meta: &Meta, value: &Spanned<DeValue<'_>>) -> Result<Raw, ConfigError> {
        let one = |value: &DeValue<'_>| match value {
            DeValue::String(text) => Some(text.as_ref().to_owned()),
            DeValue::Integer(number) => Some(number.as_str().replace('_', "")),
            DeValue::Float(number) => Some(number.as_str().to_owned()),
            DeValue::Boolean(on) => Some(on.to_string()),
            _ => None,
        };
        let is_list = matches!(meta.value_name, "NAMES" | "PATTERNS");
        let raw = match value.get_ref() {
            DeValue::Array(items) if is_list => {
                items.iter().map(|item| one(item.get_ref())).collect::<Option<Vec<_>>>().map(Raw::Many)
            }
            // A pattern may hold a comma; in the file nothing is split.
            DeValue::String(text) if is_list => Some(Raw::Many(vec![text.as_ref().to_owned()])),
            // Ignored settings may have any shape: what they held was never looked at.
            DeValue::Array(_) | DeValue::Table(_) if meta.ignored => Some(Raw::One("set".to_owned())),
            value => one(value).map(Raw::One),
        };
        raw.ok_or_else(|| {
            let kind = value.get_ref().type_str();
            let wanted = if is_list { "an array of strings" } else { "a single value" };
            let problem = format!("`{}` cannot be of type {kind}", meta.key);
            self.refuse(value.span().start, &problem, &format!("write {wanted}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let parsed = ConfigFile::parse(Path::new("/etc/z4j.toml"), text);
        parsed.err().map(|error| format!("{error}; {}", error.fix())).unwrap_or_default()
    }

    #[test]
    fn every_refusal_says_where_and_what_to_do() {
        for (text, wanted) in [
            ("brain_url = ", "/etc/z4j.toml:1:13: "),
            ("\nbrian_url = 'x'", "/etc/z4j.toml:2:1: `brian_url` is no setting; did you mean `brain_url`?"),
            ("Z4J_BRAIN_URL = 'x'", "did you mean `brain_url`?"),
            ("colour = 'x'", "use one of brain_url, project_id"),
            ("token = 's3cr3t'", "write token_file = "),
            ("config = 'x'", "set Z4J_CONFIG in the environment"),
            ("\n brain_url = ['x']", "/etc/z4j.toml:2:14: `brain_url` cannot be of type array"),
            ("engines = [['x']]", "write an array of strings"),
            ("log_level = 'info'\nlog_level = 'info'", "/etc/z4j.toml:2:1: "),
        ] {
            let refused = refusal(text);
            assert!(refused.contains(wanted), "{text}: {refused}");
            assert!(!refused.contains("s3cr3t"), "{refused}");
        }
        assert_eq!(refusal("buffer_max_events = 1_000\ntags = { a = 'b' }\nengines = ['a', 'b']"), "");
    }
}
