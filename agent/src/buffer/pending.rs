//! What has happened and could not be written yet.
//!
//! Owns deeds whose write failed: they are true all the same, so reads take them into account, and they go
//! into the next transaction that works. Must not write by itself.

use std::collections::VecDeque;

use super::store::Store;
use super::{Loss, StoredResult};

/// A change that is not undone by a failure to write it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// The brain has settled the events from one place to another.
    Settle(i64, i64),
    /// No brain takes an event.
    Reject(i64),
    /// A command has its result.
    Finish(StoredResult),
    /// The brain has results.
    SettleResults(Vec<String>),
    /// No brain takes a result.
    RejectResult(String),
    /// The brain has been told of losses.
    Reported(Loss),
}

impl Deed {
    /// Whether it must survive a power cut once it is answered.
    pub(super) const fn is_durable(&self) -> bool {
        matches!(self, Self::Finish(_))
    }

    /// Whether it changes commands.
    pub(super) const fn is_of_commands(&self) -> bool {
        matches!(self, Self::Finish(_) | Self::SettleResults(_) | Self::RejectResult(_))
    }

    /// Writes it down, inside a transaction.
    pub(super) fn apply(&self, store: &mut Store, now: i64) -> rusqlite::Result<()> {
        match self {
            Self::Settle(first, last) => store.settle(*first, *last, now),
            Self::Reject(id) => store.reject(*id),
            Self::Finish(result) => store.finish(result, now),
            Self::SettleResults(ids) => ids.iter().try_for_each(|id| store.settle_result(id, now)),
            Self::RejectResult(id) => {
                store.counters.loss.content_rejected += 1;
                store.counters.loss.command_results += 1;
                store.settle_result(id, now)
            }
            Self::Reported(loss) => {
                store.counters.told = store.counters.told.max(*loss);
                Ok(())
            }
        }
    }
}

/// How many events are settled at once, when room is short.
const PIECE: i64 = 1_000;

/// Deeds that wait, in order. There are no more of them than events and commands in the buffer.
#[derive(Debug, Default)]
pub(super) struct Pending(VecDeque<Deed>);

impl Pending {
    /// Keeps a deed.
    pub(super) fn push(&mut self, deed: Deed) {
        match (self.0.back_mut(), &deed) {
            (Some(Deed::Settle(start, last)), Deed::Settle(first, end))
                if *last + 1 == *first && end - *start < PIECE =>
            {
                *last = *end;
            }
            (Some(Deed::Reported(last)), Deed::Reported(loss)) => *last = *loss,
            _ => self.0.push_back(deed),
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets what has been written down.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The oldest.
    pub(super) fn first(&self) -> Option<&Deed> {
        self.0.front()
    }

    /// Forgets the oldest.
    pub(super) fn pop(&mut self) {
        self.0.pop_front();
    }

    /// Whether any of it must survive a power cut.
    pub(super) fn is_durable(&self) -> bool {
        self.0.iter().any(Deed::is_durable)
    }

    /// Writes all of it down, inside a transaction.
    pub(super) fn apply(&self, store: &mut Store, now: i64) -> rusqlite::Result<()> {
        self.0.iter().try_for_each(|deed| deed.apply(store, now))
    }

    /// Whether an event is gone, although it is still in the file.
    pub(super) fn is_gone(&self, id: i64) -> bool {
        self.0.iter().any(|deed| match deed {
            Deed::Settle(first, last) => (*first..=*last).contains(&id),
            Deed::Reject(rejected) => *rejected == id,
            Deed::Finish(_) | Deed::SettleResults(_) | Deed::RejectResult(_) | Deed::Reported(_) => false,
        })
    }

    /// The result of a command.
    pub(super) fn result(&self, id: &str) -> Option<&StoredResult> {
        self.0.iter().rev().find_map(|deed| match deed {
            Deed::Finish(result) if result.command_id == id => Some(result),
            _ => None,
        })
    }

    /// Brings results that were read up to date.
    pub(super) fn amend(&self, results: &mut Vec<StoredResult>) {
        for deed in &self.0 {
            match deed {
                Deed::Finish(result) => {
                    results.retain(|known| known.command_id != result.command_id);
                    results.push(result.clone());
                }
                Deed::SettleResults(ids) => results.retain(|known| !ids.contains(&known.command_id)),
                Deed::RejectResult(id) => results.retain(|known| known.command_id != *id),
                Deed::Settle(..) | Deed::Reject(_) | Deed::Reported(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use z4j_protocol::CanonicalText;

    #[test]
    fn deeds_hold_before_they_are_written() {
        let mut pending = Pending::default();
        for deed in [Deed::Settle(1, 3), Deed::Settle(4, 5), Deed::Reject(9)] {
            pending.push(deed);
        }
        assert_eq!(pending.0, [Deed::Settle(1, 5), Deed::Reject(9)]);
        let gone: Vec<i64> = (0..12).filter(|id| pending.is_gone(*id)).collect();
        assert_eq!(gone, [1, 2, 3, 4, 5, 9]);
    }

    #[test]
    fn results_are_read_as_they_will_be_written() {
        let result = |id: &str| StoredResult {
            command_id: id.to_owned(),
            payload: CanonicalText::kept(String::from("{}")),
        };
        let mut pending = Pending::default();
        pending.push(Deed::SettleResults(vec![String::from("a")]));
        pending.push(Deed::Finish(result("c")));
        pending.push(Deed::RejectResult(String::from("d")));
        let mut results = vec![result("a"), result("b"), result("d")];
        pending.amend(&mut results);
        assert_eq!(results, [result("b"), result("c")]);
        assert_eq!((pending.result("c"), pending.result("b")), (Some(&result("c")), None));
    }
}
