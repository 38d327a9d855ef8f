//! The running agents of this user: their names, and the files by which they are found.
//!
//! Several share a directory. Each holds a lock on its pidfile for life, and that alone says that it lives:
//! pids repeat, and are all 1 in containers. Owns those files and nothing that is said over the sockets.

mod claim;
mod search;
mod socket;
mod sweep;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use claim::{Claim, claim};
pub(crate) use search::{is_private, live, live_in, place, places};
pub(crate) use socket::{check_length, listen};

/// The link to the newest live agent's ingest socket, beside the agents' own files.
pub(crate) const CURRENT_SOCKET: &str = "agent.sock";

/// Where the packaged unit keeps its agent's sockets (`RuntimeDirectory=z4j`); only its user and root may look
/// there.
pub(crate) const UNIT_DIRECTORY: &str = "/run/z4j";

/// How often an agent looks whether its files are still there.
pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// An agent's place: `DIR/agent-{pid}.pid`, `.sock`, `.control.sock` (with `-{n}` behind the pid where the
/// name was taken).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    /// The directory.
    pub(crate) dir: PathBuf,
    /// `agent-{pid}` or `agent-{pid}-{n}`
    pub(crate) name: String,
    /// The process, as it calls itself: in another pid namespace this number means somebody else.
    pub(crate) pid: u32,
}

impl Instance {
    /// The file whose lock says that it lives.
    pub(crate) fn pidfile(&self) -> PathBuf {
        self.dir.join(format!("{}.pid", self.name))
    }

    /// Where it takes events.
    pub(crate) fn ingest_socket(&self) -> PathBuf {
        self.dir.join(format!("{}.sock", self.name))
    }

    /// Where it answers questions.
    pub(crate) fn control_socket(&self) -> PathBuf {
        self.dir.join(format!("{}.control.sock", self.name))
    }
}

#[cfg(test)]
mod tests;
