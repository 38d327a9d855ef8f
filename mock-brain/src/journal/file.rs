//! `journal.sqlite`: the file, its schema, and what it counts.
//!
//! Owns how it is made and opened. The connection locks exclusively, so SQLite keeps the index of its log on
//! the heap, and the file is nobody else's while a brain runs.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use rusqlite::{Connection, OpenFlags, params};

/// The file's name in the state directory.
const FILE: &str = "journal.sqlite";
/// `PRAGMA application_id` of our files: "z4mj".
const APPLICATION_ID: i32 = 0x7a34_6d6a;
/// `PRAGMA user_version`: the schema below.
const SCHEMA_VERSION: i32 = 1;
/// How long a brain that ends may still hold the file.
const BUSY: Duration = Duration::from_secs(5);

/// A batch's frame is stored once; an event is its place in it, its id and its time. `WITHOUT ROWID` is for
/// the small table only: the others grow at their end.
const SCHEMA: &str = "
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, type TEXT NOT NULL,
    session TEXT, agent INTEGER, detail TEXT NOT NULL, size INTEGER NOT NULL, weight INTEGER NOT NULL, raw BLOB
);
CREATE TABLE events (place INTEGER PRIMARY KEY, at INTEGER NOT NULL, id BLOB NOT NULL);
CREATE TABLE duplicates (
    place INTEGER PRIMARY KEY, at INTEGER NOT NULL, id BLOB NOT NULL, original INTEGER NOT NULL
);
CREATE TABLE agents (
    number INTEGER PRIMARY KEY, agent_id BLOB NOT NULL, project_id BLOB NOT NULL, name TEXT NOT NULL,
    UNIQUE (agent_id, project_id, name)
);
CREATE TABLE things (
    kind TEXT NOT NULL, serial INTEGER NOT NULL, json TEXT NOT NULL, PRIMARY KEY (kind, serial)
) WITHOUT ROWID;
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1), last_seq INTEGER NOT NULL, weight INTEGER NOT NULL,
    events INTEGER NOT NULL, accepted INTEGER NOT NULL, duplicates INTEGER NOT NULL
);
INSERT INTO state VALUES (1, 0, 0, 0, 0, 0);";

/// `synchronous=NORMAL`: a commit is in the kernel's hands, where kill -9 cannot reach it, and a power cut
/// takes the last moments and leaves the file whole.
///
/// Opening does not wait for the disk: a file that was there is not written, and a new one has nothing to lose
/// until the writer has brought it to the disk, the first thing that it does.
const SETTINGS: &str = "
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -16384;
PRAGMA synchronous = OFF;
PRAGMA journal_mode = WAL;
PRAGMA trusted_schema = OFF;";

/// `PRAGMA page_size`.
const PAGE: u64 = 8_192;
/// Most and fewest bytes of a row that stand in its table's page if not all do, and how many in a page of its own
/// (SQLite's file format, 1.6).
const MAX_LOCAL: u64 = PAGE - 35;
const MIN_LOCAL: u64 = (PAGE - 12) * 32 / 255 - 23;
const OVERFLOW: u64 = PAGE - 4;

/// What a row of so many bytes takes of the file: a page holds whole rows, and long ones go on in pages of their
/// own.
pub(super) fn taken(row: u64) -> u64 {
    let wanted = if row > MAX_LOCAL { MIN_LOCAL + (row - MIN_LOCAL) % OVERFLOW } else { row.max(1) };
    let local = if wanted > MAX_LOCAL { MIN_LOCAL } else { wanted };
    PAGE / (MAX_LOCAL / local) + row.saturating_sub(local).div_ceil(OVERFLOW) * PAGE
}

/// Largest log: it is copied back when it has grown to that, and cut to it.
const MAX_LOG_BYTES: u64 = 16 << 20;
/// Smallest one: copying back waits for the disk.
const MIN_LOG_BYTES: u64 = 256 << 10;

/// How large the log of a journal of so many bytes may be: a quarter of it, so that the bound means something.
fn log_bytes(max_bytes: u64) -> u64 {
    (max_bytes / 4).clamp(MIN_LOG_BYTES, MAX_LOG_BYTES)
}

/// What is counted, and stored with every change: opening never scans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// The highest number of an entry.
    pub(super) last_seq: u64,
    /// What the entries count for in the bound.
    pub(super) weight: u64,
    /// Events kept.
    pub(super) events: u64,
    /// Events accepted, also those that went.
    pub(super) accepted: u64,
    /// Events that came again.
    pub(super) duplicates: u64,
}

/// Why the journal cannot be used. The text names the thing, the reason and the way out.
#[derive(Debug, thiserror::Error)]
#[error("journal {path:?}: {reason}; {way_out}")]
pub struct JournalError {
    path: PathBuf,
    reason: String,
    way_out: &'static str,
}

/// What helps against a file that is none of ours, or damaged.
const MOVE_AWAY: &str = "move it away to start an empty one, or keep the journal in memory (--memory)";
/// What helps against what the system says.
const CHECK: &str = "make room or mend that, or keep the journal in memory (--memory)";

impl JournalError {
    pub(super) fn system(path: &Path, error: &dyn std::error::Error) -> Self {
        Self { path: path.to_owned(), reason: error.to_string(), way_out: CHECK }
    }

    pub(super) fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let damaged = matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase));
        let way_out = if damaged { MOVE_AWAY } else { CHECK };
        Self { path: path.to_owned(), reason: error.to_string(), way_out }
    }

    pub(super) fn unwritten(path: &Path, reason: &str) -> Self {
        Self { path: path.to_owned(), reason: format!("it cannot be written: {reason}"), way_out: CHECK }
    }

    pub(super) fn foreign(path: &Path, reason: &str) -> Self {
        Self { path: path.to_owned(), reason: reason.to_owned(), way_out: MOVE_AWAY }
    }
}

/// An open file.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    pub(super) counters: Counters,
    /// It was made just now, and may not be on the disk.
    pub(super) new: bool,
}

impl File {
    /// Opens the journal of a directory, making it where there is none. It is to hold at most so many bytes.
    pub(super) fn open(dir: &Path, max_bytes: u64) -> Result<Self, JournalError> {
        // SQLite would refuse a link anywhere in the path, and directories may be links.
        let real = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        let path = real.join(FILE);
        create(&path).map_err(|error| JournalError::system(&path, &error))?;
        let failed = |error: rusqlite::Error| JournalError::sqlite(&path, &error);
        let connection = connect(&path, max_bytes).map_err(failed)?;
        let new = match version(&connection).map_err(failed)? {
            (0, 0, true) => {
                make(&connection).map_err(failed)?;
                true
            }
            (APPLICATION_ID, SCHEMA_VERSION, _) => false,
            (APPLICATION_ID, newer, _) => {
                return Err(JournalError::foreign(
                    &path,
                    &format!("another version wrote it (layout {newer})"),
                ));
            }
            _ => return Err(JournalError::foreign(&path, "another program wrote it")),
        };
        connection.execute_batch("PRAGMA synchronous = NORMAL;").map_err(failed)?;
        let counters = load(&connection).map_err(failed)?;
        Ok(Self { path, connection, counters, new })
    }
}

/// Makes the file where there is none, empty: SQLite gives the log its mode.
fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.create(true).truncate(false).write(true).mode(0o600);
    options.custom_flags(OFlag::O_NOFOLLOW.bits()).open(path).map(drop)
}

fn connect(path: &Path, max_bytes: u64) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(&format!("PRAGMA page_size = {PAGE};"))?;
    connection.execute_batch(SETTINGS)?;
    let log = log_bytes(max_bytes);
    connection.execute_batch(&format!(
        "PRAGMA wal_autocheckpoint = {}; PRAGMA journal_size_limit = {log};",
        log / PAGE
    ))?;
    Ok(connection)
}

/// Application id, schema version, and whether there is nothing in it.
fn version(connection: &Connection) -> rusqlite::Result<(i32, i32, bool)> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i32>(0));
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    Ok((number("PRAGMA application_id")?, number("PRAGMA user_version")?, tables == 0))
}

/// Brings the log back into the file, and both to the disk.
pub(super) fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

/// Writes the schema, whole or not at all.
fn make(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; \
         {SCHEMA} COMMIT;"
    ))
}

fn load(connection: &Connection) -> rusqlite::Result<Counters> {
    let sql = "SELECT last_seq, weight, events, accepted, duplicates FROM state";
    connection.query_row(sql, [], |row| {
        Ok(Counters {
            last_seq: row.get(0)?,
            weight: row.get(1)?,
            events: row.get(2)?,
            accepted: row.get(3)?,
            duplicates: row.get(4)?,
        })
    })
}

/// Stores the counters, in the transaction of what they count.
pub(super) fn save(connection: &Connection, counters: &Counters) -> rusqlite::Result<()> {
    let Counters { last_seq, weight, events, accepted, duplicates } = counters;
    let sql = "UPDATE state SET last_seq = ?1, weight = ?2, events = ?3, accepted = ?4, duplicates = ?5";
    connection.prepare_cached(sql)?.execute(params![last_seq, weight, events, accepted, duplicates])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_take_whole_pages() {
        let rows = [(128, 130), (2_000, 2_048), (4_000, 4_096), (4_200, PAGE), (8_157, PAGE)];
        let long = [(8_158, PAGE + 1_024), (10_188, PAGE + 2_048), (3 * OVERFLOW + 4_200, 4 * PAGE)];
        for (row, expected) in rows.into_iter().chain(long) {
            assert_eq!(taken(row), expected, "{row}");
        }
    }

    #[test]
    fn the_log_is_bounded_with_the_journal() {
        let dir = tempfile::tempdir().unwrap();
        for (bytes, log) in [(1 << 20, 256 << 10), (16 << 20, 4 << 20), (4 << 30, 16 << 20)] {
            let file = File::open(dir.path(), bytes).unwrap();
            let set = |name: &str| {
                let sql = format!("PRAGMA {name}");
                file.connection.query_row(&sql, [], |row| row.get::<_, u64>(0)).unwrap()
            };
            assert_eq!((set("journal_size_limit"), set("wal_autocheckpoint") * PAGE), (log, log));
            // A log that has grown is cut again.
            let sql = "INSERT INTO entries (at, kind, type, detail, size, weight, raw)
                       VALUES (0, '', '', '', 0, 0, zeroblob(100000))";
            for _ in 0..4 * log / 100_000 {
                file.connection.execute(sql, []).unwrap();
            }
            let path = dir.path().join("journal.sqlite-wal");
            assert!(std::fs::metadata(path).unwrap().len() < 2 * log, "{bytes}");
        }
    }
}
