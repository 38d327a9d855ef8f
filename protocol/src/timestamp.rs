//! A point in time as frames carry it.
//!
//! Owns the number and its text. It must not read a clock: callers convert theirs.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::iso8601;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Why a text is no point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// Not one of the ISO 8601 forms that Python's `datetime.fromisoformat` reads.
    #[error("not an ISO 8601 date and time")]
    Invalid,
    /// Without `Z` or an offset.
    #[error("the time has no zone")]
    Naive,
}

impl Timestamp {
    /// From microseconds since the epoch.
    #[must_use]
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn unix_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Reads ISO 8601 text that says its zone.
    ///
    /// # Errors
    /// The text is no such time, or has no zone.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        let (local, offset) = iso8601::parse(text).ok_or(TimestampError::Invalid)?;
        Ok(Self(local - offset.ok_or(TimestampError::Naive)?))
    }

    /// Reads ISO 8601 text, taking a time without zone as UTC (as the brain does with `occurred_at`).
    ///
    /// # Errors
    /// The text is no such time.
    pub fn parse_or_utc(text: &str) -> Result<Self, TimestampError> {
        let (local, offset) = iso8601::parse(text).ok_or(TimestampError::Invalid)?;
        Ok(Self(local - offset.unwrap_or(0)))
    }

    /// Microseconds from `other` to this point; negative if this one is earlier.
    #[must_use]
    pub const fn micros_since(self, other: Self) -> i64 {
        self.0.saturating_sub(other.0)
    }

    /// This point moved by whole seconds.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(micros(after)),
            Err(before) => Self(-micros(before.duration())),
        }
    }
}

impl fmt::Display for Timestamp {
    /// UTC with `Z`; microseconds are left out when they are zero, as the reference does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.unix_seconds();
        let (year, month, day) = iso8601::civil_from_days(seconds.div_euclid(86_400));
        let of_day = seconds.rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match self.0.rem_euclid(1_000_000) {
            0 => f.write_str("Z"),
            micros => write!(f, ".{micros:06}Z"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() -> Result<(), TimestampError> {
        for text in [
            "1970-01-01T00:00:00Z",
            "2026-05-01T12:00:00.000001Z",
            "2024-02-29T23:59:59.999999Z",
            "1969-12-31T23:59:59.500000Z",
            "9999-12-31T23:59:59Z",
        ] {
            assert_eq!(Timestamp::parse(text)?.to_string(), text);
        }
        Ok(())
    }

    #[test]
    fn reads_what_pythons_fromisoformat_reads() {
        let noon = Timestamp::parse("2026-05-01T12:00:00Z");
        assert!(noon.is_ok());
        let same = [
            "2026-05-01 12:00:00Z",
            "20260501T120000Z",
            "2026-05-01T12:00Z",
            "2026-05-01T12Z",
            "2026-W18-5T12:00:00Z",
            "2026W185T12:00:00Z",
            "2026-05-01T14:00:00+02:00",
            "2026-05-01T14:00:00+0200",
            "2026-05-01T14:00+02",
            "2026-05-01T12:00:00-00:00",
            "2026-05-01T12:00:00,000000Z",
            "2026-05-01T12:00:00.0000009Z",
            "2026-05-01T12:00:05.5+00:00:05.5",
            "2026-05-01x12:00:00Z",
        ];
        for text in same {
            assert_eq!(Timestamp::parse(text), noon, "{text}");
        }
    }

    #[test]
    fn refuses_what_python_refuses() {
        let refused = [
            "",
            "yesterday",
            "2026-05-01T12:00:00z",
            "2026-05-01T24:00:00Z",
            "2026-05-01T12:60:00Z",
            "2026-02-30T00:00:00Z",
            "2026-121T12:00:00Z",
            "2026-05-01T12:00:60Z",
            "2026-05-01T12:00:00+24:00",
            "0000-01-01T00:00:00Z",
            "2026-05-01T12:0000Z",
            "2026-05-01T12:00:00Z ",
            "2026-W54-1T00:00:00Z",
            "2026-W18-8T00:00:00Z",
            "2026-05-01T12:00:00.Z",
        ];
        for text in refused {
            assert_eq!(Timestamp::parse(text), Err(TimestampError::Invalid), "{text}");
        }
        assert_eq!(Timestamp::parse("2026-05-01T12:00:00"), Err(TimestampError::Naive));
        assert_eq!(Timestamp::parse("2026-05-01"), Err(TimestampError::Naive));
    }
}
