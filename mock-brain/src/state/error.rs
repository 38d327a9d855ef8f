//! Why the state cannot be used.
//!
//! Owns the texts: each names the thing, the reason and the way out. Must not quote what a file holds.

use std::io;
use std::path::PathBuf;

use crate::pki::PkiError;

/// Why the state cannot be used. The text names the thing, the reason and the way out.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file or the directory cannot be read or written.
    #[error("state directory {path:?}: {error}; choose another one with --state-dir")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others can write there.
    #[error("state directory {0:?} is writable by others; choose one of your own with --state-dir")]
    Shared(PathBuf),
    /// Another `serve` has it.
    #[error(
        "state directory {0:?} is in use by another mock-brain serve; stop that one, or choose another \
         directory with --state-dir"
    )]
    InUse(PathBuf),
    /// The state file is not what this program writes.
    #[error("state file {path:?}: {reason}; move it away to start with a new CA and new credentials")]
    Broken {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A project slug that the real brain would not have.
    #[error("project {0:?} is no slug: 3 to 50 lower-case letters, digits and inner hyphens")]
    Slug(String),
    /// An agent name that the real brain would not have.
    #[error("agent name {0:?} is not usable: 1 to 120 characters, no control characters")]
    AgentName(String),
    /// Certificates cannot be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// What the system said, of a file.
pub(super) fn failed(path: PathBuf) -> impl FnOnce(io::Error) -> StateError {
    |error| StateError::Io { path, error }
}
