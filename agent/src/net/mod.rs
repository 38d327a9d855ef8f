//! Connections: names, TCP, TLS and HTTP, for the agent and for its doctor alike.
//!
//! Owns how a connection is made and the exact way in which that failed, as values. It must not word a
//! failure for people, or know about frames.

pub(crate) mod budget;
pub(crate) mod certificate;
pub(crate) mod dns;
pub(crate) mod exchange;
pub(crate) mod http;
pub(crate) mod proxy;
pub(crate) mod roots;
pub(crate) mod route;
pub(crate) mod tap;
pub(crate) mod tcp;
pub(crate) mod tls;

use std::io;

use rustls::AlertDescription;

use budget::TimeUp;

/// How an established connection ended when it should not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// The peer (or something on the way) reset it.
    Reset,
    /// The peer closed it.
    Closed,
    /// The peer sent a TLS alert.
    Alert(AlertDescription),
    /// The time was up.
    TimedOut,
    /// The time for everything was up before this wait had its own in full.
    OutOfTime,
    /// Anything else.
    Other(String),
}

impl Break {
    /// Reads an I/O error.
    pub(crate) fn from_io(error: &io::Error) -> Self {
        if let Some(rustls::Error::AlertReceived(alert)) = rustls_error(error) {
            return Self::Alert(*alert);
        }
        match error.kind() {
            // EPIPE is what a write meets after the reset was seen.
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                Self::Reset
            }
            io::ErrorKind::UnexpectedEof => Self::Closed,
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Other(error.to_string()),
        }
    }
}

impl From<TimeUp> for Break {
    fn from(up: TimeUp) -> Self {
        if up.cut { Self::OutOfTime } else { Self::TimedOut }
    }
}

impl std::fmt::Display for Break {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reset => f.write_str("the connection was reset"),
            Self::Closed => f.write_str("the connection was closed"),
            Self::Alert(alert) => write!(f, "the peer sent the TLS alert {alert:?}"),
            Self::TimedOut => f.write_str("no answer came in time"),
            Self::OutOfTime => f.write_str("the time for the whole run was up"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// The TLS error inside an I/O error.
pub(crate) fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
