//! What must be so, at once or within a time: the bodies of `wait`, `expect` and `status`.
//!
//! Owns the words of a condition. Must not look at anything.

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::value::{AbsolutePath, Duration, Mode};

/// A number that must be met: that very one, or between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Count {
    /// One or more.
    pub(crate) const SOME: Self = Self { min: 1, max: u64::MAX };

    pub(crate) const fn holds(self, number: u64) -> bool {
        self.min <= number && number <= self.max
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (min, max) if min == max => write!(f, "{min}"),
            (min, u64::MAX) => write!(f, "at least {min}"),
            (0, max) => write!(f, "at most {max}"),
            (min, max) => write!(f, "{min} to {max}"),
        }
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Between {
            #[serde(default)]
            min: u64,
            #[serde(default = "most")]
            max: u64,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelled {
            Exactly(u64),
            Between(Between),
        }
        match Spelled::deserialize(deserializer) {
            Ok(Spelled::Exactly(number)) => Ok(Self { min: number, max: number }),
            Ok(Spelled::Between(Between { min, max })) if min <= max => Ok(Self { min, max }),
            _ => Err(D::Error::custom("expected a number or { min, max }")),
        }
    }
}

const fn most() -> u64 {
    u64::MAX
}

/// A regular expression.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(pub(crate) Regex);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Regex::new(&text)
            .map(Self)
            .map_err(|error| D::Error::custom(format!("not a regular expression: {error}")))
    }
}

/// What one field of a status document must be.
#[derive(Clone, Debug)]
pub(crate) enum Check {
    Is(Value),
    Between(Count),
    Matches(Pattern),
}

impl Check {
    /// Whether a field's value is so; absent ones are null.
    pub(crate) fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Is(wanted) => value == wanted,
            Self::Between(count) => value.as_u64().is_some_and(|number| count.holds(number)),
            Self::Matches(pattern) => match value {
                Value::String(text) => pattern.0.is_match(text),
                other => pattern.0.is_match(&other.to_string()),
            },
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(value) => write!(f, "{value}"),
            Self::Between(count) => count.fmt(f),
            Self::Matches(pattern) => write!(f, "like {}", pattern.0),
        }
    }
}

/// Fields by their dotted path, and what each must be: a value, `{ min, max }`, `{ matches = "…" }`, or
/// `"absent"`'s own form `{ absent = true }`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks(pub(crate) BTreeMap<String, Check>);

impl<'de> Deserialize<'de> for Checks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = serde_json::Map::deserialize(deserializer)?;
        let mut checks = BTreeMap::new();
        flatten("", &table, &mut checks).map_err(D::Error::custom)?;
        Ok(Self(checks))
    }
}

fn flatten(
    prefix: &str,
    table: &serde_json::Map<String, Value>,
    checks: &mut BTreeMap<String, Check>,
) -> Result<(), String> {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let check = match value {
            Value::Object(inner) => match special(inner) {
                Some(check) => check.map_err(|error| format!("`{path}`: {error}"))?,
                None => {
                    flatten(&path, inner, checks)?;
                    continue;
                }
            },
            other => Check::Is(other.clone()),
        };
        checks.insert(path, check);
    }
    Ok(())
}

/// A table that says what a field must be, instead of naming fields below it.
fn special(table: &serde_json::Map<String, Value>) -> Option<Result<Check, serde_json::Error>> {
    let only = |keys: &[&str]| !table.is_empty() && table.keys().all(|key| keys.contains(&key.as_str()));
    if only(&["matches"]) {
        return Some(Pattern::deserialize(&table["matches"]).map(Check::Matches));
    }
    if only(&["absent"]) {
        return Some(Ok(Check::Is(Value::Null)));
    }
    only(&["min", "max"]).then(|| Count::deserialize(Value::Object(table.clone())).map(Check::Between))
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warning,
    Error,
}

impl Level {
    /// The level of a word that log formats have for it.
    pub(crate) fn of(word: &str) -> Option<Self> {
        match word.to_ascii_uppercase().as_str() {
            "TRACE" => Some(Self::Trace),
            "DEBUG" => Some(Self::Debug),
            "INFO" | "NOTICE" => Some(Self::Info),
            "WARN" | "WARNING" => Some(Self::Warning),
            "ERROR" | "CRITICAL" | "FATAL" => Some(Self::Error),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::of(&text)
            .ok_or_else(|| D::Error::custom(format!("`{text}` is none of DEBUG, INFO, WARNING, ERROR")))
    }
}

/// Lines that must be in an agent's log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogExpectation {
    pub(crate) level: Option<Level>,
    pub(crate) pattern: Option<Pattern>,
    /// How many; one or more if absent.
    #[serde(default = "some")]
    pub(crate) count: Count,
    /// Whether there may be no others.
    #[serde(default)]
    pub(crate) every: bool,
}

const fn some() -> Count {
    Count::SOME
}

/// What must be so of one path.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileExpectation {
    pub(crate) path: AbsolutePath,
    /// Whether it is there at all.
    #[serde(default = "yes")]
    pub(crate) exists: bool,
    pub(crate) owner: Option<String>,
    pub(crate) mode: Option<Mode>,
    /// The same type, owner, mode and content as when the scenario began.
    #[serde(default)]
    pub(crate) unchanged: bool,
}

const fn yes() -> bool {
    true
}

/// What must be so: all of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Condition {
    /// Events that the brain has accepted.
    pub(crate) events: Option<Count>,
    /// Events that it was sent again.
    pub(crate) duplicates: Option<Count>,
    /// Whether every event that an agent took is at the brain, once.
    pub(crate) delivered: bool,
    /// Sessions that the brain has accepted so far.
    pub(crate) sessions: Option<Count>,
    /// Sessions that the brain has now.
    pub(crate) online: Option<Count>,
    /// Close codes of the sessions so far, in order.
    pub(crate) close_codes: Option<Vec<u16>>,
    /// Lines of the agent's log.
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) log: Vec<LogExpectation>,
    /// Files and directories of the sandbox.
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) files: Vec<FileExpectation>,
    /// Fields of the agent's status.
    pub(crate) status: Checks,
    /// Events that the agent has lost, for whatever reason.
    pub(crate) loss: Option<Count>,
    /// The exit status of an agent that has ended; 128 + N for death by signal N.
    pub(crate) ended: Option<i32>,
    /// How the brain's commands stand, in the order in which they were given.
    pub(crate) commands: Option<Vec<String>>,
    /// What the agent has said to the service manager, in this order.
    pub(crate) notify: Vec<Pattern>,
    /// Rules of the protocol that the agent broke.
    pub(crate) violations: Option<Count>,
    /// Until when it must be so.
    pub(crate) within: Option<Duration>,
}

/// A condition to wait for; a plain number in it means that many or more.
pub(crate) type Wait = Condition;

/// A condition that is looked at once, or until it holds `within` a time.
pub(crate) type Expect = Condition;

impl Condition {
    /// With numbers as lower bounds: what is waited for may come and go.
    pub(crate) fn or_more(mut self) -> Self {
        for count in [&mut self.events, &mut self.duplicates, &mut self.sessions, &mut self.online] {
            if let Some(count) = count.as_mut().filter(|count| count.min == count.max && count.min > 0) {
                count.max = u64::MAX;
            }
        }
        for line in self.log.iter_mut().filter(|line| line.count.min == line.count.max && line.count.min > 0)
        {
            line.count.max = u64::MAX;
        }
        self
    }
}

fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Visitor<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Visitor<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table or a list of tables")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
            T::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(|one| vec![one])
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, sequence: A) -> Result<Vec<T>, A::Error> {
            Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(sequence))
        }
    }
    deserializer.deserialize_any(Visitor(std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_by_their_path_and_checked() {
        let text = r#"
            link.state = "online"
            "buffer.events" = { max = 3 }
            "link.last_failure.text" = { matches = "refused$" }
            "link.next" = { absent = true }
        "#;
        let checks: Checks = toml::from_str(text).unwrap();
        let holds = |path: &str, value: Value| checks.0[path].holds(&value);
        assert!(holds("link.state", "online".into()) && !holds("link.state", "starting".into()));
        assert!(holds("buffer.events", 3.into()) && !holds("buffer.events", 4.into()));
        assert!(holds("link.last_failure.text", "connect: refused".into()));
        assert!(holds("link.next", Value::Null) && !holds("link.next", 1.into()));
    }

    #[test]
    fn a_number_to_wait_for_is_a_lower_bound() {
        let condition: Condition = toml::from_str("events = 5\nonline = 0\nlog = { count = 1 }").unwrap();
        assert_eq!(condition.events.unwrap().to_string(), "5");
        let condition = condition.or_more();
        assert_eq!(condition.events.unwrap().to_string(), "at least 5");
        assert_eq!(condition.online.unwrap().to_string(), "0");
        assert_eq!(condition.log[0].count, Count::SOME);
    }
}
