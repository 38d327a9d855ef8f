//! An `event_batch` that was verified: what the brain makes of it, on either transport.

use std::sync::Arc;

use z4j_protocol::payload::EventBatchAck;
use z4j_protocol::{Frame, MAX_EVENTS_PER_BATCH, MAX_ID_CHARS, Timestamp, Value};

use crate::registry::Agent;
use crate::store::{Outcome, Store};

/// The code of the refusal of schedule events of the old form.
pub(crate) const SCHEDULER_UPGRADE: &str = "scheduler_upgrade_required";

/// What comes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BatchOutcome {
    /// It is settled.
    Settled(EventBatchAck),
    /// It holds schedule events of the old form; the others were stored.
    SchedulerUpgrade,
}

/// Stores a batch's events. Of more than the limit only the first ones are looked at.
pub(crate) fn apply(store: &Store, agent: &Arc<Agent>, frame: &Frame, now: Timestamp) -> BatchOutcome {
    let events = frame.payload().and_then(|payload| payload.get("events")).and_then(Value::as_array);
    let events = events.unwrap_or_default();
    let events = &events[..events.len().min(MAX_EVENTS_PER_BATCH)];
    let (mut accepted, mut old_schedules) = (0, false);
    for event in events {
        match store.insert(agent, event, now) {
            Outcome::Accepted => accepted += 1,
            Outcome::OldSchedule => old_schedules = true,
            Outcome::Duplicate | Outcome::Unusable => {}
        }
    }
    // What else it holds is stored all the same: sent again, those events are duplicates.
    if old_schedules {
        return BatchOutcome::SchedulerUpgrade;
    }
    let received = events.len() as u64;
    let acked_id = cut(frame.id().unwrap_or_default());
    BatchOutcome::Settled(EventBatchAck { acked_id, received, accepted, rejected: received - accepted })
}

/// A text cut to the length of a frame id.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(MAX_ID_CHARS).collect()
}
