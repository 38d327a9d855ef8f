//! Accepted events: which there are, and, where the journal is in memory, the events themselves.
//!
//! Owns the dedupe and the bounds: the newest [`MAX_EVENTS`] events or [`MAX_PAYLOAD_BYTES`] of their
//! payloads, whichever is less; the oldest go first, and what went is accepted anew if it is sent again. A
//! journal on disk has a bound of its own in place of the second. Must not know transports.

mod event;
mod index;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use z4j_protocol::{Timestamp, Value};

use crate::journal::{Place, Sighted, place};
use crate::lock::lock;
use crate::registry::Agent;
pub(crate) use event::name_based;
use event::{Sighting, is_of_kinds};
pub(crate) use index::Index;
use index::later;

/// Kinds that the real brain takes from a newer scheduler protocol only.
const SCHEDULE_KINDS: [&str; 4] =
    ["schedule.snapshot", "schedule.created", "schedule.updated", "schedule.deleted"];

/// Most events kept.
pub const MAX_EVENTS: usize = 1_000_000;
/// Most bytes of payload kept.
pub const MAX_PAYLOAD_BYTES: usize = 512 << 20;

/// How many events are shown at once.
const SLICE: usize = 2_000;

/// An accepted event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
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
    #[schema(value_type = Object)]
    pub payload: Value,
    /// How often it came again.
    #[serde(skip)]
    pub duplicates: u64,
}

/// A batch's usable events, before it is known which are new.
pub(crate) struct Batch<'e> {
    events: Vec<Usable<'e>>,
    /// It holds a schedule event of the old form, which the whole batch is answered for.
    pub(crate) old_schedules: bool,
}

struct Usable<'e> {
    nth: u32,
    at: Timestamp,
    id: Uuid,
    sighting: Sighting<'e>,
}

struct Record {
    place: Place,
    id: Uuid,
    event_id: Option<Box<str>>,
    project: Uuid,
    agent: Uuid,
    engine: Box<str>,
    task_id: Box<str>,
    kind: &'static str,
    occurred_at: Timestamp,
    received_at: Timestamp,
    payload: Box<str>,
    duplicates: u64,
}

#[derive(Default)]
struct Kept {
    /// In the order of their places.
    records: VecDeque<Record>,
    payload_bytes: usize,
}

/// The events of one brain.
pub(crate) struct Store {
    index: Arc<Index>,
    /// The events; none where the journal has them.
    kept: Option<Mutex<Kept>>,
}

impl Store {
    /// A store that keeps events itself.
    pub(crate) fn in_memory() -> Self {
        Self { index: Arc::default(), kept: Some(Mutex::default()) }
    }

    /// A store whose events the journal keeps.
    pub(crate) const fn indexing(index: Arc<Index>) -> Self {
        Self { index, kept: None }
    }

    /// Reads the elements of an `event_batch`.
    pub(crate) fn read<'e>(&self, agent: &Agent, events: &'e [Value], now: Timestamp) -> Batch<'e> {
        let first = self.index.received_from(now, events.len());
        let mut batch = Batch { events: Vec::with_capacity(events.len()), old_schedules: false };
        for (nth, event) in (0..).zip(events) {
            if is_of_kinds(event, &SCHEDULE_KINDS) {
                batch.old_schedules = true;
                continue;
            }
            let at = later(first, nth as usize);
            let Some(sighting) = Sighting::read(event, at) else { continue };
            batch.events.push(Usable { nth, at, id: sighting.id(agent.project.id), sighting });
        }
        batch
    }

    /// Takes a batch in, as that of an entry of the journal, and tells what came of its usable events.
    pub(crate) fn take(&self, entry: u64, agent: &Agent, batch: Batch<'_>) -> Vec<Sighted> {
        let mut kept = self.kept.as_ref().map(lock);
        let take = |Usable { nth, at, id, sighting }| {
            let place = place(entry, nth);
            let original = self.index.take(id, place, agent.id);
            if let Some(kept) = &mut kept {
                match original {
                    None => {
                        let gone = kept.push(sighting.into_record(place, id, agent.id, agent.project.id, at));
                        self.index.forget(&gone);
                    }
                    Some(original) => kept.mark_duplicate(original),
                }
            }
            Sighted { nth, at, id, original }
        };
        batch.events.into_iter().map(take).collect()
    }

    /// Forgets all events and counts.
    pub(crate) fn clear(&self) {
        self.index.clear();
        if let Some(kept) = &self.kept {
            *lock(kept) = Kept::default();
        }
    }

    /// Every accepted event once, oldest first; none where the journal has them.
    pub(crate) fn list(&self) -> Vec<StoredEvent> {
        let kept = self.kept.as_ref().map(lock);
        kept.map(|kept| kept.records.iter().map(Record::shown).collect()).unwrap_or_default()
    }

    /// Some of the events behind a place, oldest first; none where the journal has them.
    pub(crate) fn behind(&self, after: Place) -> Vec<(Place, StoredEvent)> {
        let Some(kept) = self.kept.as_ref().map(lock) else { return Vec::new() };
        let from = kept.records.partition_point(|record| record.place <= after);
        kept.records.range(from..).take(SLICE).map(|record| (record.place, record.shown())).collect()
    }

    /// How many events were accepted so far, those that are no longer kept included.
    pub(crate) fn accepted(&self) -> u64 {
        self.index.accepted()
    }

    /// How many of them are of an agent; without one, all of them. Of those of earlier runs only the ones that
    /// are kept are known by agent.
    pub(crate) fn accepted_of(&self, agent: Option<Uuid>) -> u64 {
        agent.map_or_else(|| self.accepted(), |agent| self.index.accepted_of(agent))
    }

    /// How many events came again.
    pub(crate) fn duplicates(&self) -> u64 {
        self.index.duplicates()
    }
}

/// An event of the journal, as it was when it came.
pub(crate) fn revive(event: &Value, sighted: &Sighted, agent: Uuid, project: Uuid) -> Option<StoredEvent> {
    let sighting = Sighting::read(event, sighted.at)?;
    Some(sighting.into_record(0, sighted.id, agent, project, sighted.at).shown())
}

impl Kept {
    fn mark_duplicate(&mut self, original: Place) {
        let found = self.records.binary_search_by_key(&original, |record| record.place);
        if let Some(record) = found.ok().and_then(|index| self.records.get_mut(index)) {
            record.duplicates += 1;
        }
    }

    /// Adds one, and returns those that had to go.
    fn push(&mut self, record: Record) -> Vec<(Uuid, Place)> {
        self.payload_bytes += record.payload.len();
        self.records.push_back(record);
        let mut gone = Vec::new();
        while self.records.len() > MAX_EVENTS || self.payload_bytes > MAX_PAYLOAD_BYTES {
            let Some(oldest) = self.records.pop_front() else { break };
            self.payload_bytes -= oldest.payload.len();
            gone.push((oldest.id, oldest.place));
        }
        gone
    }
}

impl Record {
    fn shown(&self) -> StoredEvent {
        StoredEvent {
            id: self.id.to_string(),
            event_id: self.event_id.as_deref().map(str::to_owned),
            project_id: self.project.to_string(),
            agent_id: self.agent.to_string(),
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
