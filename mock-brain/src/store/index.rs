//! Which events are there already.
//!
//! Owns the ids of all events that are kept, each with the place where, and the counts of all that came.
//! Must not hold events.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use foldhash::fast::RandomState;
use uuid::Uuid;
use z4j_protocol::Timestamp;

use crate::journal::Place;
use crate::lock::lock;

#[derive(Default)]
struct Inner {
    /// The ids are digests: a hash with a random seed of its own is as good here as one that resists attacks.
    places: HashMap<Uuid, Place, RandomState>,
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

    /// To take events in; others wait meanwhile.
    pub(super) fn taking(&self) -> Taking<'_> {
        Taking(lock(&self.0))
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
        let mut taking = self.taking();
        for (id, place) in gone {
            taking.forget(*id, *place);
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

/// The index while events are taken in.
pub(super) struct Taking<'i>(MutexGuard<'i, Inner>);

impl Taking<'_> {
    /// Takes an event in at a place, unless it is there already: then its place is returned.
    pub(super) fn take(&mut self, id: Uuid, place: Place) -> Option<Place> {
        let known = *self.0.places.entry(id).or_insert(place);
        if known == place {
            self.0.accepted += 1;
            return None;
        }
        self.0.duplicates += 1;
        Some(known)
    }

    /// Notes how many of a batch were accepted.
    pub(super) fn credit(&mut self, agent: Uuid, accepted: u64) {
        *self.0.by_agent.entry(agent).or_default() += accepted;
    }

    /// Forgets an event that is not kept any more.
    pub(super) fn forget(&mut self, id: Uuid, place: Place) {
        if self.0.places.get(&id) == Some(&place) {
            self.0.places.remove(&id);
        }
    }
}

/// So many microseconds later.
pub(super) fn later(time: Timestamp, micros: usize) -> Timestamp {
    let micros = i64::try_from(micros).unwrap_or(i64::MAX);
    Timestamp::from_unix_micros(time.unix_micros().saturating_add(micros))
}
