//! One running brain, as a library value: start, look, break, stop.
//!
//! Owns its life: the wait for something to happen, going down and up, and the end. Must not read the environment
//! or print.

mod certificate;
mod error;
mod fault;
mod identity;
mod options;
mod record;
mod start;

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::fcntl::Flock;
use tokio::time::timeout;

use crate::condition::Condition;
use crate::hub::{Farewell, Hub};
use crate::registry::Credentials;

pub use error::StartError;
pub use options::Options;

/// How long sessions may take to end: less than a peer has to answer a close frame, because whoever stops a
/// brain waits for this.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// A running brain. Dropping it ends it without farewell; [`Brain::stop`] is the orderly way.
pub struct Brain {
    pub(crate) hub: Arc<Hub>,
    credentials: Credentials,
    /// Released when the brain ends.
    _lock: Option<Flock<File>>,
}

impl Brain {
    /// The address that agents connect to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.hub.listener.address()
    }

    /// Waits until something holds, and tells whether it came to hold in time. It is looked at whenever
    /// something happened: it must be cheap, as counts are.
    pub async fn wait_until(&self, limit: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        self.hub.wait_until(limit, || holds(self)).await
    }

    /// Waits until a condition holds, and tells whether it came to hold in time.
    pub async fn wait_for(&self, condition: &Condition, limit: Duration) -> bool {
        self.hub.wait_until(limit, || condition.holds(&self.hub)).await
    }

    /// Sets how far this brain's clock is ahead of the machine's, in milliseconds: frames are signed and judged
    /// by it. Time-outs, certificates and the journal go by the machine's.
    pub fn set_clock_offset(&self, millis: i64) {
        self.hub.clock_offset.store(millis.saturating_mul(1_000), Ordering::Relaxed);
    }

    /// Takes the brain down: nothing listens on its port any more, and connections end. What it knows, it
    /// keeps. Connects are refused when this returns.
    pub fn down(&self, farewell: Farewell) {
        self.hub.go_down(farewell);
    }

    /// Lets the brain listen on its port again.
    pub fn up(&self) {
        self.hub.come_up();
    }

    /// Closes every session with 1012, answers what is being asked, and ends. Takes at most a few seconds.
    pub async fn stop(self) {
        self.hub.stop.send_replace(true);
        let mut busy = self.hub.busy.subscribe();
        if timeout(STOP_TIMEOUT, busy.wait_for(|count| *count == 0)).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        // The rest is done as it is dropped.
    }
}

impl Drop for Brain {
    fn drop(&mut self) {
        self.hub.stop.send_replace(true);
        // They have no connection whose end would be theirs.
        self.hub.longpoll.end_all(&self.hub);
        // Before the lock goes: the next brain of the directory opens the file.
        self.hub.journal.close();
    }
}
