//! What the agent is told: every setting, from flags, the environment and a file, as one value.
//!
//! Owns precedence (a flag wins over a variable, a variable over the file, the file over a default), and the
//! refusal of what cannot be used. It must not touch the network, and only reads files that hold settings,
//! secrets or certificates.

mod brain_url;
mod dotenv;
mod engine_settings;
mod error;
mod file;
mod flags;
mod kind;
mod resolve;
mod secret_file;
mod settings;
mod show;
mod source;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;
use z4j_protocol::{HmacSecret, SecretError};

pub(crate) use brain_url::BrainUrl;
pub(crate) use engine_settings::{ActionSettings, EngineSettings};
pub(crate) use error::{ConfigError, UnreadableSecret};
pub(crate) use flags::ConfigFlags;
#[cfg(any(test, fuzzing))]
pub(crate) use resolve::resolve_text;
#[cfg(test)]
pub(crate) use resolve::tests::environment as resolve_environment;
pub(crate) use resolve::{is_disabled, resolve};
pub(crate) use show::Shown;

use crate::net::proxy::Proxy;
use crate::secret::Token;

/// How the agent connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Transport {
    /// WebSocket, and long-poll where that does not work.
    #[default]
    Auto,
    /// WebSocket only.
    Ws,
    /// Long-poll only.
    Longpoll,
}

impl Transport {
    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ws => "ws",
            Self::Longpoll => "longpoll",
        }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogLevel {
    /// What somebody must look at.
    Error,
    /// What somebody should know.
    Warning,
    /// What happens.
    #[default]
    Info,
    /// Why it happens.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The same for the logging facade.
    pub(crate) const fn as_tracing(self) -> tracing::Level {
        match self {
            Self::Error => tracing::Level::ERROR,
            Self::Warning => tracing::Level::WARN,
            Self::Info => tracing::Level::INFO,
            Self::Debug => tracing::Level::DEBUG,
            Self::Trace => tracing::Level::TRACE,
        }
    }
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is redacted beyond the categories that always are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RedactionSettings {
    /// `Z4J_REDACTION_EXTRA_KEY_PATTERNS`: each compiles.
    pub(crate) key_patterns: Vec<String>,
    /// `Z4J_REDACTION_EXTRA_VALUE_PATTERNS`: each compiles.
    pub(crate) value_patterns: Vec<String>,
    /// `Z4J_MAX_PAYLOAD_BYTES`: longest string.
    pub(crate) string_bytes: usize,
}

/// What the application is built on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Framework {
    /// None: the agent stands alone.
    #[default]
    Bare,
    /// Django.
    Django,
    /// Flask.
    Flask,
    /// FastAPI.
    #[value(name = "fastapi")]
    FastApi,
}

impl Framework {
    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Django => "django",
            Self::Flask => "flask",
            Self::FastApi => "fastapi",
        }
    }
}

/// The signing secret, as far as it is there. Only a connection needs it, so its lack is no refusal here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signing {
    /// Not set.
    Missing,
    /// Set, and unusable. The second part is the setting that holds it.
    Invalid(SecretError, String),
    /// Usable.
    Ready(HmacSecret),
}

/// Where root certificates come from, as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CaSettings {
    /// `SSL_CERT_FILE`: replaces the system's roots.
    pub(crate) cert_file: Option<PathBuf>,
    /// `SSL_CERT_DIR`: likewise.
    pub(crate) cert_dir: Option<PathBuf>,
    /// `Z4J_CA_FILE`: adds to them.
    pub(crate) extra_file: Option<PathBuf>,
}

/// A complete configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// `Z4J_BRAIN_URL`
    pub(crate) brain_url: BrainUrl,
    /// `Z4J_TOKEN`, `Z4J_TOKEN_FILE`, or the credential `token`.
    pub(crate) token: Token,
    /// `Z4J_PROJECT_ID`: a slug, or the project's UUID.
    pub(crate) project_id: String,
    /// `Z4J_HMAC_SECRET`, `Z4J_HMAC_SECRET_FILE`, or the credential `hmac_secret`.
    pub(crate) signing: Signing,
    /// `Z4J_AGENT_NAME`
    pub(crate) agent_name: Option<String>,
    /// `Z4J_AGENT_ID`
    pub(crate) agent_id: Option<Uuid>,
    /// `Z4J_TRANSPORT`
    pub(crate) transport: Transport,
    /// `--dev-mode`: plain http to any host.
    pub(crate) dev_mode: bool,
    /// `Z4J_HOME`
    pub(crate) home: Option<PathBuf>,
    /// `Z4J_BUFFER_PATH`
    pub(crate) buffer_path: Option<PathBuf>,
    /// `Z4J_BUFFER_MAX_BYTES`
    pub(crate) buffer_max_bytes: u64,
    /// `Z4J_BUFFER_MAX_EVENTS`
    pub(crate) buffer_max_events: u64,
    /// The proxy on the way to the brain: `HTTPS_PROXY` and its kin.
    pub(crate) proxy: Option<Proxy>,
    /// Root certificates.
    pub(crate) ca: CaSettings,
    /// `--venv`, else `VIRTUAL_ENV`.
    pub(crate) venv: Option<PathBuf>,
    /// `Z4J_WORKER_ROLE`
    pub(crate) worker_role: Option<String>,
    /// `Z4J_HEARTBEAT`: whether heartbeats and agent_status are sent.
    pub(crate) heartbeat: bool,
    /// `Z4J_AGENT_STATUS_DISABLED`, turned round: heartbeats may go without it.
    pub(crate) agent_status: bool,
    /// `Z4J_LOG_LEVEL`
    pub(crate) log_level: LogLevel,
    /// `Z4J_LOG_FORMAT`
    pub(crate) log_format: LogFormat,
    /// What is redacted.
    pub(crate) redaction: RedactionSettings,
    /// The engines of `[engine.NAME]` and `Z4J_ENGINES`.
    pub(crate) engines: BTreeMap<String, EngineSettings>,
    /// Whether the file has `[engine.NAME]` tables: then they are all that this agent serves.
    pub(crate) has_engine_tables: bool,
    /// `Z4J_ORCHESTRATED`; none where it is to be found out.
    pub(crate) orchestrated: Option<bool>,
    /// `Z4J_STOP_TIMEOUT`
    pub(crate) stop_timeout: Duration,
    /// `Z4J_INGEST`
    pub(crate) ingest: Option<PathBuf>,
}

impl Config {
    /// The project's UUID, if that is what was configured.
    pub(crate) fn project_uuid(&self) -> Option<Uuid> {
        // The hyphenated form only: a slug of 32 hex digits stays a slug.
        Uuid::parse_str(&self.project_id).ok().filter(|_| self.project_id.len() == 36)
    }
}
