//! Whether a directory can really hold a buffer: a SQLite transaction in WAL mode of one full batch.
//!
//! Creating an empty file passes on a full disk, under a file size limit or without inodes, and the buffer
//! then fails. Everything that is written here is removed again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use uuid::Uuid;

use super::{Cause, Refusal};

/// One full batch: the largest frame that a brain takes by default, in bytes.
const BATCH_BYTES: usize = 1 << 20;
/// How many other names are tried.
const MAX_TRIES: usize = 8;

/// A file of the trial, with what SQLite puts beside it; removed when dropped.
struct TrialFile(PathBuf);

impl TrialFile {
    /// Makes a file of a name that nothing bears: one that an earlier run left behind must not count.
    fn create(dir: &Path, suffix: &str) -> io::Result<(Self, fs::File)> {
        let mut tries = 0;
        loop {
            let path = dir.join(format!(".z4j-trial-{}{suffix}", Uuid::new_v4().simple()));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < MAX_TRIES => tries += 1,
                Err(error) => return Err(error),
                Ok(file) => return Ok((Self(path), file)),
            }
        }
    }
}

impl Drop for TrialFile {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let mut path = self.0.clone().into_os_string();
            path.push(suffix);
            let _ = fs::remove_file(path);
        }
    }
}

/// Tries a directory.
///
/// # Errors
/// What refused: by errno wherever plain writes are refused too, since SQLite hides it.
pub(crate) fn trial(dir: &Path) -> Result<(), Refusal> {
    let errno = |error: &io::Error| {
        let errno = error.raw_os_error().unwrap_or(nix::libc::EIO);
        Refusal::new(dir, dir, Cause::Errno(errno))
    };
    let (file, handle) = TrialFile::create(dir, ".sqlite").map_err(|e| errno(&e))?;
    // Once is enough to learn whether syncing is allowed; what it costs is the disk's affair.
    handle.sync_data().map_err(|error| errno(&error))?;
    drop(handle);
    let Err(error) = transaction(&file.0) else { return Ok(()) };
    drop(file);
    match plain_write(dir, 0) {
        Err(plain) => Err(errno(&plain)),
        Ok(()) if matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull)) => {
            Err(Refusal::new(dir, dir, Cause::Errno(nix::libc::ENOSPC)))
        }
        Ok(()) => Err(Refusal::new(dir, dir, Cause::Sqlite(error.to_string()))),
    }
}

fn transaction(path: &Path) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "off")?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.execute_batch("CREATE TABLE trial (batch BLOB)")?;
    let transaction = connection.transaction()?;
    let batch = vec![0x7a_u8; BATCH_BYTES];
    transaction.execute("INSERT INTO trial (batch) VALUES (?1)", [&batch])?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)
}

/// What SQLite does, by plain calls: three files at once, and the batch both in the log and in the file. The
/// errno of its failure is what SQLite hides. `size` is how large a file must be allowed to be.
pub(crate) fn plain_write(dir: &Path, size: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for suffix in [".raw", ".raw-wal", ".raw-shm"] {
        files.push(TrialFile::create(dir, suffix)?);
    }
    for (_, handle) in files.iter_mut().take(2) {
        handle.write_all(&vec![0x7a_u8; BATCH_BYTES])?;
        handle.sync_data()?;
    }
    if let Some((_, handle)) = files.first().filter(|_| size > 0) {
        // Sparse: it takes one block, and a limit of file sizes notices.
        handle.write_all_at(b"z", size)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_nothing_behind() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        assert_eq!(trial(dir.path()), Ok(()));
        assert_eq!(fs::read_dir(dir.path())?.count(), 0);
        Ok(())
    }

    #[test]
    fn what_an_earlier_run_left_behind_does_not_count() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let pid = std::process::id();
        fs::write(dir.path().join(format!(".z4j-trial-{pid}.sqlite")), "x")?;
        assert_eq!(trial(dir.path()), Ok(()));
        assert_eq!(fs::read_dir(dir.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn a_missing_directory_is_told_by_errno() {
        let refusal = trial(Path::new("/nonexistent")).map_err(|refusal| refusal.cause);
        assert_eq!(refusal, Err(Cause::Errno(nix::libc::ENOENT)));
    }
}
