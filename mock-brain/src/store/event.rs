//! One element of an `event_batch`, read as the real brain reads it.
//!
//! Owns which elements are usable, what is stored of them, and what makes two of them the same
//! (protocol.md, Session).

use std::borrow::Cow;
use std::io::Write;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use uuid::{Builder, Uuid};
use z4j_protocol::payload::{KINDS, UNKNOWN_KIND};
use z4j_protocol::{Timestamp, Value};

use super::StoredEvent;
use crate::journal::Sighted;

/// How far ahead of the receiver's clock an `occurred_at` is kept, in seconds.
const MAX_AHEAD: i64 = 60;
/// How old an `occurred_at` is kept, in seconds.
const MAX_AGE: i64 = 400 * 86_400;

/// A usable event.
pub(super) struct Sighting<'e> {
    event_id: Option<&'e str>,
    engine: Cow<'e, str>,
    task_id: Cow<'e, str>,
    pub(super) kind: &'static str,
    occurred_at: Timestamp,
    data: Option<&'e Value>,
}

impl<'e> Sighting<'e> {
    /// `None` for what the real brain drops: no object, or no kind or engine.
    pub(super) fn read(event: &'e Value, now: Timestamp) -> Option<Self> {
        let [mut id, mut kind, mut engine, mut task, mut time, mut data] = [None; 6];
        for (key, value) in event.as_object()?.iter() {
            match key {
                "id" => id = Some(value),
                "kind" => kind = Some(value),
                "engine" => engine = Some(value),
                "task_id" => task = Some(value),
                "occurred_at" => time = Some(value),
                "data" => data = Some(value),
                _ => {}
            }
        }
        let text = |value: Option<&'e Value>| value.and_then(Value::as_str).filter(|text| !text.is_empty());
        let word = field(kind?)?;
        let kind = KINDS.into_iter().find(|kind| *kind == word).unwrap_or(UNKNOWN_KIND);
        let engine = field(engine?)?;
        let task_id = task.filter(|task| !task.is_null()).and_then(field).unwrap_or_default();
        let occurred_at = occurred_at(text(time), !task_id.is_empty(), now);
        Some(Self { event_id: text(id), engine, task_id, kind, occurred_at, data })
    }

    /// The id under which it is stored: two events are the same if theirs are. Of an event of a task it
    /// follows from engine, task, kind and second; of another one from its own id and its stored time to the
    /// microsecond, so that one without a time is new whenever it comes; one without an id is never the same
    /// as any. It is a version 5 UUID, as the real brain's ids are. `room` is written over.
    pub(super) fn id(&self, project: Uuid, room: &mut Vec<u8>) -> Uuid {
        let own = self.event_id.and_then(|id| Uuid::try_parse(id).ok());
        match (&*self.task_id, own) {
            ("", None) => Uuid::new_v4(),
            ("", Some(own)) => {
                let own = own.to_string();
                name_based(room, project, &["id", &own], self.occurred_at.unix_micros())
            }
            (task, _) => {
                let second = self.occurred_at.unix_seconds();
                name_based(room, project, &["task", &self.engine, task, self.kind], second)
            }
        }
    }

    /// The event as it is listed.
    pub(super) fn into_stored(self, sighted: &Sighted, agent: Uuid, project: Uuid) -> StoredEvent {
        let data = self.data.filter(|data| data.as_object().is_some());
        StoredEvent {
            id: sighted.id.to_string(),
            event_id: self.event_id.map(str::to_owned),
            project_id: project.to_string(),
            agent_id: agent.to_string(),
            engine: self.engine.into_owned(),
            task_id: self.task_id.into_owned(),
            kind: self.kind.to_owned(),
            occurred_at: self.occurred_at.to_string(),
            received_at: sighted.at.to_string(),
            payload: data.cloned().unwrap_or_else(|| Value::Object(Default::default())),
            duplicates: 0,
        }
    }
}

/// A field as text without the white space around it; `None` if it is blank.
fn field(value: &Value) -> Option<Cow<'_, str>> {
    let text = match value {
        Value::String(text) => Cow::Borrowed(trimmed(text)),
        other => Cow::Owned(python_text(other)),
    };
    Some(text).filter(|text| !text.is_empty())
}

/// What Python's `str()` makes of a value, near enough: the real brain takes it for the field's text.
fn python_text(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        // A verified frame has a canonical text, so its parts have one.
        other => other.to_canonical().unwrap_or_default(),
    }
}

/// Without what Python's `strip()` takes away, which is Unicode's white space and four separators.
fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\x1c'..='\x1f'))
}

/// What is stored: the event's own time if it is one and plausible, else the time of receipt; in whole
/// seconds for an event of a task.
fn occurred_at(text: Option<&str>, of_task: bool, now: Timestamp) -> Timestamp {
    let own = text.and_then(|text| Timestamp::parse_or_utc(text).ok());
    let plausible =
        |time: &Timestamp| *time <= now.plus_seconds(MAX_AHEAD) && *time >= now.plus_seconds(-MAX_AGE);
    let time = own.filter(plausible).unwrap_or(now);
    if of_task { Timestamp::from_unix_micros(time.unix_seconds() * 1_000_000) } else { time }
}

/// A version 5 UUID (RFC 9562, 5.5). Parts are told apart by their lengths: any of them may hold any text.
pub(super) fn name_based(room: &mut Vec<u8>, namespace: Uuid, parts: &[&str], time: i64) -> Uuid {
    room.clear();
    room.extend_from_slice(namespace.as_bytes());
    for part in parts {
        room.extend_from_slice(&(part.len() as u64).to_be_bytes());
        room.extend_from_slice(part.as_bytes());
    }
    // The time as text, so that ids stay what earlier journals have. Writing to memory cannot fail.
    let before = room.len();
    room.extend_from_slice(&[0; 8]);
    let _ = write!(room, "{time}");
    let length = (room.len() - before - 8) as u64;
    room[before..before + 8].copy_from_slice(&length.to_be_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest(&SHA1_FOR_LEGACY_USE_ONLY, room).as_ref()[..16]);
    Builder::from_sha1_bytes(bytes).into_uuid()
}
