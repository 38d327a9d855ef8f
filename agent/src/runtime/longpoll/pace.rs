//! How fast requests may follow each other.
//!
//! Pure. The brain counts requests by address, 600 in 60 seconds, and answers 429 beyond that; a single agent
//! stays below by itself.

use std::time::Duration;

use tokio::time::Instant;

/// The distance that requests keep in the long run.
const DISTANCE: Duration = Duration::from_millis(111);
/// How many may come at once.
const BURST: u32 = 40;

/// The pace (the generic cell rate algorithm: when the next request would be due at an even pace).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    due: Option<Instant>,
}

impl Pace {
    /// When the next request may be made.
    pub(super) fn next(self) -> Option<Instant> {
        self.due.and_then(|due| due.checked_sub(DISTANCE * BURST))
    }

    /// A request is made.
    pub(super) fn took(&mut self, now: Instant) {
        self.due = Some(self.due.map_or(now, |due| due.max(now)) + DISTANCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_minute_has_more_than_the_brain_takes() {
        let (mut pace, start) = (Pace::default(), Instant::now() + Duration::from_secs(3600));
        let (mut now, mut requests) = (start, 0);
        while now < start + Duration::from_secs(60) {
            pace.took(now);
            requests += 1;
            now = pace.next().map_or(now, |next| next.max(now));
        }
        assert!((500..590).contains(&requests), "{requests}");
    }
}
