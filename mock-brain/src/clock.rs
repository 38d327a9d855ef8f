//! The one place that reads the wall clock. Rules that depend on time get a [`Timestamp`] passed in.

use std::time::SystemTime;

use z4j_protocol::Timestamp;

/// The time now.
#[expect(clippy::disallowed_methods, reason = "the clock is read here and nowhere else")]
pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
