//! How large a request may be: learned from what passed and what did not.
//!
//! Pure. The real brain takes 8,192 bytes unless it is told otherwise, and answers 413 beyond its limit. What
//! is learned outlives the session, and a refusal is put to the test again after a while. Must not know what
//! the bytes are.

use std::time::Duration;

use tokio::time::Instant;

/// For how long a refusal is believed: limits are raised while agents run.
pub(super) const BELIEF: Duration = Duration::from_mins(10);
/// The size to begin with, in bytes of body.
const FIRST: usize = 8_192;
/// The size that is never left below.
pub(super) const SMALLEST: usize = 1_024;
/// The size that is never gone beyond on purpose.
const LARGEST: usize = 1 << 20;

/// What is known about sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    limit: usize,
    passed: usize,
    /// The smallest size that was refused, and when one was.
    refused: Option<(usize, Instant)>,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { limit: FIRST, passed: 0, refused: None }
    }
}

impl Sizes {
    /// How large the next body may be.
    pub(super) const fn limit(self) -> usize {
        self.limit
    }

    /// A body passed. Where more waited than it could hold, a new maximum raises the limit, once.
    pub(super) fn passed(&mut self, size: usize, more_waits: bool, now: Instant) {
        if self.refused.is_some_and(|(_, at)| now.duration_since(at) >= BELIEF) {
            (self.refused, self.passed) = (None, 0);
        }
        if size <= self.passed {
            return;
        }
        self.passed = size;
        self.refused = self.refused.filter(|(refused, _)| *refused > size);
        let grown = match self.refused {
            // Half the way to what is refused, until that is not worth a refusal any more.
            Some((refused, _)) if refused - size > size / 8 => size + (refused - size) / 2,
            Some(_) => size,
            None => size.saturating_mul(2),
        };
        let raised = if more_waits { grown.min(LARGEST) } else { 0 };
        self.limit = self.limit.max(raised).max(size.min(LARGEST));
        self.limit = self.refused.map_or(self.limit, |(refused, _)| self.limit.min(refused - 1));
    }

    /// A body was too much to be sent and answered in time. What passes once more may grow again.
    pub(super) fn slow(&mut self) {
        (self.limit, self.passed) = ((self.limit / 2).max(SMALLEST), 0);
    }

    /// A body was refused for its size.
    pub(super) fn refused(&mut self, size: usize, now: Instant) {
        if size <= self.passed {
            // The brain's limit has come down.
            self.passed = 0;
        }
        self.refused = Some((self.refused.map_or(size, |(refused, _)| refused.min(size)), now));
        self.limit = self.limit.min((size / 2).max(self.passed)).max(SMALLEST);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sends as much as the limit lets, `rounds` times, to a brain with a cap; how often it was refused.
    fn send(sizes: &mut Sizes, cap: usize, rounds: usize) -> usize {
        let mut refusals = 0;
        for _ in 0..rounds {
            let size = sizes.limit();
            if size <= cap {
                sizes.passed(size, true, Instant::now());
            } else {
                sizes.refused(size, Instant::now());
                refusals += 1;
            }
        }
        refusals
    }

    #[test]
    fn the_real_brains_limit_is_found_and_kept() {
        let mut sizes = Sizes::default();
        assert_eq!(sizes.limit(), 8_192);
        let refusals = send(&mut sizes, 8_192, 100);
        assert!(refusals <= 5, "{refusals}");
        assert!(sizes.limit() >= 8_192 * 8 / 9, "{sizes:?}");
        assert_eq!(send(&mut sizes, 8_192, 100), 0);
    }

    #[test]
    fn a_generous_brain_is_given_more_and_never_the_maximum_at_once() {
        let mut sizes = Sizes::default();
        sizes.passed(8_000, true, Instant::now());
        assert_eq!(sizes.limit(), 16_000);
        sizes.passed(8_000, true, Instant::now());
        assert_eq!(sizes.limit(), 16_000);
        assert_eq!(send(&mut sizes, usize::MAX, 20), 0);
        assert_eq!(sizes.limit(), LARGEST);
    }

    #[test]
    fn what_fits_with_room_to_spare_raises_nothing() {
        let mut sizes = Sizes::default();
        sizes.passed(600, false, Instant::now());
        sizes.passed(7_000, false, Instant::now());
        assert_eq!(sizes.limit(), 8_192);
    }

    #[test]
    fn a_slow_way_is_given_less_until_it_is_fast_again() {
        let mut sizes = Sizes::default();
        send(&mut sizes, usize::MAX, 20);
        for _ in 0..4 {
            sizes.slow();
        }
        assert_eq!(sizes.limit(), LARGEST >> 4);
        sizes.passed(LARGEST >> 4, true, Instant::now());
        assert_eq!(sizes.limit(), LARGEST >> 3);
    }

    #[test]
    fn a_limit_that_was_raised_is_found_without_a_restart() {
        let mut sizes = Sizes::default();
        send(&mut sizes, 1_500, 20);
        let (low, later) = (sizes.limit(), Instant::now() + BELIEF);
        sizes.passed(low, true, Instant::now());
        assert_eq!(sizes.limit(), low);
        sizes.passed(low, true, later);
        assert_eq!(sizes.limit(), 2 * low);
        sizes.refused(2 * low, later);
        assert_eq!(sizes.limit(), low, "one refusal is what the trial costs");
        sizes.passed(low, true, later);
        assert_eq!(sizes.limit(), low);
        sizes.passed(low, true, later + BELIEF);
        assert_eq!(send(&mut sizes, usize::MAX, 20), 0);
        assert_eq!(sizes.limit(), LARGEST);
    }

    proptest! {
        #[test]
        fn a_cap_is_found_and_a_lower_one_too(first in 2_048_usize..2_000_000, second in 2_048_usize..2_000_000) {
            let mut sizes = Sizes::default();
            for cap in [first, second.min(first)] {
                let refusals = send(&mut sizes, cap, 60);
                prop_assert!(refusals <= 16, "{refusals} {sizes:?}");
                prop_assert_eq!(send(&mut sizes, cap, 60), 0);
                prop_assert!(sizes.limit() >= cap.min(LARGEST) / 3, "{:?} {}", sizes, cap);
            }
        }
    }
}
