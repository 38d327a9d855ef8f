//! How long to wait after a failure: each class has its own schedule (reference-agent.md, 2).
//!
//! Pure: the random part is passed in. Owns the streaks as well, since the n-th failure of a streak waits the
//! n-th time. Must not know when a streak ends.

use std::time::Duration;

use crate::status::{FailureClass, Streaks};
use crate::transport::random_bytes;

/// The random part of a wait, as a share of the rest.
const JITTER: f64 = 0.3;

/// The failures so far, class by class.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    streaks: Streaks,
}

/// The first wait of a class and its longest, in seconds; each is twice the one before.
const fn schedule(class: FailureClass) -> (u64, u64) {
    match class {
        FailureClass::Connection => (1, 30),
        FailureClass::Protocol => (1, 60),
        FailureClass::Auth => (10, 600),
        FailureClass::Incompatible => (120, 3_600),
    }
}

impl Backoff {
    /// Another failure: how many of its class there are now, and how long to wait. `share` is 0..1.
    pub(super) fn fail(&mut self, class: FailureClass, share: f64) -> (u64, Duration) {
        let streak = self.streak(class);
        *streak += 1;
        let (first, longest) = schedule(class);
        let doublings = u32::try_from(*streak - 1).unwrap_or(u32::MAX).min(16);
        let base = Duration::from_secs((first << doublings).min(longest));
        (*streak, base.mul_f64(1.0 + JITTER * share.clamp(0.0, 1.0)))
    }

    /// A session has proved itself. How many failures there were.
    pub(super) fn reset(&mut self) -> u64 {
        let Streaks { connection, protocol, auth, incompatible } = std::mem::take(&mut self.streaks);
        connection + protocol + auth + incompatible
    }

    /// How many failures of each class there are.
    pub(super) const fn streaks(&self) -> Streaks {
        self.streaks
    }

    const fn streak(&mut self, class: FailureClass) -> &mut u64 {
        match class {
            FailureClass::Connection => &mut self.streaks.connection,
            FailureClass::Protocol => &mut self.streaks.protocol,
            FailureClass::Auth => &mut self.streaks.auth,
            FailureClass::Incompatible => &mut self.streaks.incompatible,
        }
    }
}

/// A share for [`Backoff::fail`]: agents that lost the same brain must not all come back at once.
pub(super) fn random() -> f64 {
    let [a, b, c, d, ..] = random_bytes();
    f64::from(u32::from_ne_bytes([a, b, c, d])) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_schedule() {
        let rows: [(FailureClass, &[u64]); 4] = [
            (FailureClass::Connection, &[1, 2, 4, 8, 16, 30, 30]),
            (FailureClass::Protocol, &[1, 2, 4, 8, 16, 32, 60, 60]),
            (FailureClass::Auth, &[10, 20, 40, 80, 160, 320, 600, 600]),
            (FailureClass::Incompatible, &[120, 240, 480, 960, 1920, 3600, 3600]),
        ];
        // One back-off for all: only the class that fails advances.
        let mut backoff = Backoff::default();
        for (class, waits) in rows {
            for (index, seconds) in waits.iter().enumerate() {
                let nth = index as u64 + 1;
                assert_eq!(backoff.fail(class, 0.0), (nth, Duration::from_secs(*seconds)), "{class:?} {nth}");
            }
        }
        assert_eq!(backoff.reset(), 7 + 8 + 8 + 7);
        assert_eq!(backoff.streaks(), Streaks::default());
        assert_eq!(backoff.fail(FailureClass::Auth, 0.0).1, Duration::from_secs(10));
    }

    #[test]
    fn a_wait_is_longer_by_up_to_three_tenths() {
        let wait = |share| Backoff::default().fail(FailureClass::Auth, share).1;
        assert_eq!(wait(1.0), Duration::from_secs(13));
        assert_eq!(wait(7.0), Duration::from_secs(13));
        assert!((0.0..=1.0).contains(&random()));
    }

    #[test]
    fn a_streak_of_years_still_waits_the_longest() {
        let mut backoff = Backoff { streaks: Streaks { connection: u64::MAX - 1, ..Streaks::default() } };
        assert_eq!(backoff.fail(FailureClass::Connection, 0.0).1, Duration::from_secs(30));
    }
}
