//! Kinds of settings: what a value may be, and how it is read.
//!
//! A kind holds its bounds once; the refusal, the help and `config show` all take them from here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use uuid::Uuid;

use super::source::Setting;
use super::{BrainUrl, ConfigError};
use crate::environment::Environment;
use crate::files;
use crate::redaction::{PatternsOf, check_patterns};
use crate::words::errno_text;

/// Longest file of certificates, in bytes.
const MAX_CA_BYTES: u64 = 16 << 20;
/// Most items of a list.
const MAX_ITEMS: usize = 64;
/// Longest item of a list, in characters.
const MAX_ITEM_CHARS: usize = 512;

/// What a setting may hold.
pub(crate) trait Kind: Sync + 'static {
    /// What it becomes.
    type Value;

    /// What is allowed, as words.
    fn bounds(&self) -> String;

    /// Reads a value.
    ///
    /// # Errors
    /// It is out of bounds; the error names the setting, the value and the bounds.
    fn read(&self, setting: &Setting, environment: &Environment) -> Result<Self::Value, ConfigError>;
}

/// The brain's URL. Whether it may be plain text is judged where `dev_mode` is known.
pub(crate) struct UrlKind;

impl Kind for UrlKind {
    type Value = BrainUrl;

    fn bounds(&self) -> String {
        "an https:// URL; http:// for a loopback host".to_owned()
    }

    fn read(&self, setting: &Setting, _: &Environment) -> Result<BrainUrl, ConfigError> {
        let fix =
            format!("set {} to https://HOST/, with a port or path where the brain has one", setting.name);
        BrainUrl::parse(&setting.value).map_err(|problem| setting.invalid(&problem.to_string(), &fix))
    }
}

/// Text of a bounded length, without control characters.
pub(crate) struct Text {
    /// Most characters.
    pub(crate) most: usize,
}

impl Kind for Text {
    type Value = String;

    fn bounds(&self) -> String {
        format!("at most {} characters", self.most)
    }

    fn read(&self, setting: &Setting, _: &Environment) -> Result<String, ConfigError> {
        let most = self.most;
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
}

/// A UUID.
pub(crate) struct UuidKind;

impl Kind for UuidKind {
    type Value = Uuid;

    fn bounds(&self) -> String {
        "a UUID".to_owned()
    }

    fn read(&self, setting: &Setting, _: &Environment) -> Result<Uuid, ConfigError> {
        let fix = format!("set {} to the agent's UUID, or leave it out", setting.name);
        Uuid::parse_str(&setting.value).map_err(|_| setting.invalid("it is no UUID", &fix))
    }
}

/// One of a few words.
pub(crate) struct Choice<T: 'static> {
    /// The words, and what they mean. A meaning's first word is the one that is told.
    pub(crate) words: &'static [(&'static str, T)],
    /// How many of them are told; the others are taken as well.
    pub(crate) told: usize,
    /// Whether upper case is taken too.
    pub(crate) any_case: bool,
}

impl<T> Choice<T> {
    fn told(&self) -> Vec<&'static str> {
        self.words.iter().take(self.told).map(|(word, _)| *word).collect()
    }
}

impl<T: Copy + Sync + 'static> Kind for Choice<T> {
    type Value = T;

    fn bounds(&self) -> String {
        self.told().join(", ")
    }

    fn read(&self, setting: &Setting, _: &Environment) -> Result<T, ConfigError> {
        let value = if self.any_case { setting.value.to_ascii_lowercase() } else { setting.value.clone() };
        if let Some((_, meaning)) = self.words.iter().find(|(word, _)| *word == value) {
            return Ok(*meaning);
        }
        let told = self.told();
        let (last, rest) = told.split_last().map_or(("", &[][..]), |(last, rest)| (*last, rest));
        let case = if self.any_case { "" } else { " (lower case)" };
        let fix = format!("set {} to {} or {last}{case}", setting.name, rest.join(", "));
        Err(setting.invalid(&format!("it is none of {}", told.join(", ")), &fix))
    }
}

/// On or off, in the words that the Python agent takes.
pub(crate) const SWITCH: Choice<bool> = Choice {
    words: &[
        ("true", true),
        ("false", false),
        ("1", true),
        ("yes", true),
        ("on", true),
        ("0", false),
        ("no", false),
        ("off", false),
    ],
    told: 8,
    any_case: true,
};

/// A whole number.
pub(crate) struct Number {
    /// The lowest.
    pub(crate) least: u64,
    /// The highest.
    pub(crate) most: u64,
}

impl Kind for Number {
    type Value = u64;

    fn bounds(&self) -> String {
        match self.most {
            u64::MAX => format!("a whole number of {} or more", self.least),
            most => format!("a whole number from {} to {most}", self.least),
        }
    }

    fn read(&self, setting: &Setting, _: &Environment) -> Result<u64, ConfigError> {
        let fix = format!("set {} to {}", setting.name, self.bounds());
        match setting.value.parse::<u64>() {
            Ok(number) if number < self.least => {
                Err(setting.invalid(&format!("it is below {}", self.least), &fix))
            }
            Ok(number) if number > self.most => {
                Err(setting.invalid(&format!("it is above {}", self.most), &fix))
            }
            Ok(number) => Ok(number),
            Err(_) => Err(setting.invalid("it is no whole number", &fix)),
        }
    }
}

/// A time, such as `30s`.
pub(crate) struct Time {
    /// The longest.
    pub(crate) most: Duration,
}

impl Kind for Time {
    type Value = Duration;

    fn bounds(&self) -> String {
        format!("a time such as 500ms, 10s or 2m, at most {}s", self.most.as_secs())
    }

    fn read(&self, setting: &Setting, _: &Environment) -> Result<Duration, ConfigError> {
        let fix = format!("set {} to {}", setting.name, self.bounds());
        let time = duration(&setting.value).ok_or_else(|| setting.invalid("it is no time", &fix))?;
        if time > self.most {
            return Err(setting.invalid(&format!("it is above {}s", self.most.as_secs()), &fix));
        }
        Ok(time)
    }
}

/// `500ms`, `30s`, `2m`, `1h`, or seconds without a unit.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3_600)?)),
        _ => None,
    }
}

/// A path as it is written.
pub(crate) struct PathKind;

impl Kind for PathKind {
    type Value = PathBuf;

    fn bounds(&self) -> String {
        "a path".to_owned()
    }

    fn read(&self, setting: &Setting, _: &Environment) -> Result<PathBuf, ConfigError> {
        Ok(PathBuf::from(&setting.value))
    }
}

/// An absolute directory; `~` stands for the home directory.
pub(crate) struct Directory;

impl Kind for Directory {
    type Value = PathBuf;

    fn bounds(&self) -> String {
        "an absolute path, or one below ~".to_owned()
    }

    fn read(&self, setting: &Setting, environment: &Environment) -> Result<PathBuf, ConfigError> {
        let path = match (setting.value.strip_prefix('~'), environment.home_dir()) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                home.join(rest.trim_start_matches('/'))
            }
            _ => PathBuf::from(&setting.value),
        };
        if !path.is_absolute() {
            let fix = format!("set {} to an absolute path", setting.name);
            return Err(setting.invalid("it is no absolute path", &fix));
        }
        Ok(path)
    }
}

/// A file of certificates. It must be there: without it every brain that it is for would look untrusted.
pub(crate) struct CertificateFile;

impl Kind for CertificateFile {
    type Value = PathBuf;

    fn bounds(&self) -> String {
        "a readable PEM file with a certificate".to_owned()
    }

    fn read(&self, setting: &Setting, _: &Environment) -> Result<PathBuf, ConfigError> {
        let fix = format!("set {} to the path of {}", setting.name, self.bounds());
        let bytes = files::read(Path::new(&setting.value), MAX_CA_BYTES)
            .map_err(|error| setting.invalid(&errno_text(&error), &fix))?;
        if !CertificateDer::pem_slice_iter(&bytes).any(|found| found.is_ok()) {
            return Err(setting.invalid("it holds no PEM certificate", &fix));
        }
        Ok(PathBuf::from(&setting.value))
    }
}

/// A list of words, separated by commas outside the file.
pub(crate) struct Words;

impl Kind for Words {
    type Value = Vec<String>;

    fn bounds(&self) -> String {
        "names of a-z, 0-9, _ and -, separated by commas; an array in the file".to_owned()
    }

    fn read(&self, setting: &Setting, _: &Environment) -> Result<Vec<String>, ConfigError> {
        let items = items(setting)?;
        if let Some(item) = items.iter().find(|item| !is_word(item)) {
            let fix = format!("set {} to {}", setting.name, self.bounds());
            return Err(setting.invalid(&format!("{item:?} is no such name"), &fix));
        }
        Ok(items)
    }
}

/// Whether text can name an engine.
pub(crate) fn is_word(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    !text.is_empty() && text.len() <= 40 && text.chars().all(fits)
}

/// Regular expressions, separated by commas outside the file.
pub(crate) struct Patterns(pub(crate) PatternsOf);

impl Kind for Patterns {
    type Value = Vec<String>;

    fn bounds(&self) -> String {
        "regular expressions, separated by commas; in the file an array, whose items may hold commas"
            .to_owned()
    }

    fn read(&self, setting: &Setting, _: &Environment) -> Result<Vec<String>, ConfigError> {
        let items = items(setting)?;
        // As the agent will compile them: what is good here is good there.
        check_patterns(self.0, &items).map_err(|error| {
            let fix = format!(
                "correct it (syntax of the Rust regex crate: no look-around, no back-references), or remove it \
                 from {}",
                setting.name
            );
            setting.invalid(&error.problem(), &fix)
        })?;
        Ok(items)
    }
}

/// The items of a list, trimmed, without empty ones.
fn items(setting: &Setting) -> Result<Vec<String>, ConfigError> {
    let items: Vec<String> = match &setting.items {
        Some(items) => items.clone(),
        None => setting.value.split(',').map(|item| item.trim().to_owned()).collect(),
    };
    let items: Vec<String> = items.into_iter().filter(|item| !item.is_empty()).collect();
    let longest = items.iter().map(|item| item.chars().count()).max().unwrap_or_default();
    if items.len() > MAX_ITEMS || longest > MAX_ITEM_CHARS {
        let fix = format!("set {} to at most {MAX_ITEMS} items of {MAX_ITEM_CHARS} characters", setting.name);
        return Err(setting.invalid("it is too long", &fix));
    }
    Ok(items)
}

/// A setting of the Python agent that changes nothing here.
pub(crate) struct Ignored;

impl Kind for Ignored {
    type Value = ();

    fn bounds(&self) -> String {
        "anything: it has no effect".to_owned()
    }

    fn read(&self, _: &Setting, _: &Environment) -> Result<(), ConfigError> {
        Ok(())
    }
}
