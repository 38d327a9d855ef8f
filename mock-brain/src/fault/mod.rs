//! Faults as data: what can be broken, where, and how often.
//!
//! Owns the tree of faults and their text form. One grammar serves scenario files, `--fault`, the control
//! API and the library: `NAME[(key=value, …)] [at POINT] [first N]`. Must not carry a fault out: each is
//! carried out in the layer that can truly produce it (tcp in the listener and the stream, tls in the choice
//! of certificate, http in the routes, ws in the gateway).
//!
//! Composition: at each point the faults are looked at in the order in which they were set, and the first
//! one of the layer that still counts wins. Points come in the order of [`Point`].

pub mod catalog;
pub(crate) mod duration;
mod error;
mod parse;
pub(crate) mod table;

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use error::FaultError;

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
}

/// Faults of the TCP layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tcp {
    /// The connection is reset.
    Reset,
    /// Nothing listens.
    Refused,
}

/// Faults in the certificate that the server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tls {
    /// Its validity is over.
    Expired,
    /// Its validity has not begun.
    NotYetValid,
    /// It names other hosts.
    HostnameMismatch,
    /// It signs itself.
    SelfSigned,
    /// Its CA is another one.
    UntrustedCa,
    /// The chain lacks the intermediate.
    MissingIntermediate,
}

/// Faults of the HTTP layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    /// A proxy answers every request, upgrades too, with this status.
    Status(http::StatusCode),
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
}

/// Where in a connection's life a fault strikes, in the order in which a connection gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// Before any connection: whether the socket listens.
    Listen,
    /// The connection was accepted.
    Accept,
    /// The TLS client hello was read.
    Handshake,
    /// A request was read.
    Request,
    /// The 101 was written.
    Upgrade,
    /// The hello was read.
    Hello,
    /// The hello_ack was written.
    HelloAck,
}

impl Point {
    const ALL: [Self; 7] = [
        Self::Listen,
        Self::Accept,
        Self::Handshake,
        Self::Request,
        Self::Upgrade,
        Self::Hello,
        Self::HelloAck,
    ];

    /// The word for it after `at`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::Accept => "accept",
            Self::Handshake => "handshake",
            Self::Request => "request",
            Self::Upgrade => "upgrade",
            Self::Hello => "hello",
            Self::HelloAck => "hello-ack",
        }
    }
}

impl Tls {
    /// The fault's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "tls.expired",
            Self::NotYetValid => "tls.not-yet-valid",
            Self::HostnameMismatch => "tls.hostname-mismatch",
            Self::SelfSigned => "tls.self-signed",
            Self::UntrustedCa => "tls.untrusted-ca",
            Self::MissingIntermediate => "tls.missing-intermediate",
        }
    }
}

impl Fault {
    /// The fault's name: the doctor's code for it, where there is one.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Tcp(Tcp::Reset) => "tcp.reset",
            Self::Tcp(Tcp::Refused) => "tcp.refused",
            Self::Tls(fault) => fault.name(),
            Self::Http(Http::Status(_)) => "http.status",
            Self::Ws(Ws::UpgradeStripped) => "ws.upgrade-stripped",
            Self::Ws(Ws::ProtocolRefused) => "ws.protocol-refused",
            Self::Ws(Ws::Close { .. }) => "ws.close",
        }
    }

    fn write_parameters(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(Http::Status(status)) => write!(f, "(code={})", status.as_u16()),
            Self::Ws(Ws::Close { code, reason }) if reason.is_empty() => write!(f, "(code={code})"),
            Self::Ws(Ws::Close { code, reason }) => {
                let reason = reason.replace('\\', "\\\\").replace('"', "\\\"");
                write!(f, "(code={code}, reason=\"{reason}\")")
            }
            _ => Ok(()),
        }
    }
}

/// A fault with its selectors. Its text form is the grammar above; serde uses that text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FaultSpec {
    fault: Fault,
    at: Point,
    first: Option<NonZeroU32>,
}

impl FaultSpec {
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

    /// How many connections that get to the point it strikes; all of them if none.
    #[must_use]
    pub const fn first(&self) -> Option<NonZeroU32> {
        self.first
    }

    /// Whether only a brain with TLS can have it.
    #[must_use]
    pub const fn needs_tls(&self) -> bool {
        matches!(self.fault, Fault::Tls(_))
    }
}

impl fmt::Display for FaultSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        self.fault.write_parameters(f)?;
        if Some(self.at) != catalog::find(self.name()).map(|entry| entry.points[0]) {
            write!(f, " at {}", self.at.as_str())?;
        }
        match self.first {
            Some(count) => write!(f, " first {count}"),
            None => Ok(()),
        }
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
