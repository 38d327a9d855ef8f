//! Accepted events: which there are, and, where the journal is in memory, the events themselves.
//!
//! Owns the dedupe and the bounds: the newest [`MAX_EVENTS`] events or [`MAX_PAYLOAD_BYTES`] of their
//! frames, whichever is less; the oldest go first, and what went is accepted anew if it is sent again. A
//! journal on disk has a bound of its own in place of the second. Must not know transports.

mod event;
mod index;
mod kept;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use z4j_protocol::payload::LEGACY_SCHEDULE_KINDS;
use z4j_protocol::{Timestamp, Value};

use crate::journal::{Place, Sighted, place};
use crate::lock::lock;
use crate::registry::Agent;
use event::Sighting;
pub(crate) use index::Index;
use index::later;
use kept::Kept;

/// Most events kept.
pub const MAX_EVENTS: usize = 1_000_000;
/// Most bytes of batches kept for their events.
pub const MAX_PAYLOAD_BYTES: usize = 512 << 20;

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
    #[serde(default)]
    pub duplicates: u64,
}

/// A batch's usable events, before it is known which are new.
pub(crate) struct Batch {
    events: Vec<Usable>,
    /// It holds a schedule event of the old form, which the whole batch is answered for.
    pub(crate) old_schedules: bool,
}

struct Usable {
    nth: u32,
    at: Timestamp,
    id: Uuid,
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
    pub(crate) fn read(&self, agent: &Agent, events: &[Value], now: Timestamp) -> Batch {
        let first = self.index.received_from(now, events.len());
        let mut batch = Batch { events: Vec::with_capacity(events.len()), old_schedules: false };
        let mut room = Vec::new();
        for (nth, event) in (0..).zip(events) {
            let at = later(first, nth as usize);
            let Some(sighting) = Sighting::read(event, at) else { continue };
            // The whole batch is answered by the demand for a newer scheduler.
            if LEGACY_SCHEDULE_KINDS.contains(&sighting.kind) {
                batch.old_schedules = true;
                continue;
            }
            batch.events.push(Usable { nth, at, id: sighting.id(agent.project.id, &mut room) });
        }
        batch
    }

    /// Takes a batch in, as that of an entry of the journal, and tells what came of its usable events.
    pub(crate) fn take(&self, entry: u64, agent: &Arc<Agent>, raw: &Bytes, batch: &Batch) -> Vec<Sighted> {
        let mut kept = self.kept.as_ref().map(lock);
        let mut index = self.index.taking();
        let take = |Usable { nth, at, id }: &Usable| {
            let original = index.take(*id, place(entry, *nth));
            Sighted { nth: *nth, at: *at, id: *id, original }
        };
        let sighted: Vec<_> = batch.events.iter().map(take).collect();
        let accepted = sighted.iter().filter(|sighted| sighted.original.is_none()).count();
        index.credit(agent.id, accepted as u64);
        if let Some(kept) = &mut kept {
            kept.take(&mut index, entry, agent, raw, &sighted);
        }
        sighted
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
        self.kept.as_ref().map(|kept| lock(kept).list()).unwrap_or_default()
    }

    /// Some of the events behind a place, oldest first; none where the journal has them.
    pub(crate) fn behind(&self, after: Place) -> Vec<(Place, StoredEvent)> {
        self.kept.as_ref().map(|kept| lock(kept).behind(after)).unwrap_or_default()
    }

    /// The newest accepted events, oldest first; none where the journal has them.
    pub(crate) fn newest(&self, most: usize) -> Vec<StoredEvent> {
        self.kept.as_ref().map(|kept| lock(kept).newest(most)).unwrap_or_default()
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

/// A version 5 UUID of a project for what these texts name.
pub(crate) fn name_based(project: Uuid, parts: &[&str]) -> Uuid {
    event::name_based(&mut Vec::new(), project, parts, 0)
}

/// An event of the journal, as it was when it came.
pub(crate) fn revive(event: &Value, sighted: &Sighted, agent: Uuid, project: Uuid) -> Option<StoredEvent> {
    Some(Sighting::read(event, sighted.at)?.into_stored(sighted, agent, project))
}
