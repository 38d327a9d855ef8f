//! What the brain says in a session: hello_ack, acknowledgements, errors.
//!
//! Owns the signer of the direction brain to agent. Must not touch the socket.

use std::sync::Arc;

use z4j_protocol::payload::{ErrorPayload, EventBatchAck, HelloAck};
use z4j_protocol::{
    DEFAULT_MAX_FRAME_BYTES, Frame, FrameType, PROTOCOL_VERSION_TEXT, Signer, Timestamp, Value,
    unsigned_frame,
};

use crate::batch::{self, BatchOutcome};
use crate::commands::Delivery;
use crate::registry::Agent;
use crate::store::Store;
use crate::{BRAIN_VERSION, random};

/// Seconds between heartbeats (a constant of the real brain).
const HEARTBEAT_SECONDS: u64 = 10;

/// Why a reply cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplyError {
    #[error(transparent)]
    Frame(#[from] z4j_protocol::FrameError),
    #[error(transparent)]
    Payload(#[from] serde_json::Error),
}

/// The brain's side of one session.
pub(super) struct Replies {
    ack: HelloAck,
    signer: Signer,
}

impl Replies {
    pub(super) fn new(agent: &Agent, session_id: &str) -> Self {
        let ack = HelloAck {
            protocol_version: PROTOCOL_VERSION_TEXT.to_owned(),
            brain_version: BRAIN_VERSION.to_owned(),
            agent_id: agent.id.to_string(),
            project_id: agent.project.id.to_string(),
            session_id: session_id.to_owned(),
            heartbeat_interval_seconds: HEARTBEAT_SECONDS,
            max_frame_size_bytes: DEFAULT_MAX_FRAME_BYTES,
        };
        Self { ack, signer: Signer::new(&agent.project.secret, agent.binding(session_id)) }
    }

    /// The answer to hello.
    ///
    /// An agent that named its project is told the slug, so that it knows that the name was checked. Others
    /// are not: older Python agents refuse an acknowledgement with fields that they do not know.
    pub(super) fn hello_ack(&self, checked_slug: Option<&str>, now: Timestamp) -> Result<String, ReplyError> {
        let digits: String = self.ack.session_id.chars().filter(char::is_ascii_hexdigit).take(12).collect();
        let mut payload = Value::from_serialize(&self.ack)?;
        if let (Value::Object(payload), Some(slug)) = (&mut payload, checked_slug) {
            payload.insert("project_slug", slug.into());
        }
        Ok(unsigned_frame(FrameType::HelloAck, &format!("hack_{digits}"), payload, now)?)
    }

    /// The frame of a command.
    pub(super) fn command(&mut self, command: &Delivery, now: Timestamp) -> String {
        command.sign(&mut self.signer, now)
    }

    /// The answer to a verified frame, if it gets one: only batches do.
    pub(super) fn to(
        &mut self,
        store: &Store,
        agent: &Arc<Agent>,
        frame: &Frame,
        now: Timestamp,
    ) -> Result<Option<String>, ReplyError> {
        if frame.frame_type() != FrameType::EventBatch {
            return Ok(None);
        }
        match batch::apply(store, agent, frame, now) {
            BatchOutcome::Settled(ack) => self.event_batch_ack(frame, &ack, now).map(Some),
            BatchOutcome::SchedulerUpgrade => self.scheduler_upgrade(frame, now).map(Some),
        }
    }

    fn event_batch_ack(
        &mut self,
        frame: &Frame,
        ack: &EventBatchAck,
        now: Timestamp,
    ) -> Result<String, ReplyError> {
        let id = format!("eba_{}", frame.id().unwrap_or_default());
        self.signed(FrameType::EventBatchAck, &id, Value::from_serialize(ack)?, now)
    }

    fn scheduler_upgrade(&mut self, frame: &Frame, now: Timestamp) -> Result<String, ReplyError> {
        let payload = ErrorPayload {
            code: batch::SCHEDULER_UPGRADE.to_owned(),
            message: "schedule events of this form are not taken: upgrade the scheduler".to_owned(),
            fatal: true,
        };
        let id = format!("err_{}", frame.id().unwrap_or_default());
        self.signed(FrameType::Error, &id, Value::from_serialize(&payload)?, now)
    }

    fn signed(
        &mut self,
        frame_type: FrameType,
        id: &str,
        payload: Value,
        now: Timestamp,
    ) -> Result<String, ReplyError> {
        Ok(self.signer.sign(frame_type, &batch::cut(id), payload, now, random::bytes())?)
    }
}
