//! The directory of the real machine that a sandbox's files live in.
//!
//! Owns where it is and that it goes away. It lies on a disk, not on a tmpfs: the doctor tells the two apart.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use tempfile::TempDir;

/// A scratch directory; removed when dropped, unless it is kept.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: TempDir,
}

impl Scratch {
    /// Makes one below the first of /var/tmp and `temporary` that is on a disk, else below `temporary`.
    ///
    /// # Errors
    /// No directory can be made.
    pub(crate) fn new(temporary: &Path) -> io::Result<Self> {
        let on_disk = |path: &&Path| statfs(*path).is_ok_and(|found| found.filesystem_type() != TMPFS_MAGIC);
        let candidates = [Path::new("/var/tmp"), temporary];
        let base = candidates.into_iter().find(on_disk).unwrap_or(temporary);
        let folder = tempfile::Builder::new().prefix("z4j-harness-").tempdir_in(base)?;
        fs::create_dir(folder.path().join("root"))?;
        fs::set_permissions(folder.path().join("root"), fs::Permissions::from_mode(0o755))?;
        Ok(Self { folder })
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
        self.root()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Directories without write permission stop a removal by their owner; root does not need this.
        make_removable(self.folder.path());
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
