//! What the agent is told: every `Z4J_*` setting, from flags and the environment, as one value.
//!
//! Owns precedence (a flag wins over a variable, a variable over a file of credentials), and the refusal of
//! what cannot be used. It must not touch the network, and only reads files that hold secrets
//! or certificates.

mod brain_url;
mod dotenv;
mod error;
mod resolve;
mod secret_file;

use std::path::PathBuf;

use uuid::Uuid;
use z4j_protocol::{HmacSecret, SecretError};

pub(crate) use brain_url::BrainUrl;
pub(crate) use error::{ConfigError, UnreadableSecret};
pub(crate) use resolve::resolve;

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
    #[expect(dead_code, reason = "only the running agent needs it")]
    pub(crate) buffer_max_bytes: u64,
    /// `Z4J_BUFFER_MAX_EVENTS`
    #[expect(dead_code, reason = "only the running agent needs it")]
    pub(crate) buffer_max_events: u64,
    /// Root certificates.
    pub(crate) ca: CaSettings,
    /// `--venv`, else `VIRTUAL_ENV`.
    pub(crate) venv: Option<PathBuf>,
}

impl Config {
    /// The project's UUID, if that is what was configured.
    pub(crate) fn project_uuid(&self) -> Option<Uuid> {
        // The hyphenated form only: a slug of 32 hex digits stays a slug.
        Uuid::parse_str(&self.project_id).ok().filter(|_| self.project_id.len() == 36)
    }
}

/// Flags that set the configuration. The two secrets have none: arguments are public.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings (each flag wins over its variable)")]
pub(crate) struct ConfigFlags {
    /// The brain's address [Z4J_BRAIN_URL]
    #[arg(long, value_name = "URL")]
    pub(crate) brain_url: Option<String>,
    /// The project's slug or UUID [Z4J_PROJECT_ID]
    #[arg(long, value_name = "PROJECT")]
    pub(crate) project_id: Option<String>,
    /// File with the agent's token [Z4J_TOKEN; Z4J_TOKEN_FILE; credential `token`]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<String>,
    /// File with the signing secret [Z4J_HMAC_SECRET; Z4J_HMAC_SECRET_FILE; credential `hmac_secret`]
    #[arg(long, value_name = "FILE")]
    pub(crate) hmac_secret_file: Option<String>,
    /// The agent's name [Z4J_AGENT_NAME]
    #[arg(long, value_name = "NAME")]
    pub(crate) agent_name: Option<String>,
    /// The agent's UUID [Z4J_AGENT_ID]
    #[arg(long, value_name = "UUID")]
    pub(crate) agent_id: Option<String>,
    /// auto, ws or longpoll [Z4J_TRANSPORT]
    #[arg(long, value_name = "TRANSPORT")]
    pub(crate) transport: Option<String>,
    /// The home root, in place of ~/.z4j [Z4J_HOME]
    #[arg(long, value_name = "DIR")]
    pub(crate) home: Option<String>,
    /// The buffer, below the home root or the temporary root [Z4J_BUFFER_PATH]
    #[arg(long, value_name = "PATH")]
    pub(crate) buffer_path: Option<String>,
    /// Largest buffer in bytes [Z4J_BUFFER_MAX_BYTES]
    #[arg(long, value_name = "BYTES")]
    pub(crate) buffer_max_bytes: Option<String>,
    /// Most events in the buffer [Z4J_BUFFER_MAX_EVENTS]
    #[arg(long, value_name = "N")]
    pub(crate) buffer_max_events: Option<String>,
    /// Root certificates beside the system's, PEM [Z4J_CA_FILE]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<String>,
    /// The application's Python environment [VIRTUAL_ENV]
    #[arg(long, value_name = "DIR")]
    pub(crate) venv: Option<String>,
    /// Allow plain http to any host (never from the environment)
    #[arg(long)]
    pub(crate) dev_mode: bool,
}
