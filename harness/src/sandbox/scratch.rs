//! The directory of the real machine that a sandbox's files live in.
//!
//! Owns where it is and that it goes away. It lies on a disk, not on a tmpfs: the doctor tells the two apart.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use tempfile::TempDir;

/// What every scratch directory's name starts with.
const PREFIX: &str = "z4j-harness-";

/// The file in it that its harness holds a lock on for as long as it lives (flock(2)).
const LOCK: &str = "lock";

/// A scratch directory; removed when dropped, unless it is kept.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: TempDir,
    kept: bool,
    _lock: Flock<File>,
}

/// Where scratch directories are looked for and made, best first.
fn bases(temporary: &Path) -> [&Path; 2] {
    [Path::new("/var/tmp"), temporary]
}

/// Removes scratch directories that a killed harness left behind.
pub(crate) fn sweep(temporary: &Path) {
    let bases = bases(temporary).into_iter().filter_map(|base| fs::read_dir(base).ok());
    for entry in bases.flatten().flatten() {
        let folder = entry.path();
        let ours = fs::symlink_metadata(&folder)
            .is_ok_and(|found| found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw());
        let named = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if ours && named && lock(&folder).is_ok() {
            make_removable(&folder);
            // Best effort: the next run tries again.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Takes the lock of a scratch directory. One without a lock file is being made, or is kept for a look.
fn lock(folder: &Path) -> io::Result<Flock<File>> {
    let file = File::open(folder.join(LOCK))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno.into())
}

impl Scratch {
    /// Makes one below the first of /var/tmp and `temporary` that is on a disk and can be written to.
    ///
    /// # Errors
    /// There is no such place.
    pub(crate) fn new(temporary: &Path) -> io::Result<Self> {
        let on_disk = |path: &&Path| statfs(*path).is_ok_and(|found| found.filesystem_type() != TMPFS_MAGIC);
        let make = |base: &Path| tempfile::Builder::new().prefix(PREFIX).tempdir_in(base);
        let folder = bases(temporary).into_iter().filter(on_disk).find_map(|base| make(base).ok());
        let folder = folder.ok_or_else(|| {
            let bases = bases(temporary).map(|base| base.display().to_string()).join(" and ");
            io::Error::other(format!("no directory on a disk can be made in {bases}: set TMPDIR to one"))
        })?;
        fs::create_dir(folder.path().join("root"))?;
        fs::set_permissions(folder.path().join("root"), fs::Permissions::from_mode(0o755))?;
        // Locked before it has its name: a sweep must not find it free.
        let unnamed = folder.path().join("lock.new");
        let lock = Flock::lock(File::create(&unnamed)?, FlockArg::LockExclusiveNonblock);
        let lock = lock.map_err(|(_, errno)| io::Error::from(errno))?;
        fs::rename(unnamed, folder.path().join(LOCK))?;
        Ok(Self { folder, kept: false, _lock: lock })
    }

    /// What becomes `/` of the sandbox.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Replaces the content of a file of the sandbox, from outside and whatever its mode is.
    ///
    /// # Errors
    /// The file is not there or cannot be written.
    pub(crate) fn overwrite(&self, path: &str, content: &str) -> io::Result<()> {
        let path = self.root().join(path.trim_start_matches('/'));
        let permissions = fs::metadata(&path)?.permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        fs::write(&path, content)?;
        fs::set_permissions(&path, permissions)
    }

    /// Leaves the directory for a look.
    pub(crate) fn keep(&mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.kept = true;
        // Without it a later run does not take the directory for one that was left behind.
        let _ = fs::remove_file(self.folder.path().join(LOCK));
        self.root()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Directories without write permission stop a removal by their owner.
        if !self.kept {
            make_removable(self.folder.path());
        }
    }
}

fn make_removable(folder: &Path) {
    let Ok(metadata) = fs::symlink_metadata(folder) else { return };
    if !metadata.is_dir() || metadata.uid() != nix::unistd::geteuid().as_raw() {
        return;
    }
    // Best effort: what cannot be removed is left behind, and nothing depends on it.
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    for child in fs::read_dir(folder).into_iter().flatten().flatten() {
        make_removable(&child.path());
    }
}
