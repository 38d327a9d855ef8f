//! One line of the log, in one of its forms.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;
use tracing::Level;
use z4j_protocol::Timestamp;

use super::fields::Fields;
use crate::words::visible;

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people and files: time (UTC), level, module, message, fields.
    #[default]
    Text,
    /// The same for journald: it stamps lines itself, and takes the level from a prefix (sd-daemon(3)).
    Journal,
    /// One JSON object.
    Json,
}

/// What a line is made of.
pub(super) struct Line<'a> {
    pub(super) at: Timestamp,
    pub(super) level: Level,
    pub(super) target: &'a str,
    pub(super) pid: u32,
    pub(super) ids: &'a BTreeMap<&'static str, String>,
    pub(super) fields: &'a Fields,
}

impl Line<'_> {
    /// The line, its end included.
    pub(super) fn text(&self, format: Format) -> String {
        let mut line = match format {
            Format::Text => format!("{} {:<7} {}", self.seconds(), self.level_name(), self.words()),
            Format::Journal => format!("<{}>{}", self.priority(), self.words()),
            Format::Json => ascii(&self.json()),
        };
        line.push('\n');
        line
    }

    /// Module, message and fields; whatever they hold, they stay one line and do not speak to the terminal.
    fn words(&self) -> String {
        let mut words = format!("{} {}", self.target, self.fields.message);
        for (name, value) in &self.fields.rest {
            let _ = match value.as_str() {
                Some(text) if !text.is_empty() && !text.contains([' ', '"', '=']) => {
                    write!(words, " {name}={text}")
                }
                _ => write!(words, " {name}={value}"),
            };
        }
        visible(&words)
    }

    /// The keys of the Python agent, in its order. serde_json's map sorts, so this is no map.
    fn json(&self) -> String {
        let mut keys: Vec<(&str, Value)> = vec![
            ("ts", self.milliseconds().into()),
            ("level", self.level_name().to_ascii_lowercase().into()),
            ("logger", self.target.into()),
            ("msg", self.fields.message.as_str().into()),
            ("process", self.pid.into()),
        ];
        let ids = self.ids.iter().map(|(name, value)| (*name, Value::from(value.as_str())));
        // A name that is taken stays what it is: a field may not pose as the time or the level.
        for (name, value) in ids.chain(self.fields.rest.iter().cloned()) {
            if !keys.iter().any(|(taken, _)| *taken == name) {
                keys.push((name, value));
            }
        }
        let pairs: Vec<String> =
            keys.iter().map(|(name, value)| format!("{}:{value}", Value::from(*name))).collect();
        format!("{{{}}}", pairs.join(","))
    }

    fn seconds(&self) -> String {
        Timestamp::from_unix_micros(self.at.unix_seconds().saturating_mul(1_000_000)).to_string()
    }

    fn milliseconds(&self) -> String {
        let millis = self.at.unix_micros().rem_euclid(1_000_000) / 1_000;
        format!("{}.{millis:03}Z", self.seconds().trim_end_matches('Z'))
    }

    /// The names of the Python agent, at most seven letters.
    fn level_name(&self) -> &'static str {
        match self.level {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG => "DEBUG",
            Level::TRACE => "TRACE",
        }
    }

    /// syslog(3)'s number.
    fn priority(&self) -> u8 {
        match self.level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        }
    }
}

/// JSON text in ASCII: everything else is in strings, where it may be escaped.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}
