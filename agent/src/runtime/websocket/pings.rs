//! How often a WebSocket is pinged: more often where something on the way cuts connections that are quiet.
//!
//! Pure. A proxy that waits for 5 s (nginx: `proxy_read_timeout 5s`) would otherwise end every session between
//! two heartbeats. Must not send anything.

use std::time::Duration;

use super::super::silence::Silence;
use crate::net::Break;

/// How often, to begin with.
const FIRST: Duration = Duration::from_secs(20);

/// The pings of all sessions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pings {
    every: Duration,
    silence: Silence,
}

impl Default for Pings {
    fn default() -> Self {
        Self { every: FIRST, silence: Silence::default() }
    }
}

impl Pings {
    /// The interval.
    pub(super) const fn every(&self) -> Duration {
        self.every
    }

    /// A session ended without a close frame after so long a silence.
    pub(super) fn cut(&mut self, how: &Break, quiet: Duration) {
        let Some(limit) = self.silence.cut(how, quiet) else { return };
        if limit / 2 < self.every {
            self.every = limit / 2;
            tracing::info!(
                "connections are cut on the way after {:.0} s of silence: a ping every {:.1} s from now on",
                limit.as_secs_f64(),
                self.every.as_secs_f64()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_on_the_way_shortens_the_interval_for_good() {
        let mut pings = Pings::default();
        let mut cut = |seconds| {
            pings.cut(&Break::Closed, Duration::from_secs(seconds));
            pings.every().as_millis()
        };
        // A limit beyond the interval is not met; what follows is.
        assert_eq!(
            [cut(60), cut(60), cut(5), cut(5), cut(9), cut(9)],
            [20_000, 20_000, 20_000, 2_500, 2_500, 2_500]
        );
    }
}
