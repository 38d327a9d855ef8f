//! Which release of the real brain is spoken as.
//!
//! Owns what differs between releases on the wire. The facts are those of the published z4j-core packages,
//! whose older verifiers sign what their models hold: a member that they do not know breaks the signature.

use std::fmt;
use std::str::FromStr;

/// The newest release that is emulated; `BRAIN_VERSION` is its text.
const NEWEST_MINOR: u8 = 13;
/// From this release on a signature is bound to the session.
const SESSION_BOUND: u8 = 1;
/// From this release on an acknowledgement names its batch.
const ACKED_ID: u8 = 5;
/// From this release on a command bears `delivery_claim_token`.
const CLAIM_TOKEN: u8 = 8;

/// A release of the real brain, 1.0 to 1.13.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    minor: u8,
    patch: u8,
}

impl Release {
    /// The newest one.
    pub const NEWEST: Self = Self { minor: NEWEST_MINOR, patch: 0 };

    /// Whether signatures are bound to the session (or the session nonce); else there is none in what is signed,
    /// or an empty text in its place.
    pub(crate) const fn binds_session(self) -> bool {
        self.minor >= SESSION_BOUND
    }

    /// Whether `event_batch_ack` has `acked_id`.
    pub(crate) const fn has_acked_id(self) -> bool {
        self.minor >= ACKED_ID
    }

    /// Whether a command has `delivery_claim_token`.
    pub(crate) const fn has_claim_token(self) -> bool {
        self.minor >= CLAIM_TOKEN
    }
}

impl Default for Release {
    fn default() -> Self {
        Self::NEWEST
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}.{}", self.minor, self.patch)
    }
}

/// A text that is no release which is emulated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("1.0 to 1.13 are emulated, and 1.13.0 without a version")]
pub struct UnknownRelease;

impl FromStr for Release {
    type Err = UnknownRelease;

    /// `1.4` or `1.4.2`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let number = |part: &str| digits(part).then(|| part.parse().ok()).flatten().ok_or(UnknownRelease);
        let (minor, patch) = match text.split('.').collect::<Vec<_>>()[..] {
            ["1", minor] => (number(minor)?, 0),
            ["1", minor, patch] => (number(minor)?, number(patch)?),
            _ => return Err(UnknownRelease),
        };
        if minor > NEWEST_MINOR { Err(UnknownRelease) } else { Ok(Self { minor, patch }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_one_text() {
        for (text, shown) in [("1.0", "1.0.0"), ("1.4", "1.4.0"), ("1.3.1", "1.3.1"), ("1.13", "1.13.0")] {
            assert_eq!(text.parse::<Release>().map(|release| release.to_string()), Ok(shown.to_owned()));
        }
        for bad in ["", "1", "2.0", "1.14", "1.x", "1.3.1.0", "1.+3", "1.999", "v1.3", "1.3 "] {
            assert_eq!(bad.parse::<Release>(), Err(UnknownRelease), "{bad}");
        }
        assert_eq!(Release::NEWEST.to_string(), crate::BRAIN_VERSION);
    }

    #[test]
    fn what_each_release_has() {
        let has = |text: &str| {
            let release: Release = text.parse().unwrap();
            (release.binds_session(), release.has_acked_id(), release.has_claim_token())
        };
        assert_eq!(has("1.0"), (false, false, false));
        assert_eq!(has("1.1"), (true, false, false));
        assert_eq!(has("1.4.0"), (true, false, false));
        assert_eq!(has("1.5"), (true, true, false));
        assert_eq!(has("1.8"), (true, true, true));
        assert_eq!(has("1.13"), (true, true, true));
    }
}
