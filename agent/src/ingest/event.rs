//! One line → one event, complete and redacted, or why not.
//!
//! Owns what an event must look like. A field that is absent or null is filled in where that can be done without
//! a guess; a field that is not known is refused, since it is most likely a known one misspelt, and what it says
//! would be lost without a word. Must not know where lines come from.

use uuid::Uuid;
use z4j_protocol::payload::{KINDS, LEGACY_SCHEDULE_KINDS};
use z4j_protocol::{CanonicalError, CanonicalText, Object, ParseErrorKind, Timestamp, TimestampError, Value};

use super::lines::MAX_LINE_BYTES;
use crate::redaction::Redactor;
use crate::words::{join_words, printable};

/// Largest event: one that fits a frame of the default size, with its signature.
const MAX_EVENT_BYTES: usize = 1_000_000;
/// How much older than now an event may be, and how much newer: what brains keep (protocol.md, Session).
const OLDEST_SECONDS: i64 = 400 * 86_400;
const NEWEST_SECONDS: i64 = 60;
/// Most characters of what a line says in the reason for its refusal.
const SHOWN_CHARS: usize = 48;

const FIELDS: [&str; 6] = ["data", "engine", "id", "kind", "occurred_at", "task_id"];

/// An event that is taken.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) text: CanonicalText,
    /// Its time was outside of what brains keep, and was replaced.
    pub(super) restamped: bool,
}

/// Why a line is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) reason: String,
}

fn fault<T>(code: &'static str, reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { code, reason: reason.into() })
}

/// What is said of a line that was skipped.
pub(super) fn line_too_long() -> Fault {
    Fault { code: "line-too-long", reason: format!("the line is longer than {MAX_LINE_BYTES} bytes") }
}

/// Reads a line; `None` if there is nothing on it.
pub(super) fn read_event(line: &[u8], redactor: &Redactor, now: Timestamp) -> Result<Option<Event>, Fault> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let mut object = parse(line)?;
    check_names(&object)?;
    let kind = check_kind(&object)?;
    check_engine(&object)?;
    fill_task_id(&mut object, kind)?;
    fill_id(&mut object)?;
    let restamped = fill_time(&mut object, now)?;
    fill_data(&mut object, redactor)?;
    let text = match CanonicalText::of(&Value::Object(object)) {
        Ok(text) => text,
        Err(CanonicalError::NotFinite) => {
            return fault("not-finite", "data holds a number that is not finite");
        }
        Err(CanonicalError::LoneSurrogate) => {
            return fault("lone-surrogate", "a string holds half of a surrogate pair");
        }
    };
    let bytes = text.as_str().len();
    if bytes > MAX_EVENT_BYTES {
        return fault(
            "event-too-large",
            format!("the event has {bytes} bytes, at most {MAX_EVENT_BYTES} fit a frame"),
        );
    }
    Ok(Some(Event { text, restamped }))
}

fn parse(line: &[u8]) -> Result<Object, Fault> {
    match Value::parse(line) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::LoneSurrogate) => fault("lone-surrogate", "a string holds half of a surrogate pair"),
        Ok(_) => fault("not-an-object", "the line is JSON, but no object"),
        Err(error) if error.kind == ParseErrorKind::Utf8 => fault("not-utf8", error.to_string()),
        Err(error) => fault("not-json", error.to_string()),
    }
}

fn check_names(object: &Object) -> Result<(), Fault> {
    match object.iter().find(|(name, _)| !FIELDS.contains(name)) {
        None => Ok(()),
        Some((name, _)) => fault(
            "unknown-field",
            format!("{} is no field of an event: there are {}", shown(name), join_words(&FIELDS)),
        ),
    }
}

fn check_kind(object: &Object) -> Result<&'static str, Fault> {
    let Some(kind) = text_of(object, "kind", "bad-kind")? else {
        return fault("no-kind", "kind is missing");
    };
    let Some(known) = KINDS.into_iter().find(|known| *known == kind) else {
        let taken: Vec<&str> =
            KINDS.into_iter().filter(|kind| !LEGACY_SCHEDULE_KINDS.contains(kind)).collect();
        return fault(
            "unknown-kind",
            format!("{} is no kind of event: there are {}", shown(kind), join_words(&taken)),
        );
    };
    if LEGACY_SCHEDULE_KINDS.contains(&known) {
        return fault(
            "scheduler-upgrade-required",
            format!("brains no longer take {known} as an event; schedules are told by a scheduler adapter"),
        );
    }
    Ok(known)
}

fn check_engine(object: &Object) -> Result<(), Fault> {
    match text_of(object, "engine", "bad-engine")? {
        None | Some("") => fault("no-engine", "engine is missing: celery, rq, …"),
        Some(_) => Ok(()),
    }
}

fn fill_task_id(object: &mut Object, kind: &str) -> Result<(), Fault> {
    let task_id = text_of(object, "task_id", "bad-task-id")?.unwrap_or_default();
    if task_id.is_empty() {
        if kind.starts_with("task.") {
            return fault("no-task-id", format!("task_id is missing, and {kind} is about a task"));
        }
        object.insert("task_id", Value::from(""));
    }
    Ok(())
}

fn fill_id(object: &mut Object) -> Result<(), Fault> {
    let id = match text_of(object, "id", "bad-id")? {
        None => Uuid::new_v4(),
        Some(text) => match Uuid::parse_str(text) {
            Ok(id) => id,
            Err(_) => return fault("bad-id", format!("id {} is no UUID", shown(text))),
        },
    };
    object.insert("id", Value::String(id.hyphenated().to_string()));
    Ok(())
}

/// Whether another time was replaced by now.
fn fill_time(object: &mut Object, now: Timestamp) -> Result<bool, Fault> {
    let said = match text_of(object, "occurred_at", "bad-time")? {
        None => None,
        Some(text) => match Timestamp::parse_or_utc(text) {
            Ok(time) => Some(time),
            Err(TimestampError::Invalid | TimestampError::Naive) => {
                return fault(
                    "bad-time",
                    format!("occurred_at {} is no ISO 8601 time such as {now}", shown(text)),
                );
            }
        },
    };
    let kept = |time: &Timestamp| {
        *time > now.plus_seconds(-OLDEST_SECONDS) && *time <= now.plus_seconds(NEWEST_SECONDS)
    };
    let time = said.filter(kept);
    object.insert("occurred_at", Value::String(time.unwrap_or(now).to_string()));
    Ok(said.is_some() && time.is_none())
}

fn fill_data(object: &mut Object, redactor: &Redactor) -> Result<(), Fault> {
    let data = object.iter_mut().find_map(|(name, value)| (name == "data").then_some(value));
    match data {
        Some(data @ Value::Object(_)) => redactor.redact(data),
        None | Some(Value::Null) => {
            object.insert("data", Value::Object(Object::default()));
        }
        Some(Value::LoneSurrogate) => {
            return fault("lone-surrogate", "a string holds half of a surrogate pair");
        }
        Some(_) => return fault("bad-data", "data is no object"),
    }
    Ok(())
}

/// A field that must be a string; absent and null are the same.
fn text_of<'o>(object: &'o Object, name: &str, code: &'static str) -> Result<Option<&'o str>, Fault> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => fault(code, format!("{name} is no string")),
    }
}

/// What a line says, quoted and bounded.
fn shown(text: &str) -> String {
    let short = printable(text.as_bytes(), SHOWN_CHARS);
    let dots = if text.chars().nth(SHOWN_CHARS).is_some() { "…" } else { "" };
    format!("\"{short}{dots}\"")
}
