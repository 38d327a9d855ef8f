//! How much may be on the way at once: learned from how long acks take.
//!
//! Pure. A frame bears the time at which it was signed, and a brain refuses one that it reads more than 60 s
//! later (protocol.md, Signing). It reads one frame after the other, and the published one stores some 100
//! events a second: eight full batches would keep the last of them, and the heartbeats behind it, waiting for
//! about that long. A slow link does the same. Must not know frames.

use std::time::Duration;

use crate::buffer::Limit;

/// Most batches without an ack.
const MAX_BATCHES: usize = 8;
/// Most events of a batch.
pub(super) const MAX_EVENTS: usize = 500;
/// The level at which one full batch is on the way. Each level is twice the one before.
const FULL_BATCH: u32 = 5;
/// The level with which a link begins.
const FIRST: u32 = FULL_BATCH - 2;
/// The last level: as many full batches as there may be.
const LAST: u32 = FULL_BATCH + 3;
/// An ack within this time lets more go.
const FAST: Duration = Duration::from_secs(1);
/// An ack beyond this time lets less go.
const SLOW: Duration = Duration::from_secs(5);

/// An amount of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// In so many batches.
    pub(super) batches: usize,
    /// So many.
    pub(super) events: usize,
    /// Of so many bytes.
    pub(super) bytes: usize,
}

/// What may be on the way; it outlives a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    level: u32,
    /// The bytes of a full batch.
    batch_bytes: usize,
    /// Batches up to this one were sent before the level last changed, and tell nothing of it.
    changed_at: u64,
    /// Whether this session has sent events, and whether any were acked.
    sent: bool,
    acked: bool,
}

impl Default for Flow {
    fn default() -> Self {
        Self { level: FIRST, batch_bytes: 0, changed_at: 0, sent: false, acked: false }
    }
}

impl Flow {
    /// A session begins, whose batches may have so many bytes. Less goes at first than went in one that ended
    /// before any ack.
    pub(super) fn begin(&mut self, batch_bytes: usize) {
        let in_vain = u32::from(self.sent && !self.acked);
        *self = Self { level: self.level.min(FIRST).saturating_sub(in_vain), batch_bytes, ..Self::default() };
    }

    /// How much may go into one batch.
    pub(super) fn limit(&self) -> Limit {
        let (events, bytes) = self.most();
        Limit { events: events.min(MAX_EVENTS), bytes: bytes.min(self.batch_bytes) }
    }

    /// Whether another batch of so many events and bytes may be sent.
    pub(super) fn has_room(&self, waiting: Load, events: usize, bytes: usize) -> bool {
        let (most_events, most_bytes) = self.most();
        let fits = waiting.events + events <= most_events && waiting.bytes + bytes <= most_bytes;
        waiting.batches == 0 || waiting.batches < MAX_BATCHES && fits
    }

    /// Whether a batch without events may be sent.
    pub(super) const fn has_place(waiting: Load) -> bool {
        waiting.batches < MAX_BATCHES
    }

    /// Events were sent.
    pub(super) fn sent(&mut self) {
        self.sent = true;
    }

    /// The batch of this ordinal was acked after so long. `waiting` was on the way, itself included; so many
    /// batches were sent so far.
    pub(super) fn acked(&mut self, ordinal: u64, took: Duration, waiting: Load, sent: u64) {
        self.acked = true;
        if ordinal <= self.changed_at {
            return;
        }
        // What is acked fast while there is little to send tells nothing about more.
        let (events, bytes) = self.most();
        let is_used = waiting.events * 2 >= events || waiting.bytes * 2 >= bytes;
        let level = match took {
            took if took < FAST && is_used => (self.level + 1).min(LAST),
            took if took > SLOW => self.level.saturating_sub(1),
            _ => self.level,
        };
        if level != self.level {
            (self.level, self.changed_at) = (level, sent);
        }
    }

    /// Most events and bytes on the way.
    fn most(&self) -> (usize, usize) {
        let scaled = |full: usize| (full << self.level) >> FULL_BATCH;
        (scaled(MAX_EVENTS), scaled(self.batch_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(3);
    const FULL: Load = Load { batches: 8, events: 4_000, bytes: 8 << 20 };

    /// Acks batch after batch, each after so long; how many events may be on the way then.
    fn after(flow: &mut Flow, acks: u64, took: Duration) -> usize {
        flow.sent();
        for ordinal in flow.changed_at + 1..=flow.changed_at + acks {
            flow.acked(ordinal, took, FULL, ordinal);
        }
        flow.most().0
    }

    fn flow() -> Flow {
        let mut flow = Flow::default();
        flow.begin(1 << 20);
        flow
    }

    #[test]
    fn a_fast_brain_soon_gets_all_and_a_slow_one_little() {
        let mut flow = flow();
        assert_eq!(flow.most(), (125, 1 << 18));
        assert_eq!(after(&mut flow, 1, QUICK), 250);
        assert_eq!(after(&mut flow, 10, QUICK), 4_000);
        assert_eq!((flow.limit().events, flow.limit().bytes), (500, 1 << 20));
        // What is neither fast nor slow stays.
        assert_eq!(after(&mut flow, 10, Duration::from_secs(3)), 4_000);
        assert_eq!(after(&mut flow, 1, Duration::from_secs(6)), 2_000);
        assert_eq!(after(&mut flow, 100, Duration::from_secs(6)), 15);
        assert_eq!((flow.limit().events, flow.limit().bytes), (15, 1 << 15));
    }

    #[test]
    fn little_batches_go_side_by_side_and_teach_nothing() {
        let mut flow = flow();
        let waiting = |batches, events| Load { batches, events, bytes: events * 100 };
        assert!(flow.has_room(waiting(7, 7), 1, 100) && !flow.has_room(waiting(8, 8), 1, 100));
        assert!(flow.has_room(waiting(1, 100), 25, 100) && !flow.has_room(waiting(1, 100), 26, 100));
        assert!(!flow.has_room(waiting(1, 1), 1, 1 << 18) && flow.has_room(waiting(0, 0), 1, 1 << 19));
        for ordinal in 1..100 {
            flow.acked(ordinal, QUICK, waiting(1, 3), ordinal);
        }
        assert_eq!(flow.most().0, 125);
    }

    #[test]
    fn what_was_sent_before_a_change_does_not_count_again() {
        let mut flow = flow();
        after(&mut flow, 10, QUICK);
        let (first, sent) = (flow.changed_at + 1, flow.changed_at + 8);
        for ordinal in first..=sent {
            flow.acked(ordinal, Duration::from_secs(9), FULL, sent);
        }
        assert_eq!(flow.most().0, 2_000);
    }

    #[test]
    fn a_session_in_vain_makes_the_next_one_careful() {
        let mut after_success = flow();
        after(&mut after_success, 10, QUICK);
        after_success.begin(1 << 20);
        assert_eq!(after_success, flow());
        let mut flow = flow();
        for events in [62, 31, 15, 15] {
            flow.sent();
            flow.begin(1 << 20);
            assert_eq!(flow.most().0, events);
        }
        // One without events tells nothing.
        flow.begin(1 << 20);
        assert_eq!(flow.most().0, 15);
    }
}
