//! What stands in a frame's `payload`, type by type.
//!
//! Owns the shapes and their bounds (protocol.md, Frames). All of them are forward compatible: a field that
//! is not known here is ignored. Must not sign, verify, or decide what a receiver does with a value.

mod command;
mod event;
mod hello;

use serde::{Deserialize, Serialize};

pub use command::{
    Command, CommandAck, CommandResult, CommandStatus, DEFAULT_COMMAND_TIMEOUT_SECONDS, MAX_ERROR_CHARS,
};
pub use event::{
    Event, EventBatch, EventBatchAck, KINDS, LEGACY_SCHEDULE_KINDS, SCHEDULER_UPGRADE, UNKNOWN_KIND,
};
pub use hello::{Hello, HelloFrame, HelloRefusal, Host};

use crate::{DEFAULT_MAX_FRAME_BYTES, PROTOCOL_VERSION_TEXT};

/// The names of the six counters of `telemetry_loss`.
pub const LOSS_COUNTERS: [&str; 6] = [
    "capacity_evicted_frames",
    "content_rejected_frames",
    "event_records",
    "command_results",
    "other_frames",
    "unclassified_frames",
];

/// `hello_ack`: what the brain tells an agent it has let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloAck {
    /// The protocol version that the brain speaks, "2".
    pub protocol_version: String,
    /// The brain's release.
    #[serde(default)]
    pub brain_version: String,
    /// The agent's UUID: signatures are bound to it.
    pub agent_id: String,
    /// The project's UUID (not its slug): signatures are bound to it.
    pub project_id: String,
    /// The session's id: signatures are bound to it.
    pub session_id: String,
    /// Seconds between heartbeats.
    #[serde(default = "default_heartbeat_seconds")]
    pub heartbeat_interval_seconds: u64,
    /// Largest signed frame that the brain takes, in bytes; 0 means the default.
    #[serde(default)]
    pub max_frame_size_bytes: u64,
}

const fn default_heartbeat_seconds() -> u64 {
    10
}

impl HelloAck {
    /// Whether both ends speak the same protocol.
    #[must_use]
    pub fn speaks_our_version(&self) -> bool {
        self.protocol_version == PROTOCOL_VERSION_TEXT
    }

    /// Seconds between heartbeats, brought into the range 1..=3600 that agents accept.
    #[must_use]
    pub fn heartbeat_seconds(&self) -> u64 {
        self.heartbeat_interval_seconds.clamp(1, 3_600)
    }

    /// Largest signed frame in bytes.
    #[must_use]
    pub const fn max_frame_bytes(&self) -> u64 {
        match self.max_frame_size_bytes {
            0 => DEFAULT_MAX_FRAME_BYTES,
            bytes => bytes,
        }
    }
}

/// `heartbeat`: the agent lives, and how full its buffer is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heartbeat {
    /// Rows waiting in the buffer.
    pub buffer_size: u64,
    /// When the buffer last became empty, ISO 8601.
    pub last_flush_at: Option<String>,
    /// Events lost so far, as one number.
    pub dropped_events: u64,
    /// What was lost, by reason and kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry_loss: Option<TelemetryLoss>,
    /// What adapters say of themselves: `ENGINE.NAME` to text.
    pub adapter_health: std::collections::BTreeMap<String, String>,
}

/// `agent_status`: failures, losses, versions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentStatus {
    /// What was lost, by reason and kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry_loss: Option<TelemetryLoss>,
    /// Refused credentials in a row.
    pub auth_failure_streak: u64,
    /// Protocol failures in a row.
    pub protocol_failure_streak: u64,
    /// Connection failures in a row.
    pub connection_failure_streak: u64,
    /// ISO 8601.
    pub last_successful_connect_at: Option<String>,
    /// Age of the session in seconds.
    pub current_session_age_seconds: Option<f64>,
    /// Rows waiting in the buffer.
    pub buffer_depth: u64,
    /// Age of the oldest of them in seconds.
    pub buffer_oldest_age_seconds: Option<f64>,
    /// The agent's release.
    pub agent_version: String,
    /// "2".
    pub protocol_version: String,
    /// Engine names.
    pub engines: Vec<String>,
    /// Scheduler names.
    pub schedulers: Vec<String>,
}

/// `telemetry_loss`: counters since the buffer was made. Bounds are checked with the signature.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TelemetryLoss {
    /// Which buffer counted, 1..=64 characters.
    pub buffer_id: String,
    /// Which process counted, 1..=64 characters.
    pub runtime_id: String,
    /// Frames evicted because the buffer was full.
    #[serde(default)]
    pub capacity_evicted_frames: u64,
    /// Frames refused for what they hold.
    #[serde(default)]
    pub content_rejected_frames: u64,
    /// Events lost in them.
    #[serde(default)]
    pub event_records: u64,
    /// Command results lost.
    #[serde(default)]
    pub command_results: u64,
    /// Other frames lost.
    #[serde(default)]
    pub other_frames: u64,
    /// Frames lost of which the kind is not known.
    #[serde(default)]
    pub unclassified_frames: u64,
    /// Events that an engine's adapter dropped, by engine.
    #[serde(default)]
    pub adapter_events: std::collections::BTreeMap<String, u64>,
}

/// `registry_delta`: tasks that appeared, changed or went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegistryDelta {
    /// The engine that knows them.
    pub engine: String,
    /// New task names.
    pub added: Vec<crate::Value>,
    /// Task names that went.
    pub removed: Vec<crate::Value>,
    /// Tasks that changed.
    pub updated: Vec<crate::Value>,
}

/// `error`: what the other side did is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorPayload {
    /// A word for it.
    pub code: String,
    /// A sentence for people.
    #[serde(default)]
    pub message: String,
    /// Whether the session cannot go on.
    #[serde(default)]
    pub fatal: bool,
}
