//! What the brain says in a session: hello_ack, acknowledgements, errors.
//!
//! Owns the signer of the direction brain to agent. Must not touch the socket.

use z4j_protocol::payload::{ErrorPayload, EventBatchAck, HelloAck};
use z4j_protocol::{FrameType, PROTOCOL_VERSION_TEXT, Signer, Timestamp, Value, unsigned_frame};

use crate::batch;
use crate::commands::Delivery;
use crate::hub::Limits;
use crate::registry::Agent;
use crate::{BRAIN_VERSION, random};

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
    pub(super) fn new(agent: &Agent, session_id: &str, limits: &Limits) -> Self {
        let ack = HelloAck {
            protocol_version: PROTOCOL_VERSION_TEXT.to_owned(),
            brain_version: BRAIN_VERSION.to_owned(),
            agent_id: agent.id.to_string(),
            project_id: agent.project.id.to_string(),
            session_id: session_id.to_owned(),
            heartbeat_interval_seconds: limits.heartbeat_seconds,
            max_frame_size_bytes: limits.frame_bytes,
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

    /// The acknowledgement of a batch.
    pub(super) fn ack(&mut self, ack: &EventBatchAck, now: Timestamp) -> Result<String, ReplyError> {
        let id = format!("eba_{}", ack.acked_id);
        self.signed(FrameType::EventBatchAck, &id, Value::from_serialize(ack)?, now)
    }

    /// The answer to a batch with schedule events of the old form.
    pub(super) fn scheduler_upgrade(&mut self, batch: &str, now: Timestamp) -> Result<String, ReplyError> {
        let message = "schedule events of this form are not taken: upgrade the scheduler";
        self.error(batch, batch::SCHEDULER_UPGRADE, message, true, now)
    }

    /// An `error` frame about a frame of the agent's.
    pub(super) fn error(
        &mut self,
        about: &str,
        code: &str,
        message: &str,
        fatal: bool,
        now: Timestamp,
    ) -> Result<String, ReplyError> {
        let payload = ErrorPayload { code: code.to_owned(), message: message.to_owned(), fatal };
        self.signed(FrameType::Error, &format!("err_{about}"), Value::from_serialize(&payload)?, now)
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

/// A signed frame with another signature. It stands first in a frame, whose keys are sorted.
pub(super) fn with_bad_signature(text: &str) -> String {
    const KEY: &str = "{\"hmac\":\"";
    match text.strip_prefix(KEY).and_then(|rest| rest.split_at_checked(1)) {
        Some((digit, rest)) => format!("{KEY}{}{rest}", if digit == "0" { "1" } else { "0" }),
        None => text.to_owned(),
    }
}
