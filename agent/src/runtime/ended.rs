//! How a session ends, for the supervisor.

use super::failure::Failure;
use super::websocket::Opened;

/// How a session ended.
pub(super) enum Ended {
    /// It failed.
    Failed(Failure),
    /// The order came to connect anew.
    Reconnect,
    /// The order came to stop, and what could be sent is sent.
    Stopped,
    /// Over long-poll only: a WebSocket works, and takes over.
    Switched(Box<Opened>),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
