//! What a running agent is told from outside: reconnect now, stop. Signals and the control socket give these
//! orders; the supervisor follows them.

use tokio::sync::watch;

/// The orders so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    /// How often a reconnect was asked for.
    pub(crate) reconnects: u64,
    /// Whether to flush and stop.
    pub(crate) stop: bool,
    /// Whether not to wait for that flush.
    pub(crate) at_once: bool,
}

/// Gives orders. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Commander(watch::Sender<Orders>);

impl Commander {
    /// A commander, and where its orders arrive.
    pub(crate) fn new() -> (Self, watch::Receiver<Orders>) {
        let (sender, receiver) = watch::channel(Orders::default());
        (Self(sender), receiver)
    }

    /// Drop the connection, or the wait for one, and connect at once.
    pub(crate) fn reconnect(&self) {
        self.0.send_modify(|orders| orders.reconnects += 1);
    }

    /// Flush and stop.
    pub(crate) fn stop(&self) {
        self.0.send_modify(|orders| orders.stop = true);
    }

    /// Stop, and leave what is not flushed yet in the buffer.
    pub(crate) fn stop_at_once(&self) {
        self.0.send_modify(|orders| (orders.stop, orders.at_once) = (true, true));
    }
}
