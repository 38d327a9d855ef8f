//! The table of settings. Parsing, flags, the file's keys, `config show` and the docs all come from it, so
//! that nothing about a setting is known twice.

use std::time::Duration;

use super::kind::{
    CertificateFile, Choice, Directory, Ignored, Kind, Number, PathKind, Patterns, SWITCH, Text, Time,
    UrlKind, UuidKind, Words,
};
use super::source::{Reader, Setting};
use super::{ConfigError, LogFormat, LogLevel, Transport};
use crate::redaction::PatternsOf;

/// What is known of a setting, whatever its kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    /// Its key in the file; the flag is the same with hyphens.
    pub(crate) key: &'static str,
    /// Its variable; empty if no variable sets it.
    pub(crate) variable: &'static str,
    /// What stands for its value in the help.
    pub(crate) value_name: &'static str,
    /// What holds where nothing is set; empty for nothing.
    pub(crate) default: &'static str,
    /// What it does.
    pub(crate) help: &'static str,
    /// Whether every command takes it as a flag.
    pub(crate) flag: bool,
    /// Whether the file may set it.
    pub(crate) in_file: bool,
    /// Whether the flag may stand without a value.
    pub(crate) switch: bool,
    /// Whether its value is a secret.
    pub(crate) secret: bool,
    /// Whether it only exists because the Python agent has it.
    pub(crate) ignored: bool,
}

impl Meta {
    /// `--brain-url`
    pub(crate) fn flag_name(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    /// The name by which people know it.
    pub(crate) const fn name(&self) -> &'static str {
        if self.variable.is_empty() { self.key } else { self.variable }
    }
}

/// A setting.
pub(crate) struct Spec<K> {
    /// What is known of it.
    pub(crate) meta: Meta,
    /// What it may hold.
    pub(crate) kind: K,
}

impl<K: Kind> Spec<K> {
    const fn new(
        (key, variable): (&'static str, &'static str),
        value_name: &'static str,
        kind: K,
        help: &'static str,
    ) -> Self {
        let meta = Meta {
            key,
            variable,
            value_name,
            default: "",
            help,
            flag: true,
            in_file: true,
            switch: false,
            secret: false,
            ignored: false,
        };
        Self { meta, kind }
    }

    const fn default(mut self, default: &'static str) -> Self {
        self.meta.default = default;
        self
    }

    const fn flagless(mut self) -> Self {
        self.meta.flag = false;
        self
    }

    const fn not_in_file(mut self) -> Self {
        self.meta.in_file = false;
        self
    }

    const fn secret(mut self) -> Self {
        self.meta.secret = true;
        self.flagless().not_in_file()
    }

    const fn switch(mut self, default: &'static str) -> Self {
        self.meta.switch = true;
        self.default(default)
    }

    const fn ignored(mut self) -> Self {
        self.meta.ignored = true;
        self.flagless()
    }
}

/// A setting of any kind, for those who go through the table.
pub(crate) trait Known: Sync {
    /// What is known of it.
    fn meta(&self) -> Meta;
    /// What it may hold.
    fn bounds(&self) -> String;
    /// Whether a value can be used.
    ///
    /// # Errors
    /// Why not.
    fn check(&self, setting: &Setting, reader: &Reader<'_>) -> Result<(), ConfigError>;
}

impl<K: Kind> Known for Spec<K> {
    fn meta(&self) -> Meta {
        self.meta
    }

    fn bounds(&self) -> String {
        self.kind.bounds()
    }

    fn check(&self, setting: &Setting, reader: &Reader<'_>) -> Result<(), ConfigError> {
        self.kind.read(setting, reader.environment).map(|_| ())
    }
}

macro_rules! settings {
    ($($name:ident: $kind:ty = $spec:expr;)*) => {
        $(pub(crate) static $name: Spec<$kind> = $spec;)*
        /// Every setting, in the order in which people read them.
        pub(crate) static SETTINGS: &[&dyn Known] = &[$(&$name),*];
    };
}

settings! {
    BRAIN_URL: UrlKind = Spec::new(("brain_url", "Z4J_BRAIN_URL"), "URL", UrlKind, "The brain's address");
    PROJECT_ID: Text = Spec::new(("project_id", "Z4J_PROJECT_ID"), "PROJECT", Text { most: 63 },
        "The project's slug or UUID");
    TOKEN: Text = Spec::new(("token", "Z4J_TOKEN"), "TOKEN", Text { most: 4096 }, "The agent's token").secret();
    TOKEN_FILE: PathKind = Spec::new(("token_file", "Z4J_TOKEN_FILE"), "FILE", PathKind,
        "File with the agent's token; else Z4J_TOKEN, or the credential `token`");
    HMAC_SECRET: Text = Spec::new(("hmac_secret", "Z4J_HMAC_SECRET"), "SECRET", Text { most: 4096 },
        "The signing secret").secret();
    HMAC_SECRET_FILE: PathKind = Spec::new(("hmac_secret_file", "Z4J_HMAC_SECRET_FILE"), "FILE", PathKind,
        "File with the signing secret; else Z4J_HMAC_SECRET, or the credential `hmac_secret`");
    CONFIG: PathKind = Spec::new(("config", "Z4J_CONFIG"), "FILE", PathKind,
        "File of settings (TOML); variables and flags win over it").not_in_file();
    AGENT_NAME: Text = Spec::new(("agent_name", "Z4J_AGENT_NAME"), "NAME", Text { most: 64 }, "The agent's name");
    AGENT_ID: UuidKind = Spec::new(("agent_id", "Z4J_AGENT_ID"), "UUID", UuidKind,
        "The agent's UUID; long-poll takes the one that the brain names, if it names one");
    TRANSPORT: Choice<Transport> = Spec::new(("transport", "Z4J_TRANSPORT"), "TRANSPORT",
        Choice { words: &TRANSPORTS, told: 3, any_case: false },
        "auto, ws or longpoll; auto is WebSocket, and long-poll where that does not work").default("auto");
    HOME: Directory = Spec::new(("home", "Z4J_HOME"), "DIR", Directory, "The home root, in place of ~/.z4j");
    BUFFER_PATH: PathKind = Spec::new(("buffer_path", "Z4J_BUFFER_PATH"), "PATH", PathKind,
        "The buffer, below the home root or the temporary root");
    BUFFER_MAX_BYTES: Number = Spec::new(("buffer_max_bytes", "Z4J_BUFFER_MAX_BYTES"), "BYTES",
        Number { least: 1_048_576, most: u64::MAX }, "Largest buffer in bytes").default("268435456");
    BUFFER_MAX_EVENTS: Number = Spec::new(("buffer_max_events", "Z4J_BUFFER_MAX_EVENTS"), "N",
        Number { least: 1_000, most: 10_000_000 }, "Most events in the buffer").default("100000");
    CA_FILE: CertificateFile = Spec::new(("ca_file", "Z4J_CA_FILE"), "FILE", CertificateFile,
        "Root certificates beside the system's, PEM");
    CERT_FILE: PathKind = Spec::new(("ssl_cert_file", "SSL_CERT_FILE"), "FILE", PathKind,
        "Root certificates in place of the system's, PEM").flagless().not_in_file();
    CERT_DIR: PathKind = Spec::new(("ssl_cert_dir", "SSL_CERT_DIR"), "DIR", PathKind,
        "Directory of root certificates in place of the system's").flagless().not_in_file();
    VENV: PathKind = Spec::new(("venv", "VIRTUAL_ENV"), "DIR", PathKind, "The application's Python environment");
    WORKER_ROLE: Text = Spec::new(("worker_role", "Z4J_WORKER_ROLE"), "ROLE", Text { most: 32 },
        "What this process is for, as the brain shows it");
    ENGINES: Words = Spec::new(("engines", "Z4J_ENGINES"), "NAMES", Words,
        "Engines whose events come from here; they refuse commands unless the file has [engine.NAME]");
    HEARTBEAT: Choice<bool> = Spec::new(("heartbeat", "Z4J_HEARTBEAT"), "BOOL", SWITCH,
        "Whether heartbeats and the agent's status are sent").switch("true");
    AGENT_STATUS_DISABLED: Choice<bool> = Spec::new(("agent_status_disabled", "Z4J_AGENT_STATUS_DISABLED"),
        "BOOL", SWITCH, "Send heartbeats without the agent's status").switch("false");
    LOG_LEVEL: Choice<LogLevel> = Spec::new(("log_level", "Z4J_LOG_LEVEL"), "LEVEL",
        Choice { words: &LOG_LEVELS, told: 5, any_case: true },
        "error, warning, info, debug or trace, in any case").default("info");
    LOG_FORMAT: Choice<LogFormat> = Spec::new(("log_format", "Z4J_LOG_FORMAT"), "FORMAT",
        Choice { words: &[("text", LogFormat::Text), ("json", LogFormat::Json)], told: 2, any_case: true },
        "text or json").default("text");
    KEY_PATTERNS: Patterns = Spec::new(
        ("redaction_extra_key_patterns", "Z4J_REDACTION_EXTRA_KEY_PATTERNS"), "PATTERNS", Patterns(PatternsOf::Keys),
        "More keys whose values are redacted");
    VALUE_PATTERNS: Patterns = Spec::new(
        ("redaction_extra_value_patterns", "Z4J_REDACTION_EXTRA_VALUE_PATTERNS"), "PATTERNS", Patterns(PatternsOf::Values),
        "More values that are redacted");
    MAX_PAYLOAD_BYTES: Number = Spec::new(("max_payload_bytes", "Z4J_MAX_PAYLOAD_BYTES"), "BYTES",
        Number { least: 128, most: 8_192 }, "Longest string in an event; longer ones are cut").default("8192");
    ORCHESTRATED: Choice<bool> = Spec::new(("orchestrated", "Z4J_ORCHESTRATED"), "BOOL", SWITCH,
        "Whether something starts this process anew when it exits; found out where it is not set").switch("");
    DISABLED: Choice<bool> = Spec::new(("disabled", "Z4J_DISABLED"), "BOOL", SWITCH,
        "Do not run: `run` says so and exits 0").switch("false");
    STOP_TIMEOUT: Time = Spec::new(("stop_timeout", "Z4J_STOP_TIMEOUT"), "TIME",
        Time { most: Duration::from_secs(600) }, "How long `run` flushes before it stops, and keeps asking a brain that is away").default("10s");
    INGEST: PathKind = Spec::new(("ingest", "Z4J_INGEST"), "PATH", PathKind,
        "Where `run` takes events, in place of the default socket");
    DEV_MODE: Choice<bool> = Spec::new(("dev_mode", ""), "BOOL", SWITCH,
        "Allow plain http to any host (never from the environment)").switch("false");
    ENVIRONMENT: Ignored = Spec::new(("environment", "Z4J_ENVIRONMENT"), "", Ignored, NOTHING).ignored();
    TAGS: Ignored = Spec::new(("tags", "Z4J_TAGS"), "", Ignored, NOTHING).ignored();
    SCHEDULERS: Ignored = Spec::new(("schedulers", "Z4J_SCHEDULERS"), "", Ignored, NOTHING).ignored();
    STRICT_MODE: Ignored = Spec::new(("strict_mode", "Z4J_STRICT_MODE"), "", Ignored, NOTHING).ignored();
    AUTOSTART: Ignored = Spec::new(("autostart", "Z4J_AUTOSTART"), "", Ignored, NOTHING).ignored();
    HEARTBEAT_SECONDS: Ignored = Spec::new(("heartbeat_seconds", "Z4J_HEARTBEAT_SECONDS"), "", Ignored,
        "Nothing: the brain says how often").ignored();
}

const NOTHING: &str = "Nothing";

static TRANSPORTS: [(&str, Transport); 3] =
    [("auto", Transport::Auto), ("ws", Transport::Ws), ("longpoll", Transport::Longpoll)];

/// Python's words are taken as well.
static LOG_LEVELS: [(&str, LogLevel); 7] = [
    ("error", LogLevel::Error),
    ("warning", LogLevel::Warning),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
    ("warn", LogLevel::Warning),
    ("critical", LogLevel::Error),
];

/// The known name that is nearest to one that is not, if any is near.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |known: &str| strsim::osa_distance(name, known);
    known
        .map(|known| (distance(known), known))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, known)| known)
}
