//! After what silence connections are cut on the way, as far as two cuts that are alike can tell.
//!
//! Pure. A brain that crashes cuts a connection as well, but after some other silence each time.

use std::time::Duration;

use crate::net::Break;

/// A connection that was cut sooner than this was not cut for being quiet.
const SHORTEST: Duration = Duration::from_secs(1);

/// The silence that ended in the last cut.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Silence(Option<Duration>);

impl Silence {
    /// A connection ended after so long a silence: the silence that is allowed, if that is known now.
    pub(super) fn cut(&mut self, how: &Break, quiet: Duration) -> Option<Duration> {
        let is_cut = matches!(how, Break::Closed | Break::Reset) && quiet >= SHORTEST;
        let before = std::mem::replace(&mut self.0, is_cut.then_some(quiet))?;
        let is_alike = before.abs_diff(quiet) <= before.min(quiet) / 8;
        (is_cut && is_alike).then(|| before.min(quiet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cuts_that_are_alike_are_a_limit() {
        let rows: [(&[u64], Option<u64>); 5] = [
            (&[5_000], None),
            (&[5_100, 5_000], Some(5_000)),
            // By chance: a brain that crashes now and then.
            (&[3_000, 11_000, 7_000], None),
            (&[5_000, 100, 5_000], None),
            (&[100, 100], None),
        ];
        for (silences, limit) in rows {
            let mut silence = Silence::default();
            let cuts =
                silences.iter().map(|quiet| silence.cut(&Break::Closed, Duration::from_millis(*quiet)));
            assert_eq!(cuts.last().flatten(), limit.map(Duration::from_millis), "{silences:?}");
        }
        let mut silence = Silence::default();
        for _ in 0..2 {
            assert_eq!(silence.cut(&Break::TimedOut, Duration::from_secs(9)), None);
        }
    }
}
