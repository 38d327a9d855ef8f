//! Time as a value: who needs to know what time it is takes a [`Clock`].

use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use z4j_protocol::Timestamp;

/// Tells the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(fn() -> Timestamp);

impl Clock {
    /// The clock of this machine.
    pub(crate) const fn system() -> Self {
        Self(system_now)
    }

    /// A clock that a test winds.
    #[cfg(test)]
    pub(crate) const fn of(now: fn() -> Timestamp) -> Self {
        Self(now)
    }

    /// What time it is.
    pub(crate) fn now(self) -> Timestamp {
        (self.0)()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where the wall clock enters")]
fn system_now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// Certificates are judged by the same clock as signatures.
impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.now().unix_seconds()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}
