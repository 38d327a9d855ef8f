//! What all connections of one brain share, and its life: running, stopping, idle.
//!
//! Owns the parts and the count of tasks at work. Must not hold rules of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::fault::table::FaultTable;
use crate::fault::{FaultError, FaultSpec};
use crate::hosts::Hosts;
use crate::listener::Listener;
use crate::longpoll::sessions::LongPollSessions;
use crate::pki::Pki;
use crate::registry::Registry;
use crate::sessions::Sessions;
use crate::store::Store;
use crate::strict::Violations;

/// The brain's times. The defaults are the real brain's where it has them; head and body are bounded so that
/// silent connections do not use up the places there are.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A session without a frame for this long is closed with 4408.
    pub idle: Duration,
    /// How often a connection is pinged; one whose pong is missing for as long again is closed.
    pub ping: Duration,
    /// How long the peer may take to answer a close frame.
    pub close: Duration,
    /// How long a request's head may take, from the accepted connection or the last answer on.
    pub head: Duration,
    /// How long a request's body may take.
    pub body: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(90),
            ping: Duration::from_secs(60),
            close: Duration::from_secs(10),
            head: Duration::from_secs(30),
            body: Duration::from_secs(20),
        }
    }
}

/// The shared parts of one brain.
pub(crate) struct Hub {
    pub(crate) registry: Registry,
    pub(crate) pki: Option<Pki>,
    pub(crate) store: Store,
    pub(crate) sessions: Sessions,
    pub(crate) longpoll: LongPollSessions,
    pub(crate) faults: FaultTable,
    pub(crate) violations: Violations,
    pub(crate) listener: Listener,
    /// Names that a Host header may bear.
    pub(crate) hosts: Hosts,
    pub(crate) limits: Limits,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) busy: watch::Sender<usize>,
}

impl Hub {
    /// Returns once the brain is to stop.
    pub(crate) async fn stopping(&self) {
        // An error would mean that the sender is gone, and it lives in `self`.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Counts a task as at work until the guard is dropped.
    pub(crate) fn task(self: &Arc<Self>) -> TaskGuard {
        self.busy.send_modify(|count| *count += 1);
        TaskGuard(Arc::clone(self))
    }

    /// Sets a fault; it takes effect before this returns.
    pub(crate) fn set_fault(&self, spec: FaultSpec) -> Result<(), FaultError> {
        if spec.needs_tls() && self.pki.is_none() {
            return Err(FaultError::of_spec(&spec, "needs TLS, and this brain runs without (--no-tls)"));
        }
        self.faults.set(spec);
        self.listener.set_refused(self.faults.refuses_connections());
        Ok(())
    }

    /// Takes a fault away; `None` for all. Tells whether there was one.
    pub(crate) fn clear_faults(&self, name: Option<&str>) -> bool {
        let found = self.faults.clear(name);
        self.listener.set_refused(self.faults.refuses_connections());
        found
    }
}

/// A task at work.
pub(crate) struct TaskGuard(Arc<Hub>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.busy.send_modify(|count| *count -= 1);
    }
}
