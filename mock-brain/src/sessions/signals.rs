//! What others tell a session while it runs.

use tokio::sync::{Notify, watch};
use z4j_protocol::close;

use crate::verdict::Closing;

/// What others tell a session while it runs.
#[derive(Default)]
pub(crate) struct Signals {
    end: watch::Sender<Option<Closing>>,
    commands: Notify,
}

impl Signals {
    /// Tells the session to close; the first one to say so is heard.
    pub(super) fn close(&self, closing: Closing) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            if first {
                *end = Some(closing);
            }
            first
        });
    }

    /// Returns once somebody told the session to close.
    pub(crate) async fn closed(&self) -> Closing {
        let mut end = self.end.subscribe();
        let told = end.wait_for(Option::is_some).await;
        // An error would mean that the sender is gone, and it lives in `self`.
        told.ok().and_then(|told| told.clone()).unwrap_or_else(|| Closing::new(close::INTERNAL, ""))
    }

    /// Returns once there may be commands to deliver.
    pub(crate) async fn commands(&self) {
        self.commands.notified().await;
    }

    pub(crate) fn deliver_commands(&self) {
        self.commands.notify_one();
    }
}
