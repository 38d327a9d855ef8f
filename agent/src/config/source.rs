//! Where a setting's text comes from: a flag, else a variable, else the file, else nothing.
//!
//! Owns precedence and origins. Must not judge values: that is for their kinds.

use std::path::{Path, PathBuf};

use super::file::{ConfigFile, Raw};
use super::kind::Kind;
use super::settings::{CONFIG, HMAC_SECRET, HMAC_SECRET_FILE, Meta, Spec, TOKEN, TOKEN_FILE};
use super::{ConfigError, ConfigFlags, secret_file};
use crate::environment::Environment;
use crate::words::public_url;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A flag.
    Flag(String),
    /// A variable.
    Environment(&'static str),
    /// A line of the file.
    File(PathBuf, usize),
    /// A systemd credential.
    Credential(PathBuf),
}

/// A setting's text and where it came from.
pub(crate) struct Setting {
    /// The variable, the flag, or the file's key and line: what an error calls it.
    pub(crate) name: String,
    /// Its text, trimmed.
    pub(crate) value: String,
    /// Its items, where the file has an array.
    pub(crate) items: Option<Vec<String>>,
    /// Where it came from.
    pub(crate) origin: Origin,
    /// The file that holds the secret, where there is one.
    pub(crate) secret_file: Option<PathBuf>,
    meta: Meta,
}

impl Setting {
    fn new(meta: Meta, name: String, value: &str, origin: Origin) -> Self {
        Self { name, value: value.to_owned(), items: None, origin, secret_file: None, meta }
    }

    /// An error about the value, which is shown unless it is secret.
    pub(crate) fn invalid(&self, problem: &str, fix: &str) -> ConfigError {
        ConfigError::Invalid {
            name: self.name.clone(),
            value: (!self.meta.secret).then(|| self.shown()),
            problem: problem.to_owned(),
            fix: fix.to_owned(),
        }
    }

    /// The value for people. A secret's length is all that is told.
    pub(crate) fn shown(&self) -> String {
        if self.meta.secret {
            return format!("(set, {} characters)", self.value.chars().count());
        }
        // An operator may have put a password into it; that is refused, and must not be shown either.
        if self.meta.key == "brain_url" { public_url(&self.value) } else { self.value.clone() }
    }

    /// What an env file leaves in a value when two programs read it by different rules: quotes that one of
    /// them strips, the carriage return of a file from Windows.
    fn refuse_leftovers(&self) -> Result<(), ConfigError> {
        if self.value.contains('\r') {
            let fix = "convert the env file to Unix line ends: sed -i 's/\\r$//' FILE";
            return Err(self.invalid("it ends in a carriage return", fix));
        }
        if self.value.trim().starts_with(['"', '\'']) {
            let fix = format!("write the value without quotes: {}=VALUE", self.name);
            return Err(self.invalid("it begins with a quote, which is taken as part of it", &fix));
        }
        Ok(())
    }

    /// Checked, trimmed; none if nothing is left.
    fn tidy(mut self) -> Result<Option<Self>, ConfigError> {
        self.refuse_leftovers()?;
        self.value = self.value.trim().to_owned();
        Ok(if self.value.is_empty() { None } else { Some(self) })
    }
}

/// Everything that settings are read from.
pub(crate) struct Reader<'a> {
    /// The process.
    pub(crate) environment: &'a Environment,
    /// Its flags.
    pub(crate) flags: &'a ConfigFlags,
    /// The file, where one was named.
    pub(crate) file: Option<ConfigFile>,
}

impl<'a> Reader<'a> {
    /// Reads the file, if one is named.
    ///
    /// # Errors
    /// It cannot be read, or says what no file may say.
    pub(crate) fn new(environment: &'a Environment, flags: &'a ConfigFlags) -> Result<Self, ConfigError> {
        let mut reader = Self { environment, flags, file: None };
        if let Some(setting) = reader.find(CONFIG.meta)? {
            reader.file = Some(ConfigFile::read(&setting, environment)?);
        }
        Ok(reader)
    }

    /// A setting's text; empty is unset.
    ///
    /// # Errors
    /// The text is not UTF-8, or holds what an env file left in it.
    pub(crate) fn find(&self, meta: Meta) -> Result<Option<Setting>, ConfigError> {
        if let Some(value) = self.flags.get(meta.key) {
            let flag = meta.flag_name();
            return Setting::new(meta, flag.clone(), value, Origin::Flag(flag)).tidy();
        }
        if let Some(value) = self.environment.get(meta.variable) {
            let value = value.to_str().ok_or_else(|| not_utf8(meta.variable))?;
            let name = meta.variable.to_owned();
            let setting = Setting::new(meta, name, value, Origin::Environment(meta.variable)).tidy()?;
            if setting.is_some() {
                return Ok(setting);
            }
        }
        self.in_file(meta)
    }

    fn in_file(&self, meta: Meta) -> Result<Option<Setting>, ConfigError> {
        let Some(file) = &self.file else { return Ok(None) };
        let Some(entry) = file.entries.get(meta.key) else { return Ok(None) };
        let path = &file.path;
        let name = format!("{} ({}:{})", meta.key, path.display(), entry.line);
        let mut setting = Setting::new(meta, name, "", Origin::File(path.clone(), entry.line));
        match &entry.value {
            Raw::One(value) => setting.value.clone_from(value),
            Raw::Many(items) => {
                setting.value = items.join(",");
                setting.items = Some(items.clone());
            }
        }
        setting.tidy()
    }

    /// A setting's value.
    ///
    /// # Errors
    /// It cannot be used.
    pub(crate) fn get<K: Kind>(&self, spec: &'static Spec<K>) -> Result<Option<K::Value>, ConfigError> {
        let setting = match self.find(spec.meta)? {
            Some(setting) => setting,
            None if spec.meta.default.is_empty() => return Ok(None),
            None => {
                let origin = Origin::Environment(spec.meta.variable);
                Setting::new(spec.meta, spec.meta.name().to_owned(), spec.meta.default, origin)
            }
        };
        spec.kind.read(&setting, self.environment).map(Some)
    }

    /// The agent's token.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub(crate) fn token(&self) -> Result<Option<Setting>, ConfigError> {
        self.secret(TOKEN.meta, TOKEN_FILE.meta)
    }

    /// The signing secret.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub(crate) fn hmac_secret(&self) -> Result<Option<Setting>, ConfigError> {
        self.secret(HMAC_SECRET.meta, HMAC_SECRET_FILE.meta)
    }

    /// A secret: from the file that the flag names, the variable, the file that a variable or the settings'
    /// file names, or a systemd credential (systemd.exec(5), `LoadCredential=`).
    fn secret(&self, value: Meta, file: Meta) -> Result<Option<Setting>, ConfigError> {
        if let Some(path) = self.flags.get(file.key) {
            let flag = file.flag_name();
            return self.read_secret(value, &flag.clone(), Path::new(path), Origin::Flag(flag));
        }
        if let Some(setting) = self.find(value)? {
            return Ok(Some(setting));
        }
        if let Some(path) = self.path_of_secret(file)? {
            let origin = Origin::Environment(file.variable);
            return self.read_secret(value, file.variable, &path, origin);
        }
        if let Some(Setting { name, value: path, origin, .. }) = self.in_file(file)? {
            return self.read_secret(value, &name, Path::new(&path), origin);
        }
        let path = self.environment.path("CREDENTIALS_DIRECTORY").map(|dir| dir.join(value.key));
        match path.filter(|path| !matches!(path.try_exists(), Ok(false))) {
            Some(path) => {
                let origin = Origin::Credential(path.clone());
                self.read_secret(value, "LoadCredential", &path, origin)
            }
            None => Ok(None),
        }
    }

    /// The path that a variable names. What is wrong with it is told without it: it may be the secret itself.
    fn path_of_secret(&self, file: Meta) -> Result<Option<PathBuf>, ConfigError> {
        let Some(path) = self.environment.path(file.variable) else { return Ok(None) };
        let Some(text) = path.to_str() else { return Ok(Some(path)) };
        let origin = Origin::Environment(file.variable);
        let hidden = Meta { secret: true, ..file };
        let tidy = Setting::new(hidden, file.variable.to_owned(), text, origin).tidy()?;
        Ok(tidy.map(|setting| PathBuf::from(setting.value)))
    }

    fn read_secret(
        &self,
        meta: Meta,
        name: &str,
        path: &Path,
        origin: Origin,
    ) -> Result<Option<Setting>, ConfigError> {
        let value = secret_file::read(name, path, self.environment)?;
        let mut setting = Setting::new(meta, format!("{name} ({})", path.display()), &value, origin);
        setting.secret_file = Some(path.to_owned());
        setting.refuse_leftovers()?;
        Ok(Some(setting))
    }
}

fn not_utf8(name: &str) -> ConfigError {
    ConfigError::Invalid {
        name: name.to_owned(),
        value: None,
        problem: "it is not UTF-8".to_owned(),
        fix: format!("set {name} to text in UTF-8"),
    }
}
