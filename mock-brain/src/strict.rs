//! What a frame gets wrong although the real brain would let it pass.
//!
//! Owns the rules of `--strict` and the list of violations. They change no verdict: the real brain's answer
//! is given all the same, and whoever runs the brain judges the list at the end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use z4j_protocol::payload::KINDS;
use z4j_protocol::{Frame, FrameType, MAX_ID_CHARS, Object, Value};

use crate::clock;
use crate::journal::{Entry, Journal, JournalError, Kind, Table};
use crate::lock::lock;
use crate::quote::quote;

/// Most violations kept; later ones are dropped, the first ones tell most.
const MAX_VIOLATIONS: usize = 10_000;
/// Every top-level field of protocol.md, Frames.
const FIELDS: [&str; 8] = ["v", "type", "id", "ts", "nonce", "seq", "payload", "hmac"];

/// Something that a client should not do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Violation {
    /// The session's id.
    pub session: String,
    /// The rule's name.
    pub rule: String,
    /// What was seen.
    pub detail: String,
}

/// The violations so far; none are recorded unless the brain is strict.
pub(crate) struct Violations {
    strict: bool,
    list: Mutex<VecDeque<Violation>>,
    journal: Arc<Journal>,
}

impl Violations {
    pub(crate) fn new(strict: bool, journal: &Arc<Journal>) -> Result<Self, JournalError> {
        let list = journal.kept(Table::Violations)?.into_iter().map(|(_, violation)| violation);
        Ok(Self { strict, list: Mutex::new(list.collect()), journal: Arc::clone(journal) })
    }

    /// Notes what another part of the brain saw.
    pub(crate) fn note(&self, session: &str, rule: &str, detail: String) {
        let mut list = lock(&self.list);
        if !self.strict || list.len() >= MAX_VIOLATIONS {
            return;
        }
        let entry = Entry::new(Kind::Violation, rule, clock::now()).saying(detail.as_str());
        self.journal.record(entry.of_session(&session.into()));
        let violation = Violation { session: session.to_owned(), rule: rule.to_owned(), detail };
        self.journal.put(Table::Violations, list.len() as u64, &violation);
        list.push_back(violation);
    }

    /// Judges a frame that the real brain accepted.
    pub(crate) fn judge(&self, session: &str, frame: &Frame) {
        if self.strict {
            for (rule, detail) in violations(frame) {
                self.note(session, rule, detail);
            }
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        lock(&self.list).len()
    }

    /// Forgets them.
    pub(crate) fn clear(&self) {
        let mut list = lock(&self.list);
        (0..list.len() as u64).for_each(|serial| self.journal.forget(Table::Violations, serial));
        list.clear();
    }

    pub(crate) fn list(&self) -> Vec<Violation> {
        lock(&self.list).iter().cloned().collect()
    }
}

type Found = (&'static str, String);

fn violations(frame: &Frame) -> Vec<Found> {
    let mut found = Vec::new();
    for (key, _) in frame.object().iter().filter(|(key, _)| !FIELDS.contains(key)) {
        found.push(("frame.unknown-field", format!("top-level field {}", quote(key))));
    }
    if !frame.id().is_some_and(|id| (1..=MAX_ID_CHARS).contains(&id.chars().count())) {
        found.push(("frame.id", format!("id of {} is not a text of 1..={MAX_ID_CHARS}", frame.frame_type())));
    }
    match (frame.frame_type(), frame.payload()) {
        (FrameType::Heartbeat, Some(payload)) => heartbeat(payload, &mut found),
        (FrameType::EventBatch, payload) => events(payload, &mut found),
        _ => {}
    }
    found
}

fn heartbeat(payload: &Object, found: &mut Vec<Found>) {
    let mut expect = |key: &str, what: &str, right: fn(&Value) -> bool| {
        if payload.get(key).is_some_and(|value| !right(value)) {
            found.push(("heartbeat.type", format!("{key} is not {what}")));
        }
    };
    expect("buffer_size", "a count", |value| value.as_u64().is_some());
    expect("dropped_events", "a count", |value| value.as_u64().is_some());
    expect("last_flush_at", "a text or null", |value| value.is_null() || value.as_str().is_some());
    expect("adapter_health", "an object of texts", |value| {
        value.as_object().is_some_and(|health| health.iter().all(|(_, text)| text.as_str().is_some()))
    });
}

fn events(payload: Option<&Object>, found: &mut Vec<Found>) {
    let Some(events) = payload.and_then(|payload| payload.get("events")).and_then(Value::as_array) else {
        found.push(("event_batch.events", "events is not a list".to_owned()));
        return;
    };
    for event in events.iter().take(z4j_protocol::MAX_EVENTS_PER_BATCH) {
        let text = |key| event.get(key).and_then(Value::as_str).unwrap_or_default();
        if Uuid::try_parse(text("id")).is_err() {
            found.push(("event.id", format!("event id {} is not a UUID", quote(text("id")))));
        }
        if !KINDS.contains(&text("kind")) {
            found.push(("event.kind", format!("kind {} is not known", quote(text("kind")))));
        }
        if text("engine").is_empty() {
            found.push(("event.engine", "engine is missing".to_owned()));
        }
    }
}
