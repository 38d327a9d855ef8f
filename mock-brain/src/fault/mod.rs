//! Faults as data: what can be broken, where, and how often.
//!
//! Owns the tree of faults and their text form. One grammar serves scenario files, `--fault`, the control
//! API and the library: `NAME[(key=value, …)] [at POINT] [first N | every K | after T] [for N|T] [p=X]
//! [who=…]`. Must not carry a fault out: each is carried out in the layer that can truly produce it (tcp in
//! the listener and the stream, tls in the choice of certificate, http and longpoll in the routes, the rest
//! in the gateway).
//!
//! Composition: at each point the faults are looked at in the order in which they were set, and the first
//! one of the layer that strikes wins. Points come in the order of [`Point`].

pub mod catalog;
pub(crate) mod duration;
mod error;
mod parse;
mod selector;
mod shape;
pub(crate) mod table;
mod text;

use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pki::Word;
pub use error::FaultError;
pub use selector::{Chance, Lasts, When, Who};

/// What is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// On the TCP layer.
    Tcp(Tcp),
    /// In the TLS handshake.
    Tls(Tls),
    /// In what HTTP requests get.
    Http(Http),
    /// In the WebSocket gateway.
    Ws(Ws),
    /// In the answer to hello.
    Hello(Hello),
    /// In the answers to batches.
    Ack(Ack),
    /// In the long-poll transport.
    LongPoll(LongPoll),
}

/// Faults of the TCP layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tcp {
    /// The connection is reset.
    Reset,
    /// Nothing listens.
    Refused,
    /// What the client sends is taken, and nothing is answered.
    HalfOpen,
    /// Nothing is read any more, and nothing answered.
    Stall,
    /// What the client sends arrives later.
    Latency(Duration),
    /// So many bytes a second pass, in each direction.
    Bandwidth(u32),
}

/// Faults of the TLS layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Another certificate is shown, or another way of TLS is spoken: what the profile of that word shows.
    Shows(Word),
}

/// Faults of the HTTP layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Http {
    /// The answer is this status: a proxy's at `request`, the brain's own at `poll` and `post`.
    Status {
        /// The status.
        code: http::StatusCode,
        /// Seconds of a Retry-After header.
        retry_after: Option<u32>,
        /// The brain's code for the refusal, such as `project_inactive`.
        error: Option<String>,
    },
}

/// Faults of the WebSocket gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ws {
    /// A proxy in between drops the header lines of the upgrade.
    UpgradeStripped,
    /// The protocol version is refused.
    ProtocolRefused,
    /// The session is closed.
    Close {
        /// The close code.
        code: u16,
        /// The reason's text.
        reason: String,
    },
    /// A signed `error` frame is sent.
    ErrorFrame {
        /// Its code.
        code: String,
        /// Whether it says that the session cannot go on.
        fatal: bool,
    },
    /// The brain's frame bears a wrong signature.
    BadSignature,
}

/// Faults in the answer to hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello {
    /// There is none, and the session stays open.
    NoAck,
}

/// Faults in the answers to batches, which are stored all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// There is none.
    Drop,
    /// It comes later, and so do those behind it.
    Late(Duration),
    /// It is for a batch that nobody sent.
    WrongId,
}

/// Faults of the long-poll transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongPoll {
    /// Of a request's frames only the first ones are taken.
    Partial(u32),
    /// Upgrades are refused on the way, and long-poll goes through.
    Only,
}

/// Where in a connection's life a fault strikes, in the order in which a connection gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// Before any connection: whether the socket listens.
    Listen,
    /// The connection was accepted.
    Accept,
    /// So many bytes were read from the client.
    AfterBytes,
    /// The TLS client hello was read.
    Handshake,
    /// The head of a request was read.
    Request,
    /// The request is a long-poll agent's for commands.
    Poll,
    /// The request is a long-poll agent's with frames.
    Post,
    /// The 101 was written.
    Upgrade,
    /// The hello was read.
    Hello,
    /// The hello_ack was written.
    HelloAck,
    /// A signed frame was read and verified; nothing has come of it yet.
    Frame,
    /// An event was looked at; its batch is stored and not acknowledged yet.
    Event,
    /// A batch is stored, and its acknowledgement is about to be sent.
    Ack,
    /// A command is about to be sent.
    Command,
}

impl Point {
    const ALL: [Self; 14] = [
        Self::Listen,
        Self::Accept,
        Self::AfterBytes,
        Self::Handshake,
        Self::Request,
        Self::Poll,
        Self::Post,
        Self::Upgrade,
        Self::Hello,
        Self::HelloAck,
        Self::Frame,
        Self::Event,
        Self::Ack,
        Self::Command,
    ];

    /// The word for it after `at`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::Accept => "accept",
            Self::AfterBytes => "after-bytes",
            Self::Handshake => "handshake",
            Self::Request => "request",
            Self::Poll => "poll",
            Self::Post => "post",
            Self::Upgrade => "upgrade",
            Self::Hello => "hello",
            Self::HelloAck => "hello-ack",
            Self::Frame => "frame",
            Self::Event => "event",
            Self::Ack => "ack",
            Self::Command => "command",
        }
    }

    /// Whether a number may follow the word: the how-manieth of a session, or of a connection's bytes.
    #[must_use]
    pub const fn is_numbered(self) -> bool {
        matches!(self, Self::AfterBytes | Self::Frame | Self::Event | Self::Ack | Self::Command)
    }
}

/// A fault with its selectors. Its text form is the grammar above; serde uses that text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FaultSpec {
    fault: Fault,
    at: Point,
    number: Option<NonZeroU64>,
    when: When,
    lasts: Option<Lasts>,
    chance: Option<Chance>,
    who: Option<Who>,
}

impl FaultSpec {
    /// A fault that strikes whenever a connection gets to the point.
    #[must_use]
    pub const fn new(fault: Fault, at: Point) -> Self {
        Self { fault, at, number: None, when: When::Always, lasts: None, chance: None, who: None }
    }

    /// What is broken.
    #[must_use]
    pub const fn fault(&self) -> &Fault {
        &self.fault
    }

    /// The fault's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.fault.name()
    }

    /// Where it strikes.
    #[must_use]
    pub const fn at(&self) -> Point {
        self.at
    }

    /// Which one of a session's frames, events or acks, or after how many bytes.
    #[must_use]
    pub const fn number(&self) -> Option<NonZeroU64> {
        self.number
    }

    /// Which arrivals at the point it strikes.
    #[must_use]
    pub const fn when(&self) -> When {
        self.when
    }

    /// When it ends.
    #[must_use]
    pub const fn lasts(&self) -> Option<Lasts> {
        self.lasts
    }

    /// Whom it strikes.
    #[must_use]
    pub const fn who(&self) -> Option<&Who> {
        self.who.as_ref()
    }

    /// How many arrivals at the point it is looked at; all of them if none.
    #[must_use]
    pub const fn first(&self) -> Option<NonZeroU32> {
        if let When::First(count) = self.when { Some(count) } else { None }
    }

    /// Whether only a brain with TLS can have it.
    #[must_use]
    pub const fn needs_tls(&self) -> bool {
        matches!(self.fault, Fault::Tls(_)) || matches!(self.at, Point::Handshake)
    }
}

impl FromStr for FaultSpec {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        parse::parse(text)
    }
}

impl TryFrom<String> for FaultSpec {
    type Error = FaultError;

    fn try_from(text: String) -> Result<Self, FaultError> {
        text.parse()
    }
}

impl From<FaultSpec> for String {
    fn from(spec: FaultSpec) -> Self {
        spec.to_string()
    }
}
