//! Accepted events, in memory.
//!
//! Owns the list, the dedupe and the bounds: the newest [`MAX_EVENTS`] events or [`MAX_PAYLOAD_BYTES`] of
//! their payloads, whichever is less; the oldest go first, and what went is accepted anew if it is sent
//! again. Must not know transports.

mod event;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use z4j_protocol::{Timestamp, Value};

use crate::lock::lock;
use crate::registry::Agent;
use event::{Sighting, is_of_kinds};

/// Kinds that the real brain takes from a newer scheduler protocol only.
const SCHEDULE_KINDS: [&str; 4] =
    ["schedule.snapshot", "schedule.created", "schedule.updated", "schedule.deleted"];

/// Most events kept.
pub const MAX_EVENTS: usize = 1_000_000;
/// Most bytes of payload kept.
pub const MAX_PAYLOAD_BYTES: usize = 512 << 20;

/// An accepted event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// The brain's id for it, made from what the dedupe compares.
    pub id: String,
    /// The id as the agent sent it, if it was a text.
    pub event_id: Option<String>,
    /// The project's UUID.
    pub project_id: String,
    /// The UUID of the agent that sent it first.
    pub agent_id: String,
    /// `celery`, `rq`, …
    pub engine: String,
    /// Empty where the event is not of a task.
    pub task_id: String,
    /// A known kind, or `unknown`.
    pub kind: String,
    /// When it happened, ISO 8601; whole seconds for events of a task.
    pub occurred_at: String,
    /// When it came, ISO 8601.
    pub received_at: String,
    /// Its `data`.
    pub payload: Value,
    /// How often it came again.
    #[serde(skip)]
    pub duplicates: u64,
}

/// What came of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Accepted,
    Duplicate,
    Unusable,
    /// A schedule event of the old form, which the whole batch is answered for.
    OldSchedule,
}

struct Record {
    id: Uuid,
    event_id: Option<Box<str>>,
    agent: Arc<Agent>,
    engine: Box<str>,
    task_id: Box<str>,
    kind: &'static str,
    occurred_at: Timestamp,
    received_at: Timestamp,
    payload: Box<str>,
    duplicates: u64,
}

#[derive(Default)]
struct Inner {
    records: VecDeque<Record>,
    /// The serial number of the first record.
    first: u64,
    by_id: HashMap<Uuid, u64>,
    payload_bytes: usize,
    duplicates: u64,
    last_received: Option<Timestamp>,
}

/// The events of one brain.
#[derive(Default)]
pub(crate) struct Store(Mutex<Inner>);

impl Store {
    /// Takes one element of an `event_batch`.
    pub(crate) fn insert(&self, agent: &Arc<Agent>, event: &Value, now: Timestamp) -> Outcome {
        if is_of_kinds(event, &SCHEDULE_KINDS) {
            return Outcome::OldSchedule;
        }
        let now = lock(&self.0).received_at(now);
        let Some(sighting) = Sighting::read(event, now) else { return Outcome::Unusable };
        let id = sighting.id(agent.project.id);
        let mut inner = lock(&self.0);
        if inner.mark_duplicate(id) {
            return Outcome::Duplicate;
        }
        inner.push(sighting.into_record(id, Arc::clone(agent), now));
        Outcome::Accepted
    }

    /// Every accepted event once, oldest first.
    pub(crate) fn list(&self) -> Vec<StoredEvent> {
        lock(&self.0).records.iter().map(Record::shown).collect()
    }

    /// How many events were accepted so far, those that are no longer kept included.
    pub(crate) fn accepted(&self) -> u64 {
        let inner = lock(&self.0);
        inner.first + inner.records.len() as u64
    }

    /// How many events came again.
    pub(crate) fn duplicates(&self) -> u64 {
        lock(&self.0).duplicates
    }
}

impl Inner {
    /// The time of receipt of one more event. No two have the same: events without a time of their own are
    /// told apart by it, also within one batch, as the real brain looks at its clock for each.
    fn received_at(&mut self, now: Timestamp) -> Timestamp {
        let next = |last: Timestamp| Timestamp::from_unix_micros(last.unix_micros().saturating_add(1));
        let received = self.last_received.map_or(now, |last| now.max(next(last)));
        self.last_received = Some(received);
        received
    }

    fn mark_duplicate(&mut self, id: Uuid) -> bool {
        let Some(serial) = self.by_id.get(&id) else { return false };
        let index = usize::try_from(serial - self.first).unwrap_or(usize::MAX);
        if let Some(record) = self.records.get_mut(index) {
            record.duplicates += 1;
        }
        self.duplicates += 1;
        true
    }

    fn push(&mut self, record: Record) {
        self.by_id.insert(record.id, self.first + self.records.len() as u64);
        self.payload_bytes += record.payload.len();
        self.records.push_back(record);
        while self.records.len() > MAX_EVENTS || self.payload_bytes > MAX_PAYLOAD_BYTES {
            let Some(oldest) = self.records.pop_front() else { return };
            self.by_id.remove(&oldest.id);
            self.payload_bytes -= oldest.payload.len();
            self.first += 1;
        }
    }
}

impl Record {
    fn shown(&self) -> StoredEvent {
        StoredEvent {
            id: self.id.to_string(),
            event_id: self.event_id.as_deref().map(str::to_owned),
            project_id: self.agent.project.id.to_string(),
            agent_id: self.agent.id.to_string(),
            engine: self.engine.to_string(),
            task_id: self.task_id.to_string(),
            kind: self.kind.to_owned(),
            occurred_at: self.occurred_at.to_string(),
            received_at: self.received_at.to_string(),
            payload: Value::parse(self.payload.as_bytes()).unwrap_or(Value::Null),
            duplicates: self.duplicates,
        }
    }
}
