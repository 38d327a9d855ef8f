//! What `serve` is told, by flags and by a file: flags win.
//!
//! Owns the keys of the configuration file and the checks that need no socket. Must not start anything.

use std::fmt;
use std::io::Read;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::fault::FaultSpec;
use crate::journal::{DEFAULT_JOURNAL_BYTES, MIN_JOURNAL_BYTES};
use crate::limits::LimitSettings;
use crate::pki::Profile;
use crate::quote::quote;
use crate::{Limits, Options, Release, StartError, admission, pki, state};

/// Largest configuration file.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// Where agents connect, unless said otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:7700";
/// Where the control API listens, unless said otherwise.
const DEFAULT_CONTROL: &str = "127.0.0.1:0";

/// Settings of `serve`, from a file or from flags. Lists of flags replace lists of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Settings {
    pub(crate) listen: Option<String>,
    pub(crate) control: Option<String>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) tls: Option<bool>,
    pub(crate) name: Vec<String>,
    /// A profile.
    pub(crate) certificate: Option<String>,
    /// Names that a Host header may bear.
    pub(crate) host: Vec<String>,
    /// Networks that agents may come from.
    pub(crate) admit: Vec<String>,
    /// Proxies that are believed.
    pub(crate) trusted_proxy: Vec<String>,
    pub(crate) project: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) fault: Vec<String>,
    pub(crate) allow_remote: Option<bool>,
    pub(crate) strict: Option<bool>,
    /// Commands are sent again on reconnect.
    pub(crate) redeliver: Option<bool>,
    /// The release that is spoken as.
    pub(crate) like_real: Option<String>,
    pub(crate) seed: Option<u64>,
    /// The journal is not on disk.
    pub(crate) memory: Option<bool>,
    /// Most bytes of it on disk.
    pub(crate) journal_max: Option<NonZeroU64>,
    pub(crate) limits: LimitSettings,
    /// Where values came from; not a key.
    #[serde(skip)]
    pub(crate) origin: Origin,
}

/// Which of the values are a file's: a complaint about one names the place where it can be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    file: PathBuf,
    keys: Vec<&'static str>,
}

impl Origin {
    /// What a complaint about the value of a key starts with: the file and the key, or the flag.
    fn named(&self, key: &str) -> String {
        if self.keys.contains(&key) {
            format!("config file {:?}, {key}", self.file)
        } else {
            format!("--{key}")
        }
    }

    /// As [`Origin::named`], for a complaint that names the key itself.
    pub(crate) fn complaint(&self, key: &str, error: &dyn fmt::Display) -> SettingsError {
        if self.keys.contains(&key) {
            SettingsError(format!("config file {:?}: {error}", self.file))
        } else {
            SettingsError(error.to_string())
        }
    }

    /// What a brain that does not start says of the settings.
    pub(crate) fn start_complaint(&self, error: &StartError) -> SettingsError {
        let key = match error {
            StartError::Fault(_) => "fault",
            StartError::State(_) | StartError::Journal(_) => "state-dir",
            StartError::Pki(_) | StartError::Listener(_) => "",
        };
        self.complaint(key, error)
    }
}

/// A setting that cannot be used: one line with the thing, the reason and the way out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SettingsError(pub(crate) String);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Settings that have been checked.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) listen: SocketAddr,
    pub(crate) control: SocketAddr,
    pub(crate) state_dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) limits: Limits,
    pub(crate) origin: Origin,
}

impl Settings {
    /// Reads a TOML file.
    pub(crate) fn read(path: &Path) -> Result<Self, SettingsError> {
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_CONFIG_BYTES + 1).read_to_string(&mut text))
            .map_err(|error| {
                let way_out = "say --config with a file that can be read, or leave it out";
                SettingsError(format!("config file {path:?}: {error}; {way_out}"))
            })?;
        if text.len() as u64 > MAX_CONFIG_BYTES {
            let problem = format!("config file {path:?}: longer than {MAX_CONFIG_BYTES} bytes; shorten it");
            return Err(SettingsError(problem));
        }
        Self::parse(path, &text)
    }

    /// Reads the text of a file.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let read = toml::from_str::<Self>(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let message = error.message().replace('\n', " ");
            let written = text.lines().nth(line - 1).unwrap_or_default();
            let key = written.split('=').next().unwrap_or_default().trim();
            let place = elsewhere(message.as_str(), key);
            SettingsError(format!("config file {path:?}, line {line}, {}: {message}{place}", quote(key)))
        })?;
        read.check_pairs(path)?;
        Ok(Self { origin: Origin { file: path.to_owned(), keys: Vec::new() }, ..read })
    }

    /// What flags exclude, a file does too.
    fn check_pairs(&self, path: &Path) -> Result<(), SettingsError> {
        let pairs = [
            (self.strict == Some(true) && self.like_real.is_some(), "strict", "like-real"),
            (self.memory == Some(true) && self.journal_max.is_some(), "memory", "journal-max"),
        ];
        match pairs.into_iter().find(|(both, ..)| *both) {
            Some((_, one, other)) => Err(SettingsError(format!(
                "config file {path:?}: the argument '{one}' cannot be used with '{other}'; leave one out"
            ))),
            None => Ok(()),
        }
    }

    /// These settings where they say something, else the others.
    pub(crate) fn or(self, other: Self) -> Self {
        let of_file = [
            ("listen", self.listen.is_none()),
            ("control", self.control.is_none()),
            ("state-dir", self.state_dir.is_none() && other.state_dir.is_some()),
            ("name", self.name.is_empty()),
            ("host", self.host.is_empty()),
            ("admit", self.admit.is_empty()),
            ("trusted-proxy", self.trusted_proxy.is_empty()),
            ("certificate", self.certificate.is_none() && other.certificate.is_some()),
            ("project", self.project.is_none() && other.project.is_some()),
            ("agent", self.agent.is_none() && other.agent.is_some()),
            ("fault", self.fault.is_empty()),
            ("journal-max", self.journal_max.is_none()),
            ("like-real", self.like_real.is_none() && other.like_real.is_some()),
        ];
        let keys = of_file.into_iter().filter_map(|(key, is)| is.then_some(key)).collect();
        let list = |own: Vec<String>, other| if own.is_empty() { other } else { own };
        Self {
            listen: self.listen.or(other.listen),
            control: self.control.or(other.control),
            state_dir: self.state_dir.or(other.state_dir),
            tls: self.tls.or(other.tls),
            name: list(self.name, other.name),
            certificate: self.certificate.or(other.certificate),
            host: list(self.host, other.host),
            admit: list(self.admit, other.admit),
            trusted_proxy: list(self.trusted_proxy, other.trusted_proxy),
            project: self.project.or(other.project),
            agent: self.agent.or(other.agent),
            fault: list(self.fault, other.fault),
            allow_remote: self.allow_remote.or(other.allow_remote),
            strict: self.strict.or(other.strict),
            redeliver: self.redeliver.or(other.redeliver),
            like_real: self.like_real.or(other.like_real),
            seed: self.seed.or(other.seed),
            memory: self.memory.or(other.memory),
            journal_max: self.journal_max.or(other.journal_max),
            limits: self.limits.or(other.limits),
            origin: Origin { file: other.origin.file, keys },
        }
    }

    /// Checks everything that can be checked before anything is started.
    pub(crate) fn resolve(self, default_state_dir: Option<PathBuf>) -> Result<Resolved, SettingsError> {
        let remote = self.allow_remote.unwrap_or(false);
        let origin = &self.origin;
        let listen =
            address(&origin.named("listen"), self.listen.as_deref().unwrap_or(DEFAULT_LISTEN), remote)?;
        let control =
            address(&origin.named("control"), self.control.as_deref().unwrap_or(DEFAULT_CONTROL), remote)?;
        let state_dir = directory(origin, self.state_dir.or(default_state_dir))?;
        let faults = self.fault.iter().map(|text| text.parse::<FaultSpec>());
        let faults = faults.collect::<Result<_, _>>().map_err(|error| origin.complaint("fault", &error))?;
        let default = Options::default();
        let (project, agent) = state::first_names(&state_dir).unwrap_or((default.project, default.agent));
        let project = self.project.unwrap_or(project);
        let agent = self.agent.unwrap_or(agent);
        state::check_slug(&project).map_err(|error| origin.complaint("project", &error))?;
        state::check_agent_name(&agent).map_err(|error| origin.complaint("agent", &error))?;
        pki::check_names(&self.name).map_err(|error| origin.complaint("name", &error))?;
        let release = release(origin, self.like_real.as_deref())?;
        let tls = self.tls.unwrap_or(true);
        let certificate = certificate(origin, self.certificate.as_deref(), tls)?;
        let admit = networks(origin, "admit", &self.admit)?;
        let trusted_proxies = networks(origin, "trusted-proxy", &self.trusted_proxy)?;
        check_hosts(origin, &self.host)?;
        let journal_bytes = journal_bytes(origin, self.journal_max)?;
        let options = Options {
            hosts: self.host,
            admit,
            trusted_proxies,
            tls,
            names: self.name,
            certificate,
            project,
            agent,
            strict: self.strict.unwrap_or(false),
            redeliver: self.redeliver.unwrap_or(false),
            release,
            state_dir: Some(state_dir.clone()),
            journal_bytes: (self.memory != Some(true)).then_some(journal_bytes),
            faults,
            seed: self.seed.unwrap_or_default(),
        };
        let limits = self.limits.resolve().map_err(|(key, words)| origin.complaint(key, &words))?;
        Ok(Resolved { listen, control, state_dir, options, limits, origin: self.origin })
    }
}

/// Where a key belongs that is not known where it stands.
fn elsewhere(message: &str, key: &str) -> &'static str {
    fn knows<T: DeserializeOwned>(key: &str) -> bool {
        // A value of no key's type: a key that is known is refused for that.
        let document = toml::from_str::<T>(&format!("{key} = [{{}}]"));
        document.err().is_some_and(|error| !is_unknown(error.message()))
    }
    fn is_unknown(message: &str) -> bool {
        message.starts_with("unknown field")
    }
    let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if !is_bare || !is_unknown(message) {
        ""
    } else if knows::<LimitSettings>(key) {
        "; it is a limit: write it below a line [limits]"
    } else if knows::<Settings>(key) {
        "; it is no limit: write it above the line [limits]"
    } else {
        ""
    }
}

/// The state directory, as an absolute path.
fn directory(origin: &Origin, set: Option<PathBuf>) -> Result<PathBuf, SettingsError> {
    let state_dir = set.ok_or_else(|| {
        let message =
            "there is no state directory: neither XDG_STATE_HOME nor HOME is set; say --state-dir DIR";
        SettingsError(message.to_owned())
    })?;
    std::path::absolute(&state_dir)
        .map_err(|error| SettingsError(format!("{} {state_dir:?}: {error}", origin.named("state-dir"))))
}

/// The bound of the journal on disk.
fn journal_bytes(origin: &Origin, set: Option<NonZeroU64>) -> Result<u64, SettingsError> {
    let bytes = set.map_or(DEFAULT_JOURNAL_BYTES, NonZeroU64::get);
    if bytes >= MIN_JOURNAL_BYTES {
        return Ok(bytes);
    }
    let way_out =
        format!("say at least {MIN_JOURNAL_BYTES} (1 MiB), or keep the journal in memory (--memory)");
    let key = origin.named("journal-max");
    Err(SettingsError(format!("{key} {bytes}: too few bytes for a journal on disk; {way_out}")))
}

/// What the server shows; only over TLS.
fn certificate(origin: &Origin, profile: Option<&str>, tls: bool) -> Result<Profile, SettingsError> {
    if profile.is_some() && !tls {
        let message = "a certificate profile needs TLS: leave it out, or --no-tls";
        return Err(origin.complaint("certificate", &message));
    }
    let profile = profile.map(str::parse::<Profile>).transpose();
    Ok(profile.map_err(|error| origin.complaint("certificate", &error))?.unwrap_or_default())
}

/// Whether names can stand in a Host header.
fn check_hosts(origin: &Origin, names: &[String]) -> Result<(), SettingsError> {
    names.iter().try_for_each(|name| {
        pki::check_names(std::slice::from_ref(name)).map_err(|_| {
            let what = "not a DNS name or IP address, such as tasks.example.com";
            SettingsError(format!("{} {}: {what}", origin.named("host"), quote(name)))
        })
    })
}

/// Networks as settings say them.
fn networks(origin: &Origin, key: &str, texts: &[String]) -> Result<Vec<IpNet>, SettingsError> {
    let read = |text: &String| {
        admission::network(text).ok_or_else(|| {
            let what = "not a network or address, such as 10.0.0.0/8 or 192.0.2.7";
            SettingsError(format!("{} {}: {what}", origin.named(key), quote(text)))
        })
    };
    texts.iter().map(read).collect()
}

/// The release of a setting; the newest one where nothing is said.
fn release(origin: &Origin, text: Option<&str>) -> Result<Release, SettingsError> {
    let Some(text) = text else { return Ok(Release::NEWEST) };
    text.parse()
        .map_err(|error| SettingsError(format!("{} {}: {error}", origin.named("like-real"), quote(text))))
}

fn address(flag: &str, text: &str, remote: bool) -> Result<SocketAddr, SettingsError> {
    let text = text.strip_prefix("localhost:").map_or(text.to_owned(), |port| format!("127.0.0.1:{port}"));
    let address: SocketAddr = text.parse().map_err(|_| {
        SettingsError(format!("{flag} {}: not an IP address and port, such as 127.0.0.1:7700", quote(&text)))
    })?;
    let loopback = match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
    };
    if loopback || remote {
        return Ok(address);
    }
    let reason = "is not loopback, and others could reach this brain";
    Err(SettingsError(format!("{flag} {address} {reason}; add --allow-remote if that is wanted")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file() {
        let file: Settings =
            toml::from_str("listen = '127.0.0.1:1'\nname = ['a', 'b']\nstrict = true").unwrap();
        let flags = Settings { name: vec!["c".to_owned()], strict: Some(false), ..Settings::default() };
        let both = flags.or(file);
        assert_eq!(both.listen.as_deref(), Some("127.0.0.1:1"));
        assert_eq!((both.name, both.strict), (vec!["c".to_owned()], Some(false)));
    }

    #[test]
    fn only_loopback_unless_allowed() {
        for good in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:0", "localhost:0"] {
            assert!(address("--listen", good, false).is_ok(), "{good}");
        }
        for bad in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7700", "7700", "host:1", "127.0.0.1"] {
            assert!(address("--listen", bad, false).is_err(), "{bad}");
        }
        assert!(address("--listen", "0.0.0.0:0", true).is_ok());
    }
}
