//! What faults make of a login: the moment at which a token was looked at, on either transport.
//!
//! Owns their meaning. How a refusal is said is the transport's.

use crate::fault::{Fault, Ws};

/// What a fault makes of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// The token is not known.
    Rejected,
    /// The token is another project's.
    OtherProject,
    /// The address is not on the list.
    AddressRefused,
    /// There were too many.
    RateLimited,
    /// The brain signs and verifies with another secret.
    OtherSecret,
    /// The brain's clock is ahead by so many seconds, or behind.
    Skewed(i32),
}

impl Login {
    /// Of a fault, if it is one.
    pub(crate) const fn of(fault: &Fault) -> Option<Self> {
        Some(match fault {
            Fault::Ws(Ws::TokenRejected) => Self::Rejected,
            Fault::Ws(Ws::ProjectMismatch) => Self::OtherProject,
            Fault::Ws(Ws::AddressRefused) => Self::AddressRefused,
            Fault::Ws(Ws::RateLimited) => Self::RateLimited,
            Fault::Ws(Ws::HmacMismatch) => Self::OtherSecret,
            Fault::Ws(Ws::ClockSkew(seconds)) => Self::Skewed(*seconds),
            _ => return None,
        })
    }

    /// How far it has the brain's clock ahead, in seconds.
    pub(crate) fn ahead(self) -> i64 {
        if let Self::Skewed(seconds) = self { seconds.into() } else { 0 }
    }

    /// Whether it has the brain verify with another secret or time: what it refuses then may be good.
    pub(crate) const fn misreads(self) -> bool {
        matches!(self, Self::OtherSecret | Self::Skewed(_))
    }
}
