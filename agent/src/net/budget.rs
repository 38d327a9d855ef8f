//! How long to wait: each wait has a bound, and all of them together another.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

/// The time that a piece of work may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    each: Duration,
    end: Instant,
}

/// The time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeUp {
    /// Whether the time for everything ended before the wait had its own in full.
    pub(crate) cut: bool,
}

impl Budget {
    /// From now: `each` for one wait, `total` for all.
    pub(crate) fn new(each: Duration, total: Duration) -> Self {
        Self { each, end: Instant::now() + total }
    }

    /// How long the next wait may be.
    pub(crate) fn next_wait(&self) -> Duration {
        self.each.min(self.end.saturating_duration_since(Instant::now()))
    }

    /// The same end, with another bound for each wait.
    pub(crate) fn with_each(self, each: Duration) -> Self {
        Self { each, ..self }
    }

    /// Whether nothing is left.
    pub(crate) fn is_spent(&self) -> bool {
        self.next_wait().is_zero()
    }

    /// Waits for a future, within the bound.
    ///
    /// # Errors
    /// It did not finish in time.
    pub(crate) async fn bound<F: Future>(&self, future: F) -> Result<F::Output, TimeUp> {
        let wait = self.next_wait();
        let cut = wait < self.each;
        tokio::time::timeout(wait, future).await.map_err(|_| TimeUp { cut })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_that_the_end_cut_short_is_told_from_a_full_one() {
        let (each, total) = (Duration::from_millis(50), Duration::from_millis(80));
        let budget = Budget::new(each, total);
        let wait = || budget.bound(std::future::pending::<()>());
        assert_eq!(wait().await, Err(TimeUp { cut: false }));
        assert_eq!(wait().await, Err(TimeUp { cut: true }));
    }
}
