//! `event_batch` and `event_batch_ack`.

use serde::{Deserialize, Serialize};

use crate::value::Value;

/// Every kind of event that a brain knows.
pub const KINDS: [&str; 19] = [
    "task.sent",
    "task.received",
    "task.started",
    "task.succeeded",
    "task.failed",
    "task.retried",
    "task.revoked",
    "task.rejected",
    "worker.online",
    "worker.offline",
    "worker.heartbeat",
    "queue.depth_report",
    "schedule.run_started",
    "schedule.run_completed",
    "schedule.created",
    "schedule.updated",
    "schedule.deleted",
    "schedule.snapshot",
    UNKNOWN_KIND,
];

/// Kinds that describe schedules as old agents did. A brain settles nothing of a batch with one, and answers
/// [`SCHEDULER_UPGRADE`], unless the agent speaks a newer scheduler protocol.
pub const LEGACY_SCHEDULE_KINDS: [&str; 4] =
    ["schedule.created", "schedule.updated", "schedule.deleted", "schedule.snapshot"];

/// The brain's word for an agent that must be upgraded before it sends [`LEGACY_SCHEDULE_KINDS`].
pub const SCHEDULER_UPGRADE: &str = "scheduler_upgrade_required";

/// What a brain stores for a kind that it does not know.
pub const UNKNOWN_KIND: &str = "unknown";

/// One event as agents write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// A version 4 UUID; kept when the event is sent again.
    pub id: String,
    /// One of [`KINDS`].
    pub kind: String,
    /// `celery`, `rq`, …
    pub engine: String,
    /// Empty where the event is not of a task.
    pub task_id: String,
    /// ISO 8601 with zone.
    pub occurred_at: String,
    /// An object.
    pub data: Value,
}

/// `event_batch`: up to [`crate::MAX_EVENTS_PER_BATCH`] events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventBatch {
    /// The events.
    pub events: Vec<Event>,
}

/// `event_batch_ack`: the batch is settled and may be forgotten, whatever the counts say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventBatchAck {
    /// The batch's frame id, cut to 64 characters; empty if it had none.
    pub acked_id: String,
    /// Events that the brain looked at.
    #[serde(default)]
    pub received: u64,
    /// Events that were new.
    #[serde(default)]
    pub accepted: u64,
    /// The others: duplicates and unusable ones.
    #[serde(default)]
    pub rejected: u64,
}
