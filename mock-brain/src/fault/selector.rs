//! Selectors: which arrivals at its point a fault strikes, for how long, with what probability, and whom.
//!
//! Owns their meaning and their text. Counted comes before random: `first`, `every` and `after` choose among
//! the arrivals, then `p` decides; `for N` counts strikes.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::{Point, duration};

/// A probability, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chance(u32);

const MILLION: u32 = 1_000_000;

impl Chance {
    /// Reads `0.25`; above 0 and up to 1.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || fraction.len() > 6 || !digits(whole) || !digits(fraction) {
            return None;
        }
        let millionths: u32 = format!("{fraction:0<6}").parse().ok()?;
        let chance = whole.parse::<u32>().ok()?.checked_mul(MILLION)?.checked_add(millionths)?;
        (1..=MILLION).contains(&chance).then_some(Self(chance))
    }

    /// Whether it comes true for a random number.
    pub(super) const fn comes_true(self, random: u64) -> bool {
        random % (MILLION as u64) < self.0 as u64
    }
}

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            MILLION => f.write_str("1"),
            part => write!(f, "0.{}", format!("{part:06}").trim_end_matches('0')),
        }
    }
}

/// Which arrivals at the point count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// All.
    Always,
    /// The first ones; then the fault is spent.
    First(NonZeroU32),
    /// Every so-manieth one.
    Every(NonZeroU32),
    /// Those that come so long after the fault was set.
    After(Duration),
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => Ok(()),
            Self::First(count) => write!(f, " first {count}"),
            Self::Every(count) => write!(f, " every {count}"),
            Self::After(time) => write!(f, " after {}", duration::text(*time)),
        }
    }
}

/// When a fault is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// After so many strikes.
    Times(NonZeroU32),
    /// So long after it was set, or after `after`.
    Time(Duration),
}

impl fmt::Display for Lasts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(count) => count.fmt(f),
            Self::Time(time) => f.write_str(&duration::text(*time)),
        }
    }
}

/// Whom a fault strikes; others pass by, and are not counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Agents of a name; the one of `PROJECT/NAME` or of a UUID.
    Agent(String),
    /// A worker, by the id in its hello.
    Worker(String),
    /// What came with a token, by its fingerprint: at least the first eight hexadecimal digits of its SHA-256.
    /// The token itself would be a secret in lists and logs.
    Token(String),
    /// Agents of a project, by its slug.
    Project(String),
    /// Connections from an address.
    Address(IpAddr),
}

/// How many digits of a SHA-256 name a token.
const FINGERPRINT: std::ops::RangeInclusive<usize> = 8..=64;

impl Who {
    /// Reads `agent:NAME`, `token:FINGERPRINT`, `worker:ID`, `project:SLUG`, `address:IP`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (kind, value) = text.split_once(':').filter(|(_, value)| !value.is_empty())?;
        Some(match kind {
            "agent" => Self::Agent(value.to_owned()),
            "token" => {
                let is_fingerprint = FINGERPRINT.contains(&value.len())
                    && value.bytes().all(|digit| digit.is_ascii_hexdigit());
                is_fingerprint.then(|| Self::Token(value.to_ascii_lowercase()))?
            }
            "worker" => Self::Worker(value.to_owned()),
            "project" => Self::Project(value.to_owned()),
            "address" => Self::Address(value.parse().ok()?),
            _ => return None,
        })
    }

    /// The first point at which it is known: the address from the start, the agent with the request's
    /// token, the worker with the hello.
    pub(super) const fn known_from(&self) -> Point {
        match self {
            Self::Address(_) => Point::Accept,
            Self::Agent(_) | Self::Token(_) | Self::Project(_) => Point::Request,
            Self::Worker(_) => Point::Hello,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(name) => write!(f, "agent:{name}"),
            Self::Token(fingerprint) => write!(f, "token:{fingerprint}"),
            Self::Worker(id) => write!(f, "worker:{id}"),
            Self::Project(slug) => write!(f, "project:{slug}"),
            Self::Address(address) => write!(f, "address:{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances() {
        for (text, written) in
            [("0.5", "0.5"), ("1", "1"), ("1.0", "1"), ("0.000001", "0.000001"), ("0.250", "0.25")]
        {
            assert_eq!(Chance::parse(text).unwrap().to_string(), written);
        }
        for bad in ["0", "0.0", "1.1", "2", "-0.5", ".5", "x", "", "0.1234567", "99999999999"] {
            assert_eq!(Chance::parse(bad), None, "{bad}");
        }
        let half = Chance::parse("0.5").unwrap();
        assert!(half.comes_true(499_999) && !half.comes_true(500_000) && half.comes_true(1_000_000));
    }
}
