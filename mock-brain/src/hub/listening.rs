//! Whether the brain listens: faults and being down say otherwise.
//!
//! Owns that what is set takes effect at once and ends in time. Must not accept connections (`listener`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::sleep;

use crate::fault::table;
use crate::fault::{FaultError, FaultSpec, Point};
use crate::hub::Hub;

/// How connections end when a brain goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// As of a process that was killed: they just end.
    None,
    /// As of one that restarts: websockets are closed with 1012.
    Restart,
}

impl Hub {
    /// Sets a fault; it takes effect before this returns.
    pub(crate) fn set_fault(self: &Arc<Self>, spec: FaultSpec) -> Result<(), FaultError> {
        if spec.needs_tls() && self.pki.is_none() {
            return Err(FaultError::of_spec(&spec, "needs TLS, and this brain runs without (--no-tls)"));
        }
        let turns = if spec.at() == Point::Listen { table::turns(&spec) } else { Vec::new() };
        self.faults.set(spec);
        self.listen_or_not();
        for turn in turns {
            let hub = Arc::clone(self);
            self.runtime.spawn(async move {
                sleep(turn).await;
                hub.listen_or_not();
            });
        }
        Ok(())
    }

    /// Takes a fault away; `None` for all. Tells whether there was one.
    pub(crate) fn clear_faults(&self, name: Option<&str>) -> bool {
        let found = self.faults.clear(name);
        self.listen_or_not();
        found
    }

    /// Listens, unless a fault or somebody says otherwise.
    fn listen_or_not(&self) {
        let down = self.down.load(Ordering::SeqCst);
        self.listener.set_refused(down || self.faults.refuses_connections());
    }

    /// Stops listening, and ends every connection, with 1012 or without a word.
    pub(crate) fn go_down(&self, farewell: Farewell) {
        self.down.store(true, Ordering::SeqCst);
        self.listen_or_not();
        self.killed.send_replace(farewell);
        self.happened();
    }

    /// Listens again.
    pub(crate) fn come_up(&self) {
        self.down.store(false, Ordering::SeqCst);
        self.listen_or_not();
    }
}
