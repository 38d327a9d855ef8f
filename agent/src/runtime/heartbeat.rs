//! What the agent says of itself at every interval: `heartbeat` and `agent_status`.
//!
//! Owns the two payloads. Must not send them.

use std::collections::BTreeMap;

use tokio::time::Instant;
use z4j_protocol::payload::{AgentStatus, Heartbeat, Hello, TelemetryLoss};
use z4j_protocol::{CanonicalText, FrameType, MAX_COUNTER, PROTOCOL_VERSION_TEXT, Timestamp};

use crate::buffer::BufferStatus;
use crate::config::Config;
use crate::status::LinkStatus;

/// The largest number that a brain takes as a buffer's size or as lost events (reference-agent.md, 5 and 10).
const MOST: u64 = 10_000_000;

/// Who reports.
#[derive(Clone, Debug)]
pub(super) struct Reporter {
    /// `Z4J_HEARTBEAT`: without it nothing is reported.
    heartbeat: bool,
    /// `Z4J_AGENT_STATUS_DISABLED`, turned round.
    agent_status: bool,
    runtime_id: String,
    agent_version: String,
    engines: Vec<String>,
    schedulers: Vec<String>,
}

impl Reporter {
    /// The reporter of this process: its id tells its counters from those of the one before.
    pub(super) fn new(hello: &Hello, config: &Config, pid: u32) -> Self {
        Self {
            heartbeat: config.heartbeat,
            agent_status: config.agent_status,
            runtime_id: format!("{}:{pid}", uuid::Uuid::new_v4().simple()),
            agent_version: hello.agent_version.clone(),
            engines: hello.engines.clone(),
            schedulers: hello.schedulers.clone(),
        }
    }

    /// Whether anything is reported at all.
    pub(super) const fn reports(&self) -> bool {
        self.heartbeat
    }

    fn loss(&self, buffer: &BufferStatus) -> TelemetryLoss {
        let counter = |value: u64| value.min(MAX_COUNTER);
        TelemetryLoss {
            buffer_id: buffer.buffer_id.clone(),
            runtime_id: self.runtime_id.clone(),
            capacity_evicted_frames: counter(buffer.loss.capacity_evicted),
            content_rejected_frames: counter(buffer.loss.content_rejected),
            event_records: counter(buffer.loss.events),
            command_results: counter(buffer.loss.command_results),
            ..TelemetryLoss::default()
        }
    }

    /// What is due at an interval: type, word of the frame's id, payload.
    pub(super) fn frames(
        &self,
        buffer: &BufferStatus,
        health: BTreeMap<String, String>,
        link: &LinkStatus,
        (online_at, now): (Instant, Timestamp),
    ) -> Vec<(FrameType, &'static str, CanonicalText)> {
        let mut frames = Vec::new();
        if self.heartbeat {
            frames.push((FrameType::Heartbeat, "hb", self.heartbeat(buffer, health)));
        }
        if self.heartbeat && self.agent_status {
            frames.push((FrameType::AgentStatus, "as", self.status(buffer, link, online_at, now)));
        }
        frames
    }

    /// The payload of a heartbeat.
    fn heartbeat(&self, buffer: &BufferStatus, health: BTreeMap<String, String>) -> CanonicalText {
        let emptied = buffer.emptied_at_micros.map(|at| Timestamp::from_unix_micros(at).to_string());
        text(&Heartbeat {
            buffer_size: buffer.events.min(MOST),
            last_flush_at: emptied,
            dropped_events: buffer.loss.events.min(MOST),
            telemetry_loss: Some(self.loss(buffer)),
            adapter_health: health,
        })
    }

    /// The payload of an agent_status.
    fn status(
        &self,
        buffer: &BufferStatus,
        link: &LinkStatus,
        online_at: Instant,
        now: Timestamp,
    ) -> CanonicalText {
        text(&AgentStatus {
            telemetry_loss: Some(self.loss(buffer)),
            auth_failure_streak: link.streaks.auth,
            protocol_failure_streak: link.streaks.protocol.saturating_add(link.streaks.incompatible),
            connection_failure_streak: link.streaks.connection,
            last_successful_connect_at: link.last_connect_at.clone(),
            current_session_age_seconds: Some(online_at.elapsed().as_secs_f64()),
            buffer_depth: buffer.events.min(MOST),
            buffer_oldest_age_seconds: buffer.oldest_age_seconds(now),
            agent_version: self.agent_version.clone(),
            protocol_version: PROTOCOL_VERSION_TEXT.to_owned(),
            engines: self.engines.clone(),
            schedulers: self.schedulers.clone(),
        })
    }
}

fn text<T: serde::Serialize>(payload: &T) -> CanonicalText {
    // Plain structs of finite numbers and texts can always be written.
    CanonicalText::from_serialize(payload).unwrap_or_else(|_| CanonicalText::kept("{}".to_owned()))
}
