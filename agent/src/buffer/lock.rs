//! The lock beside a buffer: `NAME.lock`, a file that only its maker's processes lock (flock(2)).
//!
//! Owns how it is made, taken and left, and the mark in it that says whose events lie beside it: two projects may
//! share a user, and none may get the other's. Whoever holds it is the one process that may touch the buffer; the
//! kernel lets go of it when that process dies, however it dies. Must not open databases.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::files;
use crate::paths::{Mark, lock_of};

/// What identifies a file, whatever its name.
pub(super) type Identity = (u64, u64);

/// The identity of what a name stands for; links are not followed.
pub(super) fn identity(path: &Path) -> Option<Identity> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
    identity: Identity,
}

/// What stands in the way of a lock.
#[derive(Debug)]
pub(super) enum Blocked {
    /// A live process holds it.
    Held,
    /// No live process holds it, and what it guards is another deployment's.
    Others,
    /// It is not an agent's, or not this user's: nothing there may be touched.
    Foreign(&'static str),
    /// It was there a moment ago.
    Gone,
    /// The kernel said no.
    Io(io::Error),
}

impl From<io::Error> for Blocked {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(nix::libc::ENOENT) => Self::Gone,
            Some(nix::libc::ELOOP) => Self::Foreign("a link"),
            Some(nix::libc::EISDIR | nix::libc::ENXIO) => {
                Self::Foreign("a file beside something that is no lock")
            }
            Some(nix::libc::EACCES | nix::libc::EPERM) => {
                Self::Foreign("a file beside a lock that this user may not open")
            }
            _ => Self::Io(error),
        }
    }
}

impl Lock {
    /// Makes the lock of a buffer of this deployment that does not exist.
    pub(super) fn create(buffer: &Path, deployment: &str) -> Result<Self, Blocked> {
        let path = lock_of(buffer);
        let file = match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(Blocked::Gone),
            other => other.map_err(Blocked::Io)?,
        };
        // The umask may have taken from the owner too.
        file.set_permissions(Permissions::from_mode(0o600)).map_err(Blocked::Io)?;
        Self::hold(path, file)?.marked(deployment)
    }

    /// Takes the lock of a buffer of this deployment whose process is dead, or one that has no mark yet and
    /// nothing beside it. Nothing is written.
    pub(super) fn take(buffer: &Path, uid: u32, deployment: &str) -> Result<Self, Blocked> {
        let path = lock_of(buffer);
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
        // For writing, since some file systems grant an exclusive lock to nothing less.
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path)?;
        let found = file.metadata()?;
        if !found.is_file() || found.uid() != uid || found.mode() & 0o077 != 0 {
            return Err(Blocked::Foreign("a file beside a lock that is not ours"));
        }
        let lock = Self::hold(path, file)?;
        match Mark::of(&lock.file)? {
            Mark::Of(mark) if mark == deployment => Ok(lock),
            Mark::Of(_) => Err(Blocked::Others),
            // The mark is durable before there is a buffer.
            Mark::None if files::of(buffer).iter().all(|file| identity(file).is_none()) => Ok(lock),
            Mark::None | Mark::Foreign => Err(Blocked::Foreign("a file beside a lock that is no agent's")),
        }
    }

    /// Marks a lock that bears no mark yet.
    pub(super) fn marked(self, deployment: &str) -> Result<Self, Blocked> {
        if Mark::of(&self.file)? == Mark::None {
            self.mark(deployment)?;
        }
        Ok(self)
    }

    /// Writes whose events lie beside it.
    ///
    /// # Errors
    /// That cannot be made durable: a power cut must not leave events without the word whose they are.
    pub(super) fn mark(&self, deployment: &str) -> io::Result<()> {
        self.file.write_all_at(deployment.as_bytes(), 0)?;
        self.file.sync_all()
    }

    fn hold(path: PathBuf, file: File) -> Result<Self, Blocked> {
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Blocked::Held),
            Err(TryLockError::Error(error)) => return Err(Blocked::Io(error)),
        }
        let found = file.metadata()?;
        let lock = Self { path, file, identity: (found.dev(), found.ino()) };
        // Its last holder may have removed it between our opening and our locking: then it guards nothing.
        if lock.stands() { Ok(lock) } else { Err(Blocked::Gone) }
    }

    /// Whether the name still stands for this lock.
    pub(super) fn stands(&self) -> bool {
        identity(&self.path) == Some(self.identity)
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file, and only then lets go.
    pub(super) fn remove(self) -> io::Result<()> {
        if self.stands() { fs::remove_file(&self.path) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid() -> u32 {
        nix::unistd::Uid::effective().as_raw()
    }

    #[test]
    fn one_process_at_a_time() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let buffer = dir.path().join("b.sqlite");
        assert!(matches!(Lock::take(&buffer, uid(), &"a".repeat(16)), Err(Blocked::Gone)));
        let held = Lock::create(&buffer, &"a".repeat(16))
            .map_err(|blocked| io::Error::other(format!("{blocked:?}")))?;
        assert_eq!(fs::metadata(held.path())?.mode() & 0o777, 0o600);
        assert!(matches!(Lock::take(&buffer, uid(), &"a".repeat(16)), Err(Blocked::Held)));
        assert!(matches!(Lock::create(&buffer, &"a".repeat(16)), Err(Blocked::Gone)));
        drop(held);
        assert!(matches!(Lock::take(&buffer, uid(), &"b".repeat(16)), Err(Blocked::Others)));
        let taken = Lock::take(&buffer, uid(), &"a".repeat(16))
            .map_err(|blocked| io::Error::other(format!("{blocked:?}")))?;
        taken.remove()?;
        assert!(!lock_of(&buffer).exists());
        Ok(())
    }

    #[test]
    fn what_is_not_ours_is_foreign() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let buffer = dir.path().join("b.sqlite");
        fs::write(lock_of(&buffer), "")?;
        fs::set_permissions(lock_of(&buffer), Permissions::from_mode(0o644))?;
        assert!(matches!(Lock::take(&buffer, uid(), &"a".repeat(16)), Err(Blocked::Foreign(_))));
        fs::set_permissions(lock_of(&buffer), Permissions::from_mode(0o600))?;
        assert!(matches!(Lock::take(&buffer, uid() + 1, &"a".repeat(16)), Err(Blocked::Foreign(_))));
        // Nothing is beside it: it may have been left by an agent that was killed right then.
        assert!(Lock::take(&buffer, uid(), &"a".repeat(16)).is_ok());
        fs::write(&buffer, "")?;
        assert!(matches!(Lock::take(&buffer, uid(), &"a".repeat(16)), Err(Blocked::Foreign(_))));
        fs::write(lock_of(&buffer), "12345\n")?;
        assert!(matches!(Lock::take(&buffer, uid(), &"a".repeat(16)), Err(Blocked::Foreign(_))));
        assert_eq!(fs::read(lock_of(&buffer))?, b"12345\n");
        let link = dir.path().join("link.sqlite");
        std::os::unix::fs::symlink(lock_of(&buffer), lock_of(&link))?;
        assert!(matches!(Lock::take(&link, uid(), &"a".repeat(16)), Err(Blocked::Foreign(_))));
        Ok(())
    }

    #[test]
    fn a_lock_that_was_removed_while_it_was_opened_guards_nothing() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("b.sqlite.lock");
        let file = File::create_new(&path)?;
        fs::remove_file(&path)?;
        assert!(matches!(Lock::hold(path.clone(), file), Err(Blocked::Gone)));
        let file = File::create_new(&path)?;
        fs::remove_file(&path)?;
        fs::write(&path, "another")?;
        assert!(matches!(Lock::hold(path, file), Err(Blocked::Gone)));
        Ok(())
    }
}
