//! The brain's side of one session: what it says, signed.
//!
//! Owns the signer of the direction brain to agent, and what the release leaves out. Must not touch a socket.

use z4j_protocol::payload::{ErrorPayload, EventBatchAck, HelloAck, SCHEDULER_UPGRADE};
use z4j_protocol::{
    FrameType, PROTOCOL_VERSION, PROTOCOL_VERSION_TEXT, Signer, Timestamp, Value, unsigned_frame,
};

use super::{Quirks, Release};
use crate::batch;
use crate::commands::Delivery;
use crate::hub::Limits;
use crate::random;
use crate::registry::Agent;

/// Why something cannot be said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PenError {
    #[error(transparent)]
    Frame(#[from] z4j_protocol::FrameError),
    #[error(transparent)]
    Payload(#[from] serde_json::Error),
    #[error(transparent)]
    Unreadable(#[from] z4j_protocol::ParseError),
}

/// The pen of one session.
pub(crate) struct Pen {
    signer: Signer,
    release: Release,
    quirks: Option<Quirks>,
    /// The last number of an odd sequence.
    seq: u64,
    /// The protocol version that hello is answered with.
    version: &'static str,
}

impl Pen {
    /// One whose frames are bound to a session (its id, or the long-poll nonce).
    pub(crate) fn new(agent: &Agent, session: &str, release: Release, quirks: Option<Quirks>) -> Self {
        let signer = Signer::new(&agent.project.secret, agent.binding(session, release));
        Self { signer, release, quirks, seq: 0, version: PROTOCOL_VERSION_TEXT }
    }

    /// Answers hello with another protocol version.
    pub(crate) const fn claim_version(&mut self, version: &'static str) {
        self.version = version;
    }

    /// The agent signs as z4j-core 1.0 did, and wants to be answered so. What was signed before was not
    /// understood, and does not count.
    pub(super) fn forget_session(&mut self, agent: &Agent) {
        let binding = agent.binding("", self.release);
        self.signer = Signer::without_session(&agent.project.secret, binding);
    }

    /// The answer to hello.
    ///
    /// An agent that named its project is told the slug, so that it knows that the name was checked. Others
    /// are not: they would not look at it.
    pub(crate) fn hello_ack(
        &mut self,
        agent: &Agent,
        session: &str,
        limits: &Limits,
        checked_slug: Option<&str>,
        now: Timestamp,
    ) -> Result<String, PenError> {
        let ack = HelloAck {
            protocol_version: self.version.to_owned(),
            brain_version: self.release.to_string(),
            agent_id: agent.id.to_string(),
            project_id: agent.project.id.to_string(),
            session_id: session.to_owned(),
            heartbeat_interval_seconds: limits.heartbeat_seconds,
            max_frame_size_bytes: limits.frame_bytes,
        };
        let digits: String = session.chars().filter(char::is_ascii_hexdigit).take(12).collect();
        let mut payload = Value::from_serialize(&ack)?;
        if let (Value::Object(payload), Some(slug)) = (&mut payload, checked_slug) {
            payload.insert("project_slug", slug.into());
        }
        let Some(quirks) = &mut self.quirks else {
            return Ok(unsigned_frame(FrameType::HelloAck, &format!("hack_{digits}"), payload, now)?);
        };
        quirks.grow(&mut payload);
        let text = unsigned_frame(FrameType::HelloAck, &quirks.frame_id(), payload, now)?;
        let mut frame = Value::parse(text.as_bytes())?;
        quirks.grow(&mut frame);
        Ok(quirks.scribble(&frame.to_canonical().map_err(z4j_protocol::FrameError::from)?))
    }

    /// The frame of a command. Its id is the command's, however often it is sent.
    pub(crate) fn command(&mut self, command: &Delivery, now: Timestamp) -> Result<String, PenError> {
        let text = command.payload();
        if self.release.has_claim_token() && self.quirks.is_none() {
            return Ok(self.signer.sign_text(FrameType::Command, command.id(), text, now, random::bytes()));
        }
        let payload = Value::parse(text.as_str().as_bytes())?;
        let has_token = self.release.has_claim_token();
        let payload = if has_token { payload } else { without(payload, "delivery_claim_token") };
        self.signed(FrameType::Command, command.id(), payload, now)
    }

    /// The acknowledgement of a batch.
    pub(crate) fn ack(&mut self, ack: &EventBatchAck, now: Timestamp) -> Result<String, PenError> {
        let id = self.id(&format!("eba_{}", ack.acked_id));
        let payload = Value::from_serialize(ack)?;
        let payload = if self.release.has_acked_id() { payload } else { without(payload, "acked_id") };
        self.signed(FrameType::EventBatchAck, &id, payload, now)
    }

    /// The answer to a batch with schedule events of the old form.
    pub(crate) fn scheduler_upgrade(&mut self, batch: &str, now: Timestamp) -> Result<String, PenError> {
        let message = "schedule events of this form are not taken: upgrade the scheduler";
        self.error(batch, SCHEDULER_UPGRADE, message, true, now)
    }

    /// An `error` frame about a frame of the agent's.
    pub(crate) fn error(
        &mut self,
        about: &str,
        code: &str,
        message: &str,
        fatal: bool,
        now: Timestamp,
    ) -> Result<String, PenError> {
        let payload = ErrorPayload { code: code.to_owned(), message: message.to_owned(), fatal };
        let id = self.id(&format!("err_{about}"));
        self.signed(FrameType::Error, &id, Value::from_serialize(&payload)?, now)
    }

    fn signed(
        &mut self,
        frame_type: FrameType,
        id: &str,
        mut payload: Value,
        now: Timestamp,
    ) -> Result<String, PenError> {
        let Some(quirks) = &mut self.quirks else {
            return Ok(self.signer.sign(frame_type, id, payload, now, random::bytes())?);
        };
        quirks.grow(&mut payload);
        self.seq += 1 + quirks.gap();
        let mut frame = Value::object([
            ("v", Value::from(PROTOCOL_VERSION)),
            ("type", Value::from(frame_type.as_str())),
            ("id", Value::from(id)),
            ("ts", Value::String(quirks.time(now))),
            ("seq", Value::from(self.seq)),
            ("payload", payload),
        ]);
        quirks.grow(&mut frame);
        let text = self.signer.sign_document(frame, now, random::bytes())?;
        Ok(quirks.scribble(&text))
    }

    /// A frame's id: as the real brain makes it, or any.
    fn id(&mut self, usual: &str) -> String {
        self.quirks.as_mut().map_or_else(|| batch::cut(usual), Quirks::frame_id)
    }
}

/// An object without a member.
fn without(mut payload: Value, key: &str) -> Value {
    if let Value::Object(members) = &mut payload {
        members.remove(key);
    }
    payload
}

/// A signed frame with another signature.
pub(crate) fn with_bad_signature(text: &str) -> String {
    let Ok(Value::Object(mut frame)) = Value::parse(text.as_bytes()) else { return text.to_owned() };
    let signature = frame.get("hmac").and_then(Value::as_str).unwrap_or_default();
    let (digit, rest) = signature.split_at_checked(1).unwrap_or_default();
    let other = format!("{}{rest}", if digit == "0" { "1" } else { "0" });
    frame.insert("hmac", Value::String(other));
    Value::Object(frame).to_canonical().unwrap_or_else(|_| text.to_owned())
}
