//! One element of an `event_batch`, read as the real brain reads it.
//!
//! Owns which elements are usable, what is stored of them, and what makes two of them the same
//! (protocol.md, Session).

use std::borrow::Cow;

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use uuid::{Builder, Uuid};
use z4j_protocol::payload::{KINDS, UNKNOWN_KIND};
use z4j_protocol::{Timestamp, Value};

use super::Record;
use crate::journal::Place;

/// How far ahead of the receiver's clock an `occurred_at` is kept, in seconds.
const MAX_AHEAD: i64 = 60;
/// How old an `occurred_at` is kept, in seconds.
const MAX_AGE: i64 = 400 * 86_400;

/// A usable event.
pub(super) struct Sighting<'e> {
    event_id: Option<&'e str>,
    engine: Cow<'e, str>,
    task_id: Cow<'e, str>,
    kind: &'static str,
    occurred_at: Timestamp,
    data: String,
}

impl<'e> Sighting<'e> {
    /// `None` for what the real brain drops: no object, or no kind or engine.
    pub(super) fn read(event: &'e Value, now: Timestamp) -> Option<Self> {
        let text = |key| event.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let word = field(event, "kind")?;
        let kind = KINDS.into_iter().find(|kind| *kind == word).unwrap_or(UNKNOWN_KIND);
        let engine = field(event, "engine")?;
        let task_id = match event.get("task_id") {
            Some(Value::Null) => None,
            _ => field(event, "task_id"),
        };
        let task_id = task_id.unwrap_or_default();
        let occurred_at = occurred_at(text("occurred_at"), !task_id.is_empty(), now);
        let data = event.get("data").filter(|data| data.as_object().is_some());
        // A verified frame has a canonical text, so its parts have one.
        let data = data.and_then(|data| data.to_canonical().ok()).unwrap_or_else(|| "{}".to_owned());
        Some(Self { event_id: text("id"), engine, task_id, kind, occurred_at, data })
    }

    /// The id under which it is stored: two events are the same if theirs are. Of an event of a task it
    /// follows from engine, task, kind and second; of another one from its own id and its stored time to the
    /// microsecond, so that one without a time is new whenever it comes; one without an id is never the same
    /// as any. It is a version 5 UUID, as the real brain's ids are.
    pub(super) fn id(&self, project: Uuid) -> Uuid {
        let own = self.event_id.and_then(|id| Uuid::try_parse(id).ok());
        let second = self.occurred_at.unix_seconds().to_string();
        let micros = self.occurred_at.unix_micros().to_string();
        match (&*self.task_id, own) {
            ("", None) => Uuid::new_v4(),
            ("", Some(own)) => name_based(project, &["id", &own.to_string(), &micros]),
            (task, _) => name_based(project, &["task", &self.engine, task, self.kind, &second]),
        }
    }

    pub(super) fn into_record(
        self,
        place: Place,
        id: Uuid,
        agent: Uuid,
        project: Uuid,
        now: Timestamp,
    ) -> Record {
        Record {
            place,
            id,
            project,
            event_id: self.event_id.map(Into::into),
            agent,
            engine: self.engine.into_owned().into(),
            task_id: self.task_id.into_owned().into(),
            kind: self.kind,
            occurred_at: self.occurred_at,
            received_at: now,
            payload: self.data.into(),
            duplicates: 0,
        }
    }
}

/// Whether a batch with this element is answered by the demand for a newer scheduler: an element of one of
/// these kinds that would be usable otherwise.
pub(super) fn is_of_kinds(event: &Value, kinds: &[&str]) -> bool {
    let kind = event.get("kind").and_then(Value::as_str).map(trimmed);
    kind.is_some_and(|kind| kinds.contains(&kind)) && field(event, "engine").is_some()
}

/// A field as text without the white space around it; `None` if it is missing or blank.
fn field<'e>(event: &'e Value, key: &str) -> Option<Cow<'e, str>> {
    let text = match event.get(key)? {
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
pub(crate) fn name_based(namespace: Uuid, parts: &[&str]) -> Uuid {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(namespace.as_bytes());
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&context.finish().as_ref()[..16]);
    Builder::from_sha1_bytes(bytes).into_uuid()
}
