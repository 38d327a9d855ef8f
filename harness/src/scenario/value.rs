//! Single values of a scenario file, each read into a type that cannot be wrong afterwards.
//!
//! Every refusal happens while reading, so that it carries file, line and column. Must not touch the machine.

use std::fmt;
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};
use std::time;

use serde::{Deserialize, Deserializer};

/// Declares a type that is read from text by a function.
macro_rules! from_text {
    ($name:ident, $parse:expr) => {
        impl $name {
            /// # Errors
            /// The text is none: why.
            pub(crate) fn parse(text: &str) -> Result<Self, String> {
                let parse: fn(&str) -> Result<Self, String> = $parse;
                parse(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use from_text;

/// An absolute path without `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AbsolutePath(pub(crate) PathBuf);

from_text!(AbsolutePath, |text| {
    let path = Path::new(text);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain {
        Ok(AbsolutePath(path.components().collect()))
    } else {
        Err(format!("`{text}` is not an absolute path without `..`"))
    }
});

/// Permission bits, written in octal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode(pub(crate) u32);

from_text!(Mode, |text| {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.map(Mode).ok_or_else(|| format!("`{text}` is not a mode: octal digits as in \"0755\""))
});

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// Bytes, written with K, M or G.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

from_text!(Size, |text| {
    let (digits, unit) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(digits) => (digits, &text[digits.len()..]),
        None => (text, ""),
    };
    let factor = match unit {
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => 1,
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    bytes
        .filter(|bytes| *bytes > 0)
        .map(Size)
        .ok_or_else(|| format!("`{text}` is not a size: a number with K, M or G"))
});

/// A time span, written with ms or s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Duration(pub(crate) time::Duration);

impl Default for Duration {
    fn default() -> Self {
        Self(time::Duration::from_secs(20))
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix("ms").map(|number| (number, 1)).or_else(|| {
        let number = text.strip_suffix('s')?;
        Some((number, 1000))
    });
    let millis = seconds.and_then(|(number, factor)| number.parse::<u64>().ok()?.checked_mul(factor));
    let span = millis.map(time::Duration::from_millis).map(Duration);
    span.ok_or_else(|| format!("`{text}` is not a time span: a number with ms or s"))
}

from_text!(Duration, parse_duration);

/// What the resolver says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Address(IpAddr),
    NxDomain,
    ServFail,
    Refused,
    Silent,
    /// Not existing, said late.
    Slow(time::Duration),
}

from_text!(Answer, |text| {
    let slow = text.strip_prefix("slow(").and_then(|rest| rest.strip_suffix(')'));
    if let Some(span) = slow {
        return parse_duration(span).map(|span| Answer::Slow(span.0));
    }
    match text {
        "nxdomain" => Ok(Answer::NxDomain),
        "servfail" => Ok(Answer::ServFail),
        "refused" => Ok(Answer::Refused),
        "silent" => Ok(Answer::Silent),
        _ => text.parse().map(Answer::Address).map_err(|_| {
            format!("`{text}` is neither an address nor nxdomain, servfail, refused, silent or slow(2s)")
        }),
    }
});

/// Directories below one that systemd keeps (`StateDirectory=`): relative, without `..`, separated by blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DirectoryNames(pub(crate) Vec<PathBuf>);

from_text!(DirectoryNames, |text| {
    let name = |word: &str| {
        let path = Path::new(word);
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        if plain { Ok(path.to_owned()) } else { Err(format!("`{word}` is not a relative path without `..`")) }
    };
    let names: Vec<_> = text.split_whitespace().map(name).collect::<Result<_, _>>()?;
    if names.is_empty() { Err("it names no directory".to_owned()) } else { Ok(DirectoryNames(names)) }
});

/// The name of a user, as useradd(8) takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserName(pub(crate) String);

from_text!(UserName, |text| {
    let first = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'));
    if first && rest && text.len() <= 32 {
        Ok(UserName(text.to_owned()))
    } else {
        Err(format!("`{text}` is not a user name: lower-case letters, digits, `_` and `-`"))
    }
});

/// A uid or gid. The largest number means "leave it as it is" to the kernel, and is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id(pub(crate) u32);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            u32::MAX => Err(serde::de::Error::custom("a uid or gid is 0..=4294967294")),
            id => Ok(Self(id)),
        }
    }
}

/// The name of a step: part of its snapshot's file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepName(pub(crate) String);

from_text!(StepName, |text| {
    let plain = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if plain && text.contains(|c: char| c.is_ascii_lowercase()) && text.len() <= 64 {
        Ok(StepName(text.to_owned()))
    } else {
        Err(format!("`{text}` is not a step name: lower-case letters, digits and `-`"))
    }
});

/// What a scenario calls an agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AgentName(pub(crate) String);

impl Default for AgentName {
    fn default() -> Self {
        Self("agent".to_owned())
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

from_text!(AgentName, |text| {
    let plain = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if plain && !text.is_empty() && text.len() <= 32 {
        Ok(AgentName(text.to_owned()))
    } else {
        Err(format!("`{text}` is not an agent's name: lower-case letters, digits and `-`"))
    }
});

/// A signal, with or without SIG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signal(pub(crate) nix::sys::signal::Signal);

impl Default for Signal {
    fn default() -> Self {
        Self(nix::sys::signal::Signal::SIGKILL)
    }
}

from_text!(Signal, |text| {
    let name = format!("SIG{}", text.trim_start_matches("SIG"));
    name.parse().map(Signal).map_err(|_| format!("`{text}` is not a signal such as TERM or KILL"))
});

/// The name of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FaultName(pub(crate) String);

from_text!(FaultName, |text| match mock_brain::fault::catalog::find(text) {
    Some(_) => Ok(FaultName(text.to_owned())),
    None => Err(format!("no such fault `{text}` (known: {})", mock_brain::fault::catalog::names())),
});

/// A truth value, or systemd's words for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelled {
            Value(bool),
            Word(String),
        }
        let wrong = || serde::de::Error::custom("expected true or false");
        match Spelled::deserialize(deserializer).map_err(|_: D::Error| wrong())? {
            Spelled::Value(value) => Ok(Self(value)),
            Spelled::Word(word) => match word.as_str() {
                "yes" | "true" | "on" | "1" => Ok(Self(true)),
                "no" | "false" | "off" | "0" => Ok(Self(false)),
                _ => Err(wrong()),
            },
        }
    }
}

/// One `NAME=VALUE` of `Environment=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    pub(crate) value: String,
}

from_text!(Assignment, |text| match text.split_once('=') {
    Some((name, value)) if !name.is_empty() && !name.contains(char::is_whitespace) =>
        Ok(Assignment { name: name.to_owned(), value: value.to_owned() }),
    _ => Err(format!("`{text}` is not NAME=VALUE")),
});

/// Python distributions, `NAME==VERSION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packages(pub(crate) Vec<(String, String)>);

impl<'de> Deserialize<'de> for Packages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let plain = |text: &str| !text.is_empty() && !text.contains(['/', '=', ' ']);
        let pairs = texts.iter().map(|text| match text.split_once("==") {
            Some((name, version)) if plain(name) && plain(version) => {
                Ok((name.to_owned(), version.to_owned()))
            }
            _ => Err(serde::de::Error::custom(format!("`{text}` is not NAME==VERSION"))),
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }
}

/// The brain's URL, split as far as the stage needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrainUrl {
    pub(crate) text: String,
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Default for BrainUrl {
    fn default() -> Self {
        Self {
            text: "https://tasks.example.com/".to_owned(),
            tls: true,
            host: "tasks.example.com".to_owned(),
            port: 443,
        }
    }
}

from_text!(BrainUrl, |text| {
    let wrong = |why: &str| format!("`{text}` is not http(s)://HOST[:PORT]/: {why}");
    let url = url::Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    let tls = match url.scheme() {
        "https" => true,
        "http" => false,
        _ => return Err(wrong("another scheme")),
    };
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(wrong("only host and port may stand in it"));
    }
    if url.path() != "/" {
        return Err(wrong("a mock brain has no path prefix"));
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().filter(|port| *port > 0).ok_or_else(|| wrong("no port"))?;
    Ok(BrainUrl { text: text.to_owned(), tls, host, port })
});

/// Whether a command's output is held against a snapshot. The form (`"json"`) also asks the doctor for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Snapshot {
    #[default]
    No,
    Text,
    Json,
}

impl<'de> Deserialize<'de> for Snapshot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelled {
            Flag(bool),
            Form(String),
        }
        match Spelled::deserialize(deserializer) {
            Ok(Spelled::Flag(false)) => Ok(Self::No),
            Ok(Spelled::Flag(true)) => Ok(Self::Text),
            Ok(Spelled::Form(form)) if form == "json" => Ok(Self::Json),
            _ => Err(serde::de::Error::custom("a snapshot is true, false or \"json\"")),
        }
    }
}
