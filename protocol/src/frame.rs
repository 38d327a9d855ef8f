//! One frame as it stands on the wire: its type, and the parts that every frame has.
//!
//! Owns the checks that need no key (JSON, `v`, `type`, shape of `payload`, in that order). It must not
//! verify (`verify`) or read payloads (`payload`).

use std::fmt;

use crate::PROTOCOL_VERSION;
use crate::refusal::{Reason, Refusal};
use crate::value::{Object, Value};

/// Declares the frame types with their words in one place.
macro_rules! frame_types {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)+) => {
        /// The type of a frame.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FrameType { $($(#[$doc])* $name,)+ }

        impl FrameType {
            /// Every type of this protocol.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word in a frame's `type`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// The type of that word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

frame_types! {
    /// Agent to brain, first and unsigned: who connects.
    Hello = "hello",
    /// Brain to agent, unsigned: ids that signatures are bound to.
    HelloAck = "hello_ack",
    /// Agent to brain: events.
    EventBatch = "event_batch",
    /// Brain to agent: a batch is settled.
    EventBatchAck = "event_batch_ack",
    /// Agent to brain: still here, and how full the buffer is.
    Heartbeat = "heartbeat",
    /// Agent to brain: failures, losses, versions.
    AgentStatus = "agent_status",
    /// Brain to agent: something to do.
    Command = "command",
    /// Agent to brain: a command arrived.
    CommandAck = "command_ack",
    /// Agent to brain: what came of a command.
    CommandResult = "command_result",
    /// Agent to brain: tasks that an engine knows.
    RegistryDelta = "registry_delta",
    /// Either way: something the other side did is not acceptable.
    Error = "error",
}

impl FrameType {
    /// Whether frames of this type bear a signature: all but the two of the handshake.
    #[must_use]
    pub const fn is_signed(self) -> bool {
        !matches!(self, Self::Hello | Self::HelloAck)
    }
}

impl fmt::Display for FrameType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A frame whose `v`, `type` and `payload` have been checked. Unknown fields are kept: they are signed too.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    frame_type: FrameType,
    object: Object,
}

impl Frame {
    /// Reads one message.
    ///
    /// # Errors
    /// The first rule that the text breaks, in the order of protocol.md.
    pub fn parse(wire: &[u8]) -> Result<Self, Refusal> {
        let value = Value::parse(wire).map_err(|_| Reason::NotJson)?;
        Self::from_value(value)
    }

    /// Checks a parsed document.
    ///
    /// # Errors
    /// As [`Frame::parse`].
    pub fn from_value(value: Value) -> Result<Self, Refusal> {
        let object = match value {
            Value::Object(object) => object,
            // An object with an impossible key parses to this; a string of that kind is refused alike.
            Value::LoneSurrogate => return Err(Reason::NotCanonical.into()),
            _ => return Err(Reason::NotAnObject.into()),
        };
        match object.get("v") {
            None | Some(Value::Null) => return Err(Reason::VersionMissing.into()),
            Some(Value::Integer(version)) if version.as_u64() == Some(PROTOCOL_VERSION) => {}
            Some(Value::Integer(_)) => return Err(Reason::Version.into()),
            Some(_) => return Err(Reason::VersionType.into()),
        }
        let word = object.get("type").and_then(Value::as_str).ok_or(Reason::TypeMissing)?;
        let frame_type = FrameType::from_word(word).ok_or(Reason::TypeUnknown)?;
        match object.get("payload") {
            None | Some(Value::Null | Value::Object(_) | Value::LoneSurrogate) => {}
            Some(_) => return Err(Reason::PayloadNotAnObject.into()),
        }
        Ok(Self { frame_type, object })
    }

    /// Its type.
    #[must_use]
    pub const fn frame_type(&self) -> FrameType {
        self.frame_type
    }

    /// `id`, if it is text.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.object.get("id").and_then(Value::as_str)
    }

    /// `payload`, unless it is missing or null.
    #[must_use]
    pub fn payload(&self) -> Option<&Object> {
        self.object.get("payload").and_then(Value::as_object)
    }

    /// Every top-level member.
    #[must_use]
    pub const fn object(&self) -> &Object {
        &self.object
    }
}
