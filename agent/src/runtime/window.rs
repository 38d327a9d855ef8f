//! The batches that wait for their ack.
//!
//! Pure. Acks may come in any order; only the matching one settles a batch.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::flow::Load;

/// A batch that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// Its frame's id.
    pub(super) id: String,
    /// The how-manieth batch of the session it is, from 1.
    pub(super) ordinal: u64,
    /// The places of its first and last event; none if it has no events.
    pub(super) rows: Option<(i64, i64)>,
    /// How many events it has, and their bytes.
    pub(super) events: usize,
    pub(super) bytes: usize,
    /// When it was sent.
    pub(super) sent_at: Instant,
}

/// The batches of one session.
#[derive(Debug, Default)]
pub(super) struct Window {
    batches: VecDeque<Batch>,
    sent: u64,
}

impl Window {
    /// A batch was sent.
    pub(super) fn push(
        &mut self,
        id: String,
        rows: Option<(i64, i64)>,
        (events, bytes): (usize, usize),
        now: Instant,
    ) {
        self.sent += 1;
        self.batches.push_back(Batch { id, ordinal: self.sent, rows, events, bytes, sent_at: now });
    }

    /// An ack came: the batch that it settles, if it is one of ours.
    pub(super) fn ack(&mut self, id: &str) -> Option<Batch> {
        let index = self.batches.iter().position(|batch| batch.id == id)?;
        self.batches.remove(index)
    }

    /// When the batch that waits longest was sent.
    pub(super) fn oldest_sent_at(&self) -> Option<Instant> {
        self.batches.front().map(|batch| batch.sent_at)
    }

    /// How much waits.
    pub(super) fn load(&self) -> Load {
        let events = self.batches.iter().map(|batch| batch.events).sum();
        let bytes = self.batches.iter().map(|batch| batch.bytes).sum();
        Load { batches: self.batches.len(), events, bytes }
    }

    /// How many were sent in this session.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_settle_their_own_batch_in_any_order() {
        let (mut window, now) = (Window::default(), Instant::now());
        for number in 1..=8_i64 {
            window.push(format!("b{number}"), Some((number, number)), (1, 10), now);
        }
        assert_eq!(window.ack("unknown"), None);
        assert_eq!(window.ack("b3").map(|batch| (batch.ordinal, batch.rows)), Some((3, Some((3, 3)))));
        assert_eq!(window.ack("b3"), None);
        assert_eq!((window.load(), window.sent()), (Load { batches: 7, events: 7, bytes: 70 }, 8));
    }

    #[test]
    fn the_oldest_is_the_one_that_waits_longest() {
        let (mut window, now) = (Window::default(), Instant::now());
        let later = now + std::time::Duration::from_secs(1);
        window.push("a".into(), None, (0, 0), now);
        window.push("b".into(), None, (0, 0), later);
        assert_eq!(window.oldest_sent_at(), Some(now));
        window.ack("a");
        assert_eq!(window.oldest_sent_at(), Some(later));
        window.ack("b");
        assert_eq!(window.oldest_sent_at(), None);
    }
}
