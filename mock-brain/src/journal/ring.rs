//! The journal in memory: the newest entries.
//!
//! Owns its bounds. Events outlive their entries here: the store keeps them.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::watch;

use super::entry::Entry;
use super::line::{Page, Read, Reading, Wanted};
use crate::lock::lock;

/// Most entries.
const MAX_ENTRIES: usize = 100_000;
/// Most bytes.
const MAX_BYTES: usize = 32 << 20;

#[derive(Default)]
struct Inner {
    entries: VecDeque<Entry>,
    /// The number of the last one that went.
    gone: u64,
    bytes: usize,
}

/// The newest entries.
#[derive(Default)]
pub(super) struct Ring {
    inner: Mutex<Inner>,
    last: watch::Sender<u64>,
}

impl Ring {
    pub(super) fn push(&self, make: impl FnOnce(u64) -> Entry) {
        let mut inner = lock(&self.inner);
        let seq = inner.gone + inner.entries.len() as u64 + 1;
        let entry = make(seq);
        inner.bytes += entry.weight();
        inner.entries.push_back(entry);
        while inner.entries.len() > MAX_ENTRIES || inner.bytes > MAX_BYTES {
            let Some(oldest) = inner.entries.pop_front() else { break };
            inner.bytes -= oldest.weight();
            inner.gone += 1;
        }
        drop(inner);
        self.last.send_replace(seq);
    }

    pub(super) fn reset(&self, forget: impl FnOnce()) {
        let mut inner = lock(&self.inner);
        inner.gone += inner.entries.len() as u64;
        inner.bytes = 0;
        inner.entries.clear();
        forget();
    }

    pub(super) fn page(&self, wanted: &Wanted) -> Page {
        let inner = lock(&self.inner);
        let last = inner.gone + inner.entries.len() as u64;
        if wanted.limit == 0 {
            return Page { next: last, more: last > wanted.after, ..Page::default() };
        }
        let skip = usize::try_from(wanted.after.saturating_sub(inner.gone)).unwrap_or(usize::MAX);
        let mut reading = Reading::new(wanted);
        for (index, entry) in inner.entries.iter().enumerate().skip(skip) {
            if reading.is_full() {
                break;
            }
            reading.add(&Read::of(inner.gone + index as u64 + 1, entry), &entry.events);
        }
        reading.done()
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }
}
