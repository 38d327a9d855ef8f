//! From flags and environment to a [`Config`].

use std::path::{Path, PathBuf};

use uuid::Uuid;
use z4j_protocol::HmacSecret;

use super::{BrainUrl, CaSettings, Config, ConfigError, ConfigFlags, Signing, Transport};
use super::{dotenv, secret_file};
use crate::environment::Environment;
use crate::files;
use crate::net::proxy::{self, Proxy};
use crate::secret::Token;
use crate::words::{errno_text, public_url};

/// Longest `Z4J_PROJECT_ID`, in characters.
const MAX_PROJECT_CHARS: usize = 63;
/// Longest `Z4J_AGENT_NAME`, in characters.
const MAX_NAME_CHARS: usize = 64;
/// Longest file of certificates, in bytes.
const MAX_CA_BYTES: u64 = 16 << 20;
const MIN_BUFFER_BYTES: u64 = 1_048_576;
const DEFAULT_BUFFER_BYTES: u64 = 268_435_456;
const MIN_BUFFER_EVENTS: u64 = 1_000;
const DEFAULT_BUFFER_EVENTS: u64 = 100_000;

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
    let reader = Reader { environment };
    reader.refuse_export_names()?;
    let url = reader.text("Z4J_BRAIN_URL", "--brain-url", flags.brain_url.as_deref())?;
    let project = reader.text("Z4J_PROJECT_ID", "--project-id", flags.project_id.as_deref())?;
    let token_names = SecretNames { value: "Z4J_TOKEN", file: "Z4J_TOKEN_FILE", flag: "--token-file" };
    let token = reader.secret(&token_names, "token", flags.token_file.as_deref())?;
    let (Some(url), Some(project), Some(token)) = (&url, &project, &token) else {
        let required = [
            ("Z4J_BRAIN_URL", url.is_none()),
            ("Z4J_TOKEN", token.is_none()),
            ("Z4J_PROJECT_ID", project.is_none()),
        ];
        let names = required.into_iter().filter_map(|(name, missing)| missing.then_some(name)).collect();
        return Err(reader.missing(names));
    };
    let brain_url = brain_url(url, flags.dev_mode)?;
    let config = Config {
        proxy: reader.proxy(&brain_url)?,
        brain_url,
        token: token.parse(Token::parse)?,
        project_id: bounded(project, MAX_PROJECT_CHARS)?,
        signing: reader.signing(flags)?,
        agent_name: reader.agent_name(flags)?,
        agent_id: reader.agent_id(flags)?,
        transport: reader.transport(flags)?,
        dev_mode: flags.dev_mode,
        home: reader.directory("Z4J_HOME", "--home", flags.home.as_deref())?,
        buffer_path: reader
            .text("Z4J_BUFFER_PATH", "--buffer-path", flags.buffer_path.as_deref())?
            .map(|setting| PathBuf::from(setting.value)),
        buffer_max_bytes: reader.number(
            ("Z4J_BUFFER_MAX_BYTES", "--buffer-max-bytes", flags.buffer_max_bytes.as_deref()),
            (MIN_BUFFER_BYTES, DEFAULT_BUFFER_BYTES),
        )?,
        buffer_max_events: reader.number(
            ("Z4J_BUFFER_MAX_EVENTS", "--buffer-max-events", flags.buffer_max_events.as_deref()),
            (MIN_BUFFER_EVENTS, DEFAULT_BUFFER_EVENTS),
        )?,
        ca: reader.ca(flags)?,
        venv: flags.venv.as_ref().map(PathBuf::from).or_else(|| environment.path("VIRTUAL_ENV")),
    };
    Ok(Resolved { config, warnings: reader.warnings(flags) })
}

/// A setting's text and where it came from.
struct Setting {
    /// The variable, the flag, or the file's setting.
    name: String,
    value: String,
    secret: bool,
}

impl Setting {
    fn invalid(&self, problem: &str, fix: &str) -> ConfigError {
        ConfigError::Invalid {
            name: self.name.clone(),
            value: (!self.secret).then(|| self.shown()),
            problem: problem.to_owned(),
            fix: fix.to_owned(),
        }
    }

    /// The value for an error.
    fn shown(&self) -> String {
        let is_url = matches!(self.name.as_str(), "Z4J_BRAIN_URL" | "--brain-url");
        if is_url { public_url(&self.value) } else { self.value.clone() }
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

    fn parse<T>(&self, read: impl Fn(&str) -> Result<T, &'static str>) -> Result<T, ConfigError> {
        let fix = format!("set {} to the value that the brain showed when the agent was made", self.name);
        read(&self.value).map_err(|problem| self.invalid(problem, &fix))
    }
}

/// The names of a secret's settings.
struct SecretNames {
    value: &'static str,
    file: &'static str,
    flag: &'static str,
}

struct Reader<'a> {
    environment: &'a Environment,
}

impl Reader<'_> {
    /// One setting; empty is unset.
    fn text(&self, name: &str, flag: &str, flag_value: Option<&str>) -> Result<Option<Setting>, ConfigError> {
        self.setting(name, flag, flag_value, false)
    }

    fn setting(
        &self,
        name: &str,
        flag: &str,
        flag_value: Option<&str>,
        secret: bool,
    ) -> Result<Option<Setting>, ConfigError> {
        let (name, value) = match flag_value.filter(|value| !value.is_empty()) {
            Some(value) => (flag, value.to_owned()),
            None => match self.environment.get(name) {
                None => return Ok(None),
                Some(value) => (name, value.to_str().map(str::to_owned).ok_or_else(|| not_utf8(name))?),
            },
        };
        let mut setting = Setting { name: name.to_owned(), value, secret };
        setting.refuse_leftovers()?;
        let trimmed = setting.value.trim();
        if trimmed.is_empty() {
            return Ok(None);
        }
        setting.value = trimmed.to_owned();
        Ok(Some(setting))
    }

    /// A secret: from the file that the flag names, the variable, the file that a variable names, or a
    /// systemd credential (systemd.exec(5), `LoadCredential=`).
    fn secret(
        &self,
        names: &SecretNames,
        credential: &str,
        flag_value: Option<&str>,
    ) -> Result<Option<Setting>, ConfigError> {
        let from_file = |name: &str, file: PathBuf| {
            let value = secret_file::read(name, &file, self.environment)?;
            let setting = Setting { name: format!("{name} ({})", file.display()), value, secret: true };
            setting.refuse_leftovers()?;
            Ok(Some(setting))
        };
        if let Some(file) = flag_value.filter(|file| !file.is_empty()) {
            return from_file(names.flag, PathBuf::from(file));
        }
        if let Some(setting) = self.setting(names.value, names.value, None, true)? {
            return Ok(Some(setting));
        }
        if let Some(file) = self.environment.path(names.file) {
            return from_file(names.file, file);
        }
        let file = self.environment.path("CREDENTIALS_DIRECTORY").map(|dir| dir.join(credential));
        match file.filter(|file| !matches!(file.try_exists(), Ok(false))) {
            Some(file) => from_file("LoadCredential", file),
            None => Ok(None),
        }
    }

    fn signing(&self, flags: &ConfigFlags) -> Result<Signing, ConfigError> {
        let names = SecretNames {
            value: "Z4J_HMAC_SECRET",
            file: "Z4J_HMAC_SECRET_FILE",
            flag: "--hmac-secret-file",
        };
        Ok(match self.secret(&names, "hmac_secret", flags.hmac_secret_file.as_deref())? {
            None => Signing::Missing,
            Some(setting) => match HmacSecret::parse(&setting.value) {
                Ok(secret) => Signing::Ready(secret),
                Err(error) => Signing::Invalid(error, setting.name),
            },
        })
    }

    fn proxy(&self, brain_url: &BrainUrl) -> Result<Option<Proxy>, ConfigError> {
        proxy::choose(self.environment, brain_url).map_err(|error| ConfigError::Invalid {
            fix: format!("set {} to http://HOST:PORT, or NO_PROXY={}", error.variable, brain_url.host_text()),
            name: error.variable,
            value: Some(error.value),
            problem: error.problem.to_owned(),
        })
    }

    fn agent_name(&self, flags: &ConfigFlags) -> Result<Option<String>, ConfigError> {
        let setting = self.text("Z4J_AGENT_NAME", "--agent-name", flags.agent_name.as_deref())?;
        setting.map(|setting| bounded(&setting, MAX_NAME_CHARS)).transpose()
    }

    fn agent_id(&self, flags: &ConfigFlags) -> Result<Option<Uuid>, ConfigError> {
        let Some(setting) = self.text("Z4J_AGENT_ID", "--agent-id", flags.agent_id.as_deref())? else {
            return Ok(None);
        };
        let fix = format!("set {} to the agent's UUID, or leave it out", setting.name);
        Uuid::parse_str(&setting.value).map(Some).map_err(|_| setting.invalid("it is no UUID", &fix))
    }

    fn transport(&self, flags: &ConfigFlags) -> Result<Transport, ConfigError> {
        let Some(setting) = self.text("Z4J_TRANSPORT", "--transport", flags.transport.as_deref())? else {
            return Ok(Transport::default());
        };
        let all = [Transport::Auto, Transport::Ws, Transport::Longpoll];
        let fix = format!("set {} to auto, ws or longpoll (lower case)", setting.name);
        let found = all.into_iter().find(|transport| transport.as_str() == setting.value);
        found.ok_or_else(|| setting.invalid("it is none of auto, ws, longpoll", &fix))
    }

    /// An absolute directory; `~` stands for the home directory.
    fn directory(
        &self,
        name: &str,
        flag: &str,
        flag_value: Option<&str>,
    ) -> Result<Option<PathBuf>, ConfigError> {
        let Some(setting) = self.text(name, flag, flag_value)? else { return Ok(None) };
        let home = self.environment.home_dir();
        let path = match (setting.value.strip_prefix('~'), home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                home.join(rest.trim_start_matches('/'))
            }
            _ => PathBuf::from(&setting.value),
        };
        if !path.is_absolute() {
            let fix = format!("set {} to an absolute path", setting.name);
            return Err(setting.invalid("it is no absolute path", &fix));
        }
        Ok(Some(path))
    }

    fn number(
        &self,
        (name, flag, flag_value): (&str, &str, Option<&str>),
        (least, default): (u64, u64),
    ) -> Result<u64, ConfigError> {
        let Some(setting) = self.text(name, flag, flag_value)? else { return Ok(default) };
        let fix = format!("set {} to a whole number of {least} or more", setting.name);
        match setting.value.parse::<u64>() {
            Ok(number) if number >= least => Ok(number),
            Ok(_) => Err(setting.invalid(&format!("it is below {least}"), &fix)),
            Err(_) => Err(setting.invalid("it is no whole number", &fix)),
        }
    }

    fn ca(&self, flags: &ConfigFlags) -> Result<CaSettings, ConfigError> {
        let extra = self.text("Z4J_CA_FILE", "--ca-file", flags.ca_file.as_deref())?;
        if let Some(setting) = &extra {
            // Without it every brain that it is for would look untrusted.
            files::read(Path::new(&setting.value), MAX_CA_BYTES).map_err(|error| {
                let fix = format!("set {} to the path of a readable PEM file", setting.name);
                setting.invalid(&errno_text(&error), &fix)
            })?;
        }
        Ok(CaSettings {
            cert_file: self.environment.path("SSL_CERT_FILE"),
            cert_dir: self.environment.path("SSL_CERT_DIR"),
            extra_file: extra.map(|setting| PathBuf::from(setting.value)),
        })
    }

    /// `export Z4J_TOKEN=…` in a file that is no shell script makes a variable of that whole name.
    fn refuse_export_names(&self) -> Result<(), ConfigError> {
        let names = self.environment.variables.keys().filter_map(|name| name.to_str());
        let Some(name) = names.into_iter().find(|name| name.starts_with("export Z4J_")) else {
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

    fn missing(&self, names: Vec<&'static str>) -> ConfigError {
        let file = self.environment.current_dir.as_ref().map(|dir| dir.join(".env"));
        let found = file.as_deref().map(|file| dotenv::look(file, &names)).unwrap_or_default();
        match file {
            Some(file) if names.iter().all(|name| found.names.contains(name)) => {
                ConfigError::EnvFileNotLoaded { names, file, exported: found.exported }
            }
            _ => ConfigError::Missing { names },
        }
    }

    fn warnings(&self, flags: &ConfigFlags) -> Vec<String> {
        let value = self.environment.get("Z4J_DEV_MODE").and_then(|value| value.to_str()).unwrap_or_default();
        let on = matches!(value.trim().to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on");
        if on && !flags.dev_mode {
            return vec!["Z4J_DEV_MODE in the environment is ignored; use --dev-mode".to_owned()];
        }
        Vec::new()
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

fn brain_url(setting: &Setting, dev_mode: bool) -> Result<BrainUrl, ConfigError> {
    let url = BrainUrl::parse(&setting.value).map_err(|problem| ConfigError::Invalid {
        name: setting.name.clone(),
        value: Some(setting.shown()),
        problem: problem.to_string(),
        fix: format!("set {} to https://HOST/, with a port or path where the brain has one", setting.name),
    })?;
    if !url.is_secure() && url.host().is_some() && !url.is_loopback() && !dev_mode {
        return Err(ConfigError::Plaintext {
            name: setting.name.clone(),
            url: url.as_str().to_owned(),
            secure: url.with_https(),
        });
    }
    Ok(url)
}

fn bounded(setting: &Setting, most: usize) -> Result<String, ConfigError> {
    let chars = setting.value.chars().count();
    if chars > most {
        let fix = format!("set {} to at most {most} characters", setting.name);
        return Err(setting.invalid(&format!("it is {chars} characters long"), &fix));
    }
    if setting.value.chars().any(char::is_control) {
        let fix = format!("set {} to text without control characters", setting.name);
        return Err(setting.invalid("it holds a control character", &fix));
    }
    Ok(setting.value.clone())
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
