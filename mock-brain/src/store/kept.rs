//! The accepted events where the journal is in memory.
//!
//! Owns them as they came: a batch's frame once, and of each of its new events the place in it. What an event
//! says is read when somebody asks. The oldest go first.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;
use z4j_protocol::Value;

use super::index::Taking;
use super::{MAX_EVENTS, MAX_PAYLOAD_BYTES, StoredEvent, revive};
use crate::journal::{Place, ROOM, Sighted, place};
use crate::registry::Agent;

/// About how many events are shown at once: whole batches.
const SLICE: usize = 2_000;

/// A batch with the events of it that were new.
struct Batch {
    entry: u64,
    agent: Arc<Agent>,
    raw: Bytes,
    /// Each with how often it came again.
    events: VecDeque<(Sighted, u64)>,
}

/// The events, in the order of their places.
#[derive(Default)]
pub(super) struct Kept {
    batches: VecDeque<Batch>,
    events: usize,
    bytes: usize,
}

impl Kept {
    /// Keeps what was new in a batch, counts what was not, and lets the oldest go.
    pub(super) fn take(
        &mut self,
        index: &mut Taking<'_>,
        entry: u64,
        agent: &Arc<Agent>,
        raw: &Bytes,
        sighted: &[Sighted],
    ) {
        let new = sighted.iter().filter(|event| event.original.is_none());
        let events: VecDeque<_> = new.map(|event| (*event, 0)).collect();
        if !events.is_empty() {
            self.events += events.len();
            self.bytes += raw.len();
            self.batches.push_back(Batch { entry, agent: Arc::clone(agent), raw: raw.clone(), events });
        }
        for original in sighted.iter().filter_map(|event| event.original) {
            self.came_again(original);
        }
        while self.events > MAX_EVENTS || self.bytes > MAX_PAYLOAD_BYTES {
            let Some((id, place)) = self.pop() else { break };
            index.forget(id, place);
        }
    }

    fn came_again(&mut self, original: Place) {
        let (entry, nth) = (original / ROOM, original % ROOM);
        let found = self.batches.binary_search_by_key(&entry, |batch| batch.entry);
        let Some(batch) = found.ok().and_then(|at| self.batches.get_mut(at)) else { return };
        let found = batch.events.binary_search_by_key(&nth, |(event, _)| u64::from(event.nth));
        if let Some((_, count)) = found.ok().and_then(|at| batch.events.get_mut(at)) {
            *count += 1;
        }
    }

    /// Takes the oldest event away, and with the last one of a batch its frame.
    fn pop(&mut self) -> Option<(Uuid, Place)> {
        let batch = self.batches.front_mut()?;
        let (event, _) = batch.events.pop_front()?;
        let gone = (event.id, place(batch.entry, event.nth));
        self.events -= 1;
        if batch.events.is_empty() {
            self.bytes -= batch.raw.len();
            self.batches.pop_front();
        }
        Some(gone)
    }

    /// Every event once, oldest first.
    pub(super) fn list(&self) -> Vec<StoredEvent> {
        self.batches.iter().flat_map(Batch::list).map(|(_, event)| event).collect()
    }

    /// The events of the first batches behind a place, oldest first.
    pub(super) fn behind(&self, after: Place) -> Vec<(Place, StoredEvent)> {
        let from = self.batches.partition_point(|batch| batch.entry <= after / ROOM);
        let mut all = Vec::new();
        for batch in self.batches.range(from..) {
            all.extend(batch.list());
            if all.len() >= SLICE {
                break;
            }
        }
        all
    }

    /// The newest events, oldest first.
    pub(super) fn newest(&self, most: usize) -> Vec<StoredEvent> {
        let events = self.batches.iter().rev().flat_map(|batch| batch.list().into_iter().rev());
        let mut newest: Vec<_> = events.take(most).map(|(_, event)| event).collect();
        newest.reverse();
        newest
    }
}

impl Batch {
    fn list(&self) -> Vec<(Place, StoredEvent)> {
        let frame = Value::parse(&self.raw).unwrap_or(Value::Null);
        let list = frame.get("payload").and_then(|payload| payload.get("events"));
        let list = list.and_then(Value::as_array).unwrap_or_default();
        let read = |(event, duplicates): &(Sighted, u64)| {
            let value = list.get(usize::try_from(event.nth).ok()?)?;
            let stored = revive(value, event, self.agent.id, self.agent.project.id)?;
            Some((place(self.entry, event.nth), StoredEvent { duplicates: *duplicates, ..stored }))
        };
        self.events.iter().filter_map(read).collect()
    }
}
