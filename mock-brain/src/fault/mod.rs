//! Faults as data: what can be broken, where, and how often.
//!
//! Owns the tree of faults and their text form. One grammar serves scenario files, `--fault`, the control
//! API and the library: `NAME[(key=value, …)] [at POINT] [first N | every K | after T] [for N|T] [p=X]
//! [who=…]`. Must not carry a fault out: each is carried out in the layer that can truly produce it (tcp in
//! the listener and the stream, tls in the choice of certificate, http and longpoll in the routes, the rest
//! in the gateway).
//!
//! Composition: at each point the faults are looked at in the order in which they were set, and the first
//! one of the layer that strikes wins; those that only shape a connection or a session (latency, bandwidth,
//! slices, limits, buffering, idle cuts …) go together, one of each name. Points come in the order of [`Point`].

pub mod catalog;
pub(crate) mod duration;
mod error;
mod parse;
mod point;
mod selector;
mod shape;
pub(crate) mod table;
mod text;
mod tree;

use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use error::FaultError;
pub use point::Point;
pub use selector::{Chance, Lasts, When, Who};
pub use tree::{Ack, BadFrame, Command, Direction, Fault, Hello, Http, LongPoll, Tcp, Tls, Ws};

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
