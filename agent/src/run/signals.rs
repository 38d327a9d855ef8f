//! The signals that a service manager sends, as orders.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::orders::Commander;

/// The signals that a service manager sends.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The first signal to end flushes, the second does not wait for that.
    pub(super) async fn follow(mut self, commander: Commander) {
        let mut told = false;
        loop {
            let ends = tokio::select! {
                _ = self.terminate.recv() => true,
                _ = self.interrupt.recv() => true,
                _ = self.hang_up.recv() => false,
            };
            match (ends, told) {
                (false, _) => commander.reconnect(),
                (true, false) => commander.stop(),
                (true, true) => commander.stop_at_once(),
            }
            told |= ends;
        }
    }
}
