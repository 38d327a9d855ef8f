//! The results that were sent over one WebSocket, and when the brain has them.
//!
//! Pure. A result has no ack of its own, and frames are read in order: an `event_batch` that was sent behind
//! it and is acked proves that it arrived (protocol.md, Session).

use std::collections::BTreeMap;

use crate::buffer::StoredResult;

/// The results of one session.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// Command ids, each with the number of batches that were sent before it.
    waiting: BTreeMap<String, u64>,
}

impl Results {
    /// Those that were not sent yet.
    pub(super) fn unsent(&self, stored: Vec<StoredResult>) -> Vec<StoredResult> {
        stored.into_iter().filter(|result| !self.waiting.contains_key(&result.command_id)).collect()
    }

    /// One was sent behind so many batches.
    pub(super) fn sent(&mut self, command_id: String, batches: u64) {
        self.waiting.insert(command_id, batches);
    }

    /// Whether one has no batch behind it.
    pub(super) fn lack_a_batch(&self, batches: u64) -> bool {
        self.waiting.values().any(|before| *before == batches)
    }

    /// A batch was acked: the results that it settles.
    pub(super) fn acked(&mut self, ordinal: u64) -> Vec<String> {
        let (done, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|(_, n)| *n < ordinal);
        self.waiting = waiting;
        let done: BTreeMap<String, u64> = done;
        done.into_keys().collect()
    }

    /// Whether all of them are settled.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use z4j_protocol::CanonicalText;

    use super::*;

    fn stored(id: &str) -> StoredResult {
        StoredResult { command_id: id.into(), payload: CanonicalText::kept("{}".into()) }
    }

    #[test]
    fn only_a_batch_behind_a_result_settles_it() {
        let mut results = Results::default();
        results.sent("a".into(), 0);
        assert!(results.lack_a_batch(0) && !results.lack_a_batch(1));
        results.sent("b".into(), 1);
        assert!(results.lack_a_batch(1));
        assert_eq!(results.unsent(vec![stored("a"), stored("c")]), [stored("c")]);
        // The ack of the first batch says nothing of `b`, which came behind it.
        assert_eq!(results.acked(1), ["a"]);
        assert_eq!(results.acked(1), Vec::<String>::new());
        assert_eq!(results.acked(2), ["b"]);
        assert!(results.is_empty());
    }
}
