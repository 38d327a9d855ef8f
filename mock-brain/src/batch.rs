//! An `event_batch` that was verified: what the brain makes of it, on either transport.

use std::sync::Arc;

use z4j_protocol::payload::EventBatchAck;
use z4j_protocol::{Frame, MAX_EVENTS_PER_BATCH, MAX_ID_CHARS, Timestamp, Value};

use crate::registry::Agent;
use crate::store::{Outcome, Store};

/// Kinds that the real brain takes from a newer scheduler protocol only.
const SCHEDULE_KINDS: [&str; 4] =
    ["schedule.snapshot", "schedule.created", "schedule.updated", "schedule.deleted"];

/// The code of the refusal of [`SCHEDULE_KINDS`].
pub(crate) const SCHEDULER_UPGRADE: &str = "scheduler_upgrade_required";

/// What comes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BatchOutcome {
    /// It is settled.
    Settled(EventBatchAck),
    /// It holds schedule events of the old form; nothing was stored.
    SchedulerUpgrade,
}

/// Stores a batch's events. Of more than the limit only the first ones are looked at.
pub(crate) fn apply(store: &Store, agent: &Arc<Agent>, frame: &Frame, now: Timestamp) -> BatchOutcome {
    let events = frame.payload().and_then(|payload| payload.get("events")).and_then(Value::as_array);
    let events = events.unwrap_or_default();
    let events = &events[..events.len().min(MAX_EVENTS_PER_BATCH)];
    let kind = |event: &Value| event.get("kind").and_then(Value::as_str).map(str::to_owned);
    if events.iter().filter_map(kind).any(|kind| SCHEDULE_KINDS.contains(&kind.as_str())) {
        return BatchOutcome::SchedulerUpgrade;
    }
    let taken = events.iter().filter(|event| store.insert(agent, event, now) == Outcome::Accepted).count();
    let (received, accepted) = (events.len() as u64, taken as u64);
    let acked_id = cut(frame.id().unwrap_or_default());
    BatchOutcome::Settled(EventBatchAck { acked_id, received, accepted, rejected: received - accepted })
}

/// A text cut to the length of a frame id.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(MAX_ID_CHARS).collect()
}
