//! The lock beside a buffer, as it is seen from outside: its name, and the mark in it.
//!
//! Owns what makes a file an agent's. Must not lock or write: that is the buffer's.

use std::fs;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Owner;
use crate::environment::Environment;

/// The length of a mark, in bytes.
const MARK_LENGTH: usize = 16;

/// The lock that makes a buffer an agent's: `NAME.lock`.
pub(crate) fn lock_of(path: &Path) -> PathBuf {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    PathBuf::from(lock)
}

/// What stands in a lock: whose buffer it guards ([`z4j_protocol::HmacSecret::deployment`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Nothing, yet.
    None,
    /// The mark of an agent.
    Of(String),
    /// Something that no agent writes.
    Foreign,
}

impl Mark {
    /// Reads it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn of(lock: &fs::File) -> std::io::Result<Self> {
        let mut bytes = [0; MARK_LENGTH + 1];
        let length = lock.read_at(&mut bytes, 0)?;
        let is_mark = length == MARK_LENGTH
            && bytes[..length].iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        Ok(match length {
            0 => Self::None,
            _ if is_mark => Self::Of(String::from_utf8_lossy(&bytes[..length]).into_owned()),
            _ => Self::Foreign,
        })
    }
}

/// A buffer is an agent's if its lock lies beside it: a file of ours that nobody else may touch, with a mark.
pub(super) fn is_an_agents(path: &Path, environment: &Environment) -> bool {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let lock = fs::OpenOptions::new().read(true).custom_flags(flags).open(lock_of(path));
    lock.is_ok_and(|lock| {
        lock.metadata().is_ok_and(|found| {
            let owner = Owner::from(&found);
            found.is_file() && owner.uid == environment.account.uid && owner.mode & 0o077 == 0
        }) && matches!(Mark::of(&lock), Ok(Mark::Of(_)))
    })
}
