//! Which events are there already.
//!
//! Owns the ids of all events that are kept, each with the place where, and the counts of all that came.
//! Must not hold events.

use std::collections::HashMap;
use std::sync::Mutex;

use uuid::Uuid;
use z4j_protocol::Timestamp;

use crate::journal::Place;
use crate::lock::lock;

#[derive(Default)]
struct Inner {
    places: HashMap<Uuid, Place>,
    accepted: u64,
    duplicates: u64,
    /// How many were accepted of each agent.
    by_agent: HashMap<Uuid, u64>,
    last_received: Option<Timestamp>,
}

/// The index of one brain's events.
#[derive(Default)]
pub(crate) struct Index(Mutex<Inner>);

impl Index {
    /// The times of receipt of so many more events begin here, a microsecond each. No two events have the
    /// same: those without a time of their own are told apart by it, also within one batch, as the real brain
    /// looks at its clock for each.
    pub(super) fn received_from(&self, now: Timestamp, count: usize) -> Timestamp {
        let mut inner = lock(&self.0);
        let first = inner.last_received.map_or(now, |last| now.max(later(last, 1)));
        inner.last_received = Some(later(first, count.saturating_sub(1)));
        first
    }

    /// Takes an event in at a place, unless it is there already: then its place is returned.
    pub(super) fn take(&self, id: Uuid, place: Place, agent: Uuid) -> Option<Place> {
        let mut inner = lock(&self.0);
        let known = *inner.places.entry(id).or_insert(place);
        if known == place {
            inner.accepted += 1;
            *inner.by_agent.entry(agent).or_default() += 1;
            return None;
        }
        inner.duplicates += 1;
        Some(known)
    }

    /// Takes in an event of an earlier run.
    pub(crate) fn restore(&self, id: Uuid, place: Place, agent: Option<Uuid>) {
        let mut inner = lock(&self.0);
        inner.places.insert(id, place);
        if let Some(agent) = agent {
            *inner.by_agent.entry(agent).or_default() += 1;
        }
    }

    /// Goes on counting where an earlier run ended.
    pub(crate) fn restore_counts(&self, accepted: u64, duplicates: u64) {
        let mut inner = lock(&self.0);
        (inner.accepted, inner.duplicates) = (accepted, duplicates);
    }

    /// Forgets all events and counts.
    pub(super) fn clear(&self) {
        let mut inner = lock(&self.0);
        *inner = Inner { last_received: inner.last_received, ..Inner::default() };
    }

    /// Forgets events that are not kept any more.
    pub(crate) fn forget(&self, gone: &[(Uuid, Place)]) {
        let mut inner = lock(&self.0);
        for (id, place) in gone {
            if inner.places.get(id) == Some(place) {
                inner.places.remove(id);
            }
        }
    }

    pub(super) fn accepted(&self) -> u64 {
        lock(&self.0).accepted
    }

    pub(super) fn accepted_of(&self, agent: Uuid) -> u64 {
        lock(&self.0).by_agent.get(&agent).copied().unwrap_or_default()
    }

    pub(super) fn duplicates(&self) -> u64 {
        lock(&self.0).duplicates
    }
}

/// So many microseconds later.
pub(super) fn later(time: Timestamp, micros: usize) -> Timestamp {
    let micros = i64::try_from(micros).unwrap_or(i64::MAX);
    Timestamp::from_unix_micros(time.unix_micros().saturating_add(micros))
}
