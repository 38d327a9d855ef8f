//! How much may wait for the disk, over all connections.
//!
//! Owns the number and who waits for it to fall. It may be exceeded by what one connection reads at once: the
//! bound is on when reading stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Reading stops at so many bytes.
const MAX_UNCOMMITTED_BYTES: usize = 4 << 20;

/// A shared count of bytes that wait. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    used: AtomicUsize,
    freed: Notify,
}

impl Budget {
    /// So many bytes wait, until the share is dropped.
    pub(super) fn share(&self) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }

    /// Returns when more may be read.
    pub(super) async fn room(&self) {
        loop {
            let freed = self.0.freed.notified();
            if self.0.used.load(Ordering::Relaxed) < MAX_UNCOMMITTED_BYTES {
                return;
            }
            freed.await;
        }
    }
}

/// One group's part of it.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    bytes: usize,
}

impl Share {
    /// More bytes wait.
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.budget.0.used.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.budget.0.freed.notify_waiters();
    }
}
