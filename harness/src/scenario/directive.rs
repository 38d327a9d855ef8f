//! Values of systemd's directives, each read into a type that cannot be wrong afterwards.
//!
//! Owns their spellings (systemd.exec(5), systemd.service(5), systemd.time(7)). What a directive means is
//! the sandbox's.

use std::path::PathBuf;
use std::time::Duration;

use rustix::thread::CapabilitySet;
use serde::{Deserialize, Deserializer, Serialize};

use super::value::{AbsolutePath, Mode, Size, from_text};

/// `Type=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    #[default]
    Simple,
    Exec,
    Notify,
    #[serde(rename = "notify-reload")]
    NotifyReload,
}

impl Kind {
    /// Whether the service says when it is ready.
    pub(crate) const fn notifies(self) -> bool {
        matches!(self, Self::Notify | Self::NotifyReload)
    }
}

/// A path; with `-` before it one that may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub(crate) struct MaybePath {
    pub(crate) path: PathBuf,
    pub(crate) optional: bool,
}

from_text!(MaybePath, |text| {
    let (optional, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let rest = rest.strip_prefix('+').unwrap_or(rest);
    AbsolutePath::parse(rest).map(|path| MaybePath { path: path.0, optional })
});

impl From<MaybePath> for String {
    fn from(path: MaybePath) -> Self {
        format!("{}{}", if path.optional { "-" } else { "" }, path.path.display())
    }
}

/// `TemporaryFileSystem=PATH[:OPTIONS]`, of the options `ro`, `rw`, `mode=` and `size=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemporaryFileSystem {
    pub(crate) path: PathBuf,
    pub(crate) read_only: bool,
    pub(crate) mode: u32,
    pub(crate) bytes: Option<u64>,
}

from_text!(TemporaryFileSystem, |text| {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    let path = AbsolutePath::parse(path)?.0;
    let mut parsed = TemporaryFileSystem { path, read_only: false, mode: 0o755, bytes: None };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            None if option == "ro" => parsed.read_only = true,
            None if matches!(option, "rw" | "nosuid" | "nodev" | "strictatime") => {}
            Some(("size", size)) => parsed.bytes = Some(Size::parse(&size.to_ascii_uppercase())?.0),
            Some(("mode", mode)) => parsed.mode = Mode::parse(mode)?.0,
            _ => {
                return Err(format!("`{option}` is not an option that a sandbox can give: ro, mode=, size="));
            }
        }
    }
    Ok(parsed)
});

/// `LoadCredential=ID:PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub(crate) struct Credential {
    pub(crate) id: String,
    pub(crate) source: PathBuf,
}

from_text!(Credential, |text| {
    let wrong = || format!("`{text}` is not ID:/PATH");
    let (id, source) = text.split_once(':').ok_or_else(wrong)?;
    let plain = !id.is_empty() && id.len() <= 255 && !id.contains('/') && !matches!(id, "." | "..");
    if !plain {
        return Err(wrong());
    }
    Ok(Credential { id: id.to_owned(), source: AbsolutePath::parse(source)?.0 })
});

impl From<Credential> for String {
    fn from(credential: Credential) -> Self {
        format!("{}:{}", credential.id, credential.source.display())
    }
}

/// A time span: a number of seconds, or numbers with units; `infinity` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) Option<Duration>);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelled {
            Number(u32),
            Text(String),
        }
        let wrong = || serde::de::Error::custom("expected seconds, or a time span such as \"1min 30s\"");
        match Spelled::deserialize(deserializer).map_err(|_: D::Error| wrong())? {
            Spelled::Number(seconds) => Ok(Self(Some(Duration::from_secs(seconds.into())))),
            Spelled::Text(text) => span(&text).map(Self).ok_or_else(wrong),
        }
    }
}

/// systemd.time(7), as far as services use it. Zero means no limit, as `infinity` does.
fn span(text: &str) -> Option<Option<Duration>> {
    if text == "infinity" {
        return Some(None);
    }
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u32 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?.trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match rest.get(..letters)? {
            "ms" | "msec" => Duration::from_millis(1),
            "" | "s" | "sec" | "second" | "seconds" => Duration::from_secs(1),
            "m" | "min" | "minute" | "minutes" => Duration::from_secs(60),
            "h" | "hr" | "hour" | "hours" => Duration::from_secs(3_600),
            _ => return None,
        };
        total = total.checked_add(unit.checked_mul(number)?)?;
        rest = rest.get(letters..)?.trim_start();
    }
    Some(Some(total).filter(|total| !total.is_zero()))
}

/// A resource limit: a number with K, M or G, or `infinity`. Of `SOFT:HARD`, the soft one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<u64>);

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelled {
            Number(u64),
            Text(String),
        }
        let wrong = || serde::de::Error::custom("expected a number, with K, M or G, or \"infinity\"");
        match Spelled::deserialize(deserializer).map_err(|_: D::Error| wrong())? {
            Spelled::Number(number) => Ok(Self(Some(number))),
            Spelled::Text(text) => match text.split(':').next().unwrap_or_default() {
                "infinity" => Ok(Self(None)),
                soft => Size::parse(soft).map(|size| Self(Some(size.0))).map_err(|_| wrong()),
            },
        }
    }
}

/// `CapabilityBoundingSet=`: names, or with `~` before them all but these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities(pub(crate) u64);

from_text!(Capabilities, |text| {
    let (inverted, names) = text.strip_prefix('~').map_or((false, text), |names| (true, names));
    let mut set = CapabilitySet::empty();
    for name in names.split_whitespace() {
        let known = name.strip_prefix("CAP_").and_then(CapabilitySet::from_name);
        set |= known.ok_or_else(|| format!("`{name}` is not a capability such as CAP_NET_BIND_SERVICE"))?;
    }
    let set = if inverted { CapabilitySet::all().difference(set) } else { set };
    Ok(Capabilities(set.bits()))
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_are_systemds() {
        for (text, seconds) in [("90", 90.0), ("1min 30s", 90.0), ("500ms", 0.5), ("2h", 7_200.0)] {
            assert_eq!(span(text), Some(Some(Duration::from_secs_f64(seconds))), "{text}");
        }
        for text in ["infinity", "0"] {
            assert_eq!(span(text), Some(None), "{text}");
        }
        for text in ["", "1 fortnight", "s", "-1", "99999999999"] {
            assert_eq!(span(text), None, "{text}");
        }
    }

    #[test]
    fn capabilities_are_named_or_excepted() {
        assert_eq!(Capabilities::parse(""), Ok(Capabilities(0)));
        let chown = CapabilitySet::CHOWN.bits();
        assert_eq!(Capabilities::parse("CAP_CHOWN"), Ok(Capabilities(chown)));
        assert_eq!(Capabilities::parse("~CAP_CHOWN").map(|set| set.0 & chown), Ok(0));
        assert!(Capabilities::parse("CAP_FLY").is_err());
    }

    #[test]
    fn a_tmpfs_has_options() {
        let parsed = TemporaryFileSystem::parse("/var/lib/x:ro,size=1m,mode=0700").unwrap();
        assert_eq!((parsed.read_only, parsed.mode, parsed.bytes), (true, 0o700, Some(1 << 20)));
        assert!(TemporaryFileSystem::parse("/x:uid=7").is_err());
    }
}
