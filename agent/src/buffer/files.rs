//! The files of a buffer: how they are called, made, watched and removed.
//!
//! Owns the database and what SQLite puts beside it; the lock has its own module. Must not open databases.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::lock::{Identity, identity};

/// A name with something behind it.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The database, its log, and what other modes of SQLite would leave. The database comes first.
pub(super) fn of(path: &Path) -> [PathBuf; 4] {
    ["", "-wal", "-shm", "-journal"].map(|suffix| with_suffix(path, suffix))
}

/// Makes the database's file, empty: SQLite gives the others its mode.
pub(super) fn create(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    // The umask may have taken from the owner too.
    file.set_permissions(Permissions::from_mode(0o600))
}

/// Makes names durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// The header of a log, in bytes (sqlite.org/fileformat2.html, 4.1); what is behind it are pages.
const LOG_HEADER: u64 = 32;

/// Whether a log with pages lies at a name whose database is gone or empty. The pages may be events that are
/// nowhere else, and SQLite throws such a log away when it opens the database.
pub(super) fn is_log_alone(path: &Path) -> bool {
    let size = |file: &Path| fs::symlink_metadata(file).map_or(0, |metadata| metadata.len());
    size(path) == 0 && size(&with_suffix(path, "-wal")) > LOG_HEADER
}

/// Removes the database and what lies beside it. It goes last: a log without it looks like damage.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    for file in of(path).iter().rev() {
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The files of an open buffer, by identity: they can be unlinked or replaced under a running agent, as
/// cleaners of temporary directories do.
#[derive(Debug)]
pub(super) struct Watched(Vec<(PathBuf, Identity)>);

impl Watched {
    /// Remembers files as they are now.
    pub(super) fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(paths.into_iter().filter_map(|path| identity(&path).map(|is| (path, is))).collect())
    }

    /// The first file that no longer bears its name.
    pub(super) fn missing(&self) -> Option<&Path> {
        self.0.iter().find(|(path, was)| identity(path) != Some(*was)).map(|(path, _)| path.as_path())
    }

    /// Removes those that still bear their names.
    pub(super) fn remove(&self) {
        for (path, was) in &self.0 {
            if identity(path) == Some(*was) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Moves a database that cannot be read out of the way, with its log: `NAME.corrupt-{n}`.
pub(super) fn set_aside(path: &Path, to: &Path) -> io::Result<()> {
    // The database goes first: without it, what is left of the log is nothing.
    for (from, to) in of(path).iter().zip(of(to)) {
        match fs::rename(from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
