//! A damaged database under the first page of a new one.
//!
//! The first page holds the header and the schema, and without it nothing of the rest can be found. Every buffer
//! has the same schema, whose tables of events and commands always begin at the same pages: a new buffer's first
//! page finds them again. Owns the copy in which that is tried; the damaged file itself is never changed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::files;
use super::store::{connect, make};

/// SQLite's page, unless a database says otherwise; ours do not.
const PAGE: usize = 4_096;
/// Where a header says in which mode it is to be written and read; 2 is for a log (sqlite.org/fileformat2.html,
/// 1.3).
const MODES_AT: usize = 18;
/// Where it says how many pages there are; with 0 the file's size counts.
const PAGES_AT: usize = 28;

/// A copy with another first page, open. It goes when this is dropped.
#[derive(Debug)]
pub(super) struct Repaired {
    /// Open for reading.
    pub(super) connection: Connection,
    _files: Copies,
}

/// Files that are removed in the end.
#[derive(Debug)]
struct Copies(PathBuf);

impl Drop for Copies {
    fn drop(&mut self) {
        let _ = files::remove(&self.0);
    }
}

impl Repaired {
    /// Copies a database and its log. None where that cannot be done, or does not help.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let copy = Copies(files::with_suffix(path, ".salvage"));
        let done = copied(path, &copy.0);
        let connection = match done.map(|()| connect(&copy.0)) {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                tracing::debug!("{} stays unreadable: {error}", path.display());
                return None;
            }
            Err(error) => {
                tracing::debug!("{} cannot be copied: {error}", path.display());
                return None;
            }
        };
        let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        Some(Self { connection, _files: copy })
    }
}

fn copied(path: &Path, copy: &Path) -> io::Result<()> {
    // What a killed process left of an earlier attempt.
    files::remove(copy)?;
    let page = first_page(copy)?;
    for (from, to) in files::of(path).iter().zip(files::of(copy)).take(2) {
        match OpenOptions::new().read(true).custom_flags(nix::libc::O_NOFOLLOW).open(from) {
            Ok(mut from) => {
                files::create(&to)?;
                io::copy(&mut from, &mut OpenOptions::new().write(true).open(&to)?)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    if !copy.exists() {
        // The log is all there is.
        files::create(copy)?;
    }
    OpenOptions::new().write(true).open(copy)?.write_all_at(&page, 0)
}

/// The first page of a new buffer, made at a path where nothing is, and removed again.
fn first_page(at: &Path) -> io::Result<[u8; PAGE]> {
    files::create(at)?;
    make(at).map_err(|unusable| io::Error::other(format!("{unusable:?}")))?;
    let mut page = [0; PAGE];
    File::open(at)?.read_exact_at(&mut page, 0)?;
    fs::remove_file(at)?;
    page[MODES_AT..MODES_AT + 2].fill(2);
    page[PAGES_AT..PAGES_AT + 4].fill(0);
    Ok(page)
}
