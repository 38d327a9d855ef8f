//! A session over a WebSocket: hello, hello_ack, then signed frames in both directions.
//!
//! Owns the order of the exchange (protocol.md, Session). What a hello says comes in built (`hello`).

use z4j_protocol::payload::{
    Command, CommandResult, ErrorPayload, EventBatch, EventBatchAck, Hello, HelloAck,
};
use z4j_protocol::{
    Binding, CanonicalText, Frame, FrameError, FrameType, HmacSecret, Refusal, Signer, Timestamp, Value,
    Verifier, unsigned_frame,
};

use super::websocket::{Incoming, Socket};
use super::{frame_id, random_bytes};
use crate::clock::Clock;
use crate::net::Break;
use crate::net::budget::Budget;

/// What was being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// hello_ack.
    Hello,
    /// The ack of a signed batch.
    Batch,
    /// Nothing: whether the brain closes.
    Quiet,
    /// Whatever a session brings that has proved itself.
    Online,
}

impl Stage {
    /// When that was, for sentences.
    pub(crate) const fn when(self) -> &'static str {
        match self {
            Self::Hello => "before hello_ack",
            Self::Batch => "before event_batch_ack",
            Self::Quiet => "right after the upgrade",
            Self::Online => "in the middle of a good session",
        }
    }

    /// The answer that was waited for, for sentences.
    pub(crate) const fn awaited(self) -> &'static str {
        match self {
            Self::Hello => "hello_ack",
            Self::Batch => "event_batch_ack",
            Self::Quiet => "close frame",
            Self::Online => "frame",
        }
    }
}

/// Why a session ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The brain closed.
    Closed {
        /// With this code.
        code: Option<u16>,
        /// And this reason.
        reason: String,
    },
    /// The connection ended, or the time was up.
    Broken(Break),
    /// A frame that is not one of this protocol.
    Malformed(String),
    /// A signed frame that does not hold.
    Refused(Refusal),
}

/// What hello_ack said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// Its payload.
    pub(crate) ack: HelloAck,
    /// The slug of the project, from brains that check it against hello's `project_id`.
    pub(crate) project_slug: Option<String>,
    /// When the brain wrote it.
    pub(crate) brain_time: Option<Timestamp>,
    /// When it arrived.
    pub(crate) received_at: Timestamp,
}

impl Welcome {
    /// What signatures are bound to.
    pub(crate) fn binding(&self) -> Binding {
        Binding {
            agent_id: self.ack.agent_id.clone(),
            project_id: self.ack.project_id.clone(),
            session_id: self.ack.session_id.clone(),
        }
    }
}

/// Sends hello and waits for hello_ack.
///
/// # Errors
/// What came instead.
pub(crate) async fn greet(
    socket: &mut Socket,
    hello: &Hello,
    clock: Clock,
    budget: &Budget,
) -> Result<Welcome, End> {
    let payload = Value::from_serialize(hello).map_err(|error| unwritable(&error))?;
    let frame = unsigned_frame(FrameType::Hello, &frame_id("hello"), payload, clock.now());
    let sent = socket.send(frame.map_err(|error| unwritable(&error))?, budget).await;
    // A brain that refuses closes before it reads; its close frame says more than the failed write.
    let incoming = socket.receive(budget).await;
    match (incoming, sent) {
        (Incoming::Message(bytes), _) => read_welcome(&bytes, clock.now()),
        (Incoming::Closed { code, reason }, _) => Err(End::Closed { code, reason }),
        (Incoming::Broken(_), Err(broken)) | (Incoming::Broken(broken), Ok(())) => Err(End::Broken(broken)),
    }
}

fn unwritable(error: &dyn std::error::Error) -> End {
    End::Malformed(format!("our own frame cannot be written: {error}"))
}

fn read_welcome(bytes: &[u8], received_at: Timestamp) -> Result<Welcome, End> {
    let frame = Frame::parse(bytes).map_err(End::Refused)?;
    if frame.frame_type() != FrameType::HelloAck {
        return Err(End::Malformed(format!("the first frame is {}, not hello_ack", frame.frame_type())));
    }
    let payload = frame.object().get("payload").cloned().unwrap_or(Value::Null);
    let ack = payload.deserialize().map_err(|error| End::Malformed(format!("hello_ack: {error}")))?;
    let ts = frame.object().get("ts").and_then(Value::as_str);
    Ok(Welcome {
        ack,
        project_slug: payload.get("project_slug").and_then(Value::as_str).map(str::to_owned),
        brain_time: ts.and_then(|ts| Timestamp::parse(ts).ok()),
        received_at,
    })
}

/// The signed part of a session.
pub(crate) struct Signed {
    signer: Signer,
    verifier: Verifier,
    clock: Clock,
}

/// A verified frame that may matter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// A batch is settled.
    BatchAck(EventBatchAck),
    /// The brain wants something done.
    Command {
        /// The command's id.
        id: String,
        /// What.
        command: Command,
    },
    /// The brain complains.
    Error(ErrorPayload),
    /// Anything else.
    Other,
}

impl Signed {
    /// The signed part of a session that begins.
    pub(crate) fn new(secret: &HmacSecret, binding: Binding, clock: Clock) -> Self {
        Self { signer: Signer::new(secret, binding.clone()), verifier: Verifier::new(secret, binding), clock }
    }

    /// A signed frame.
    ///
    /// # Errors
    /// The payload has no canonical text.
    pub(crate) fn frame(&mut self, kind: FrameType, id: &str, payload: Value) -> Result<String, FrameError> {
        self.signer.sign(kind, id, payload, self.clock.now(), random_bytes())
    }

    /// A signed frame whose payload is canonical text already.
    pub(crate) fn text(&mut self, kind: FrameType, id: &str, payload: &CanonicalText) -> String {
        self.signer.sign_text(kind, id, payload, self.clock.now(), random_bytes())
    }

    /// A signed `event_batch` without events, and its id.
    ///
    /// # Errors
    /// Our own frame cannot be written.
    pub(crate) fn empty_batch(&mut self) -> Result<(String, String), End> {
        let id = frame_id("batch");
        let payload = Value::from_serialize(&EventBatch::default()).map_err(|error| unwritable(&error))?;
        let frame = self.frame(FrameType::EventBatch, &id, payload).map_err(|error| unwritable(&error))?;
        Ok((frame, id))
    }

    /// The two frames that answer a command that is not carried out.
    ///
    /// # Errors
    /// Our own frame cannot be written.
    pub(crate) fn decline(&mut self, id: &str, command: &Command, why: &str) -> Result<[String; 2], End> {
        let token = command.delivery_claim_token.clone();
        let result = CommandResult { delivery_claim_token: token, ..CommandResult::failed(why) };
        let result = Value::from_serialize(&result).map_err(|error| unwritable(&error))?;
        Ok([
            self.text(FrameType::CommandAck, id, &command.ack()),
            self.frame(FrameType::CommandResult, id, result).map_err(|error| unwritable(&error))?,
        ])
    }

    /// Verifies and reads one message.
    ///
    /// # Errors
    /// It does not hold, or its payload is not of its shape.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<Event, End> {
        let frame = self.verifier.verify(bytes, self.clock.now()).map_err(End::Refused)?;
        let payload = frame.object().get("payload").cloned().unwrap_or(Value::Null);
        let malformed = |error: serde_json::Error| End::Malformed(format!("{}: {error}", frame.frame_type()));
        match frame.frame_type() {
            FrameType::EventBatchAck => Ok(Event::BatchAck(payload.deserialize().map_err(malformed)?)),
            FrameType::Command => Ok(Event::Command {
                id: frame.id().unwrap_or_default().to_owned(),
                command: payload.deserialize().map_err(malformed)?,
            }),
            // A complaint that cannot be read changes nothing.
            FrameType::Error => Ok(payload.deserialize().map_or(Event::Other, Event::Error)),
            _ => Ok(Event::Other),
        }
    }
}
