//! Commands of the brain: begun once, carried out by an engine's adapter, their results kept until the brain
//! has them.
//!
//! Must not know frames or connections: a session hands commands in, sends the acks itself, and takes results
//! from the buffer.

use std::collections::BTreeMap;

mod template;

pub(crate) use template::Template;

use tokio::sync::watch;
use z4j_protocol::payload::Command;

use crate::buffer::{Buffer, StoredResult};

/// Carries commands out. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Dispatcher {
    #[expect(dead_code, reason = "not used yet")]
    buffer: Buffer,
    finished: watch::Sender<u64>,
}

impl Dispatcher {
    /// A dispatcher that stores results in this buffer.
    pub(crate) fn new(buffer: Buffer) -> Self {
        Self { buffer, finished: watch::Sender::new(0) }
    }

    /// Takes a command that the session has acknowledged, and returns at once; it runs on its own. What comes
    /// back is a result that is known already (a duplicate's, a refusal's): send it. It is not in the buffer's
    /// unsettled results.
    #[expect(clippy::unused_async, reason = "not used yet")]
    pub(crate) async fn take(&self, id: &str, _command: Command) -> Option<StoredResult> {
        let _ = id;
        None
    }

    /// Changes whenever another result lies in the buffer, unsettled.
    pub(crate) fn finished(&self) -> watch::Receiver<u64> {
        self.finished.subscribe()
    }

    /// What adapters say of themselves, for the heartbeat: `ENGINE.NAME` to text.
    pub(crate) fn health(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}
