//! What differs from run to run, replaced by named placeholders.
//!
//! The one place that knows how. Patterns are narrow: a number that a check is about must stay. What the
//! harness itself chose (addresses, ports, users) is the same in every run and is left alone.

use regex::{NoExpand, Regex};

/// Pattern and replacement, in the order in which they are applied.
const RULES: &[(&str, &str)] = &[
    // The agent's default buffer bears its pid.
    (r"\bbuffer-\d+(-\d+)?\.sqlite", "buffer-{pid}.sqlite"),
    // Its sockets and pidfile do, and its lines of JSON.
    (r"\bagent-\d+(-\d+)?\.control\.sock\b", "agent-{pid}.control.sock"),
    (r"\bagent-\d+(-\d+)?\.sock\b", "agent-{pid}.sock"),
    (r"\bagent-\d+(-\d+)?\.pid\b", "agent-{pid}.pid"),
    (r#""process": ?\d+"#, r#""process":{pid}"#),
    // Probe files bear whatever makes them unique.
    (r"\.z4j-probe-[0-9A-Za-z_-]+", ".z4j-probe-{unique}"),
    // ISO 8601 times, with or without fraction, in UTC.
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| UTC|\+00:00)", "{time}"),
    // What log lines begin with where they have no zone.
    (r"(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)? ", "{time} "),
    (r#""duration_ms": ?\d+(\.\d+)?"#, r#""duration_ms": {duration}"#),
    // UUIDs: ids that the brain draws.
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "{uuid}"),
    // Authorities of a mock brain bear a number of their own.
    (r"\bmock-brain CA [0-9a-f]{8}\b", "mock-brain CA {serial}"),
    (r"\bmock-brain intermediate [0-9a-f]{8}\b", "mock-brain intermediate {serial}"),
    // How long ago or how far off, in the doctor's sentences.
    (r"\b\d+ (seconds|minutes|hours|days) ago\b", "{age} ago"),
    // Where the scratch directory of the run lies on the real machine (a bind mount shows its source).
    (r"(/[^\s:,]*)?/z4j-harness-[0-9A-Za-z]+/root", "{scratch}"),
];

/// The rules, compiled.
#[derive(Debug)]
pub(crate) struct Normaliser {
    rules: Vec<(Regex, &'static str)>,
}

impl Normaliser {
    /// # Errors
    /// A rule is no regular expression.
    pub(crate) fn new() -> Result<Self, regex::Error> {
        let rules = RULES.iter().map(|(pattern, with)| Ok((Regex::new(pattern)?, *with)));
        Ok(Self { rules: rules.collect::<Result<_, regex::Error>>()? })
    }

    /// The text with placeholders, without white space at line ends.
    pub(crate) fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (pattern, with) in &self.rules {
            text = pattern.replace_all(&text, NoExpand(with)).into_owned();
        }
        let lines: Vec<_> = text.lines().map(str::trim_end).collect();
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_from_run_to_run_is_replaced() {
        let normaliser = Normaliser::new().unwrap();
        for (text, expected) in [
            ("/tmp/z4j-33/buffer-7281.sqlite", "/tmp/z4j-33/buffer-{pid}.sqlite"),
            ("/tmp/z4j-33/buffer-7281-2.sqlite-wal", "/tmp/z4j-33/buffer-{pid}.sqlite-wal"),
            ("/run/z4j/agent-7281.control.sock", "/run/z4j/agent-{pid}.control.sock"),
            ("\"msg\":\"x\",\"process\":23}", "\"msg\":\"x\",\"process\":{pid}}"),
            ("/var/lib/picker/.z4j/buffer.sqlite", "/var/lib/picker/.z4j/buffer.sqlite"),
            ("ended 2026-11-23T21:29:04Z (2 days ago)", "ended {time} ({age} ago)"),
            ("at 2026-11-23 21:29:04 UTC", "at {time}"),
            (
                "close code 4401, status 404, 198.51.100.42:443",
                "close code 4401, status 404, 198.51.100.42:443",
            ),
            ("uid 33, mode 0755, 60 s", "uid 33, mode 0755, 60 s"),
            ("\"duration_ms\": 12.5,", "\"duration_ms\": {duration},"),
            ("from /var/tmp/z4j-harness-aB3x/root/tmp on", "from {scratch}/tmp on"),
            ("one  \n", "one"),
        ] {
            assert_eq!(normaliser.apply(text), expected);
        }
    }
}
