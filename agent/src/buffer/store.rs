//! One buffer's database: its schema, how it is opened, and its transactions.
//!
//! Owns the SQLite connection, and the counters, which are stored in the same transaction as what they count:
//! they hold after kill -9, and opening never scans. Must not know who asks, locks, or other buffers.
//!
//! The connection locks exclusively, so SQLite keeps the index of its log on the heap: no shared memory is
//! mapped, and a full tmpfs cannot kill the process by SIGBUS.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use super::{Loss, files};

/// `PRAGMA application_id` of our files: "z4jb".
const APPLICATION_ID: i32 = 0x7a34_6a62;
/// `PRAGMA user_version`: the schema below.
const SCHEMA_VERSION: i32 = 1;
/// Where the two stand in a database's header (sqlite.org/fileformat2.html, 1.3).
const VERSION_AT: usize = 60;
const APPLICATION_AT: usize = 68;

const SCHEMA: &str = "
CREATE TABLE events (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, text TEXT NOT NULL);
CREATE TABLE commands (
    id TEXT PRIMARY KEY, at INTEGER NOT NULL, claim TEXT, payload TEXT, settled_at INTEGER
);
CREATE INDEX unsettled ON commands (at) WHERE payload IS NOT NULL AND settled_at IS NULL;
CREATE TABLE adopted (
    buffer_id TEXT PRIMARY KEY, last_id INTEGER NOT NULL, at INTEGER NOT NULL,
    evicted INTEGER NOT NULL, rejected INTEGER NOT NULL, events INTEGER NOT NULL, results INTEGER NOT NULL
);
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1), buffer_id TEXT NOT NULL,
    events INTEGER NOT NULL, bytes INTEGER NOT NULL, last_id INTEGER NOT NULL, emptied_at INTEGER,
    capacity_evicted INTEGER NOT NULL, content_rejected INTEGER NOT NULL,
    lost_events INTEGER NOT NULL, lost_results INTEGER NOT NULL,
    told_evicted INTEGER NOT NULL, told_rejected INTEGER NOT NULL,
    told_events INTEGER NOT NULL, told_results INTEGER NOT NULL
);";

/// Every transaction runs under these. The log is copied back every 8 MiB, and cut to that.
const SETTINGS: &str = "
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -2048;
PRAGMA synchronous = FULL;
PRAGMA journal_mode = WAL;
PRAGMA wal_autocheckpoint = 2048;
PRAGMA journal_size_limit = 8388608;
PRAGMA trusted_schema = OFF;";

/// What is counted, and stored with every change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Events in the table.
    pub(super) events: u64,
    /// Their text in bytes.
    pub(super) bytes: u64,
    /// The highest place that was ever used.
    pub(super) last_id: i64,
    /// When the last event was settled.
    pub(super) emptied_at: Option<i64>,
    /// What was lost.
    pub(super) loss: Loss,
    /// What of that the brain was told.
    pub(super) told: Loss,
}

/// Why a database cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// A later release wrote it.
    Newer(i32),
    /// Another program wrote it.
    Foreign,
    /// It is damaged.
    Corrupt(String),
    /// It cannot be used right now.
    Sqlite(rusqlite::Error),
    /// It cannot be used right now.
    Io(io::Error),
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Self {
        if is_corrupt(&error) { Self::Corrupt(error.to_string()) } else { Self::Sqlite(error) }
    }
}

/// Whether an error says that the file is damaged.
pub(super) fn is_corrupt(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    let damaged = Some(ErrorCode::DatabaseCorrupt);
    let no_database = Some(ErrorCode::NotADatabase);
    error.sqlite_error_code() == damaged
        || error.sqlite_error_code() == no_database
        // A value of another type than was stored.
        || matches!(error, Error::FromSqlConversionFailure(..) | Error::InvalidColumnType(..) | Error::Utf8Error(..))
}

/// How sure a transaction must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// It survives a power cut once it is committed.
    Full,
    /// It survives kill -9; a power cut may undo it.
    Normal,
}

/// An open database.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) connection: Connection,
    /// The file as it is known.
    pub(super) path: PathBuf,
    /// The file's own id.
    pub(super) buffer_id: String,
    pub(super) counters: Counters,
    durability: Durability,
}

impl Store {
    /// Opens a buffer, making it where there is none. Its lock must be held.
    pub(super) fn open(path: &Path) -> Result<Self, Unusable> {
        match header(path).map_err(Unusable::Io)? {
            Header::None | Header::Empty if files::is_log_alone(path) => {
                let why = "it is gone or empty, and its log with events is still there";
                return Err(Unusable::Corrupt(why.to_owned()));
            }
            Header::None => {
                // What lies beside no database belongs to one that is gone.
                files::remove(path).map_err(Unusable::Io)?;
                files::create(path).map_err(Unusable::Io)?;
                make(path)?;
            }
            Header::Empty => make(path)?,
            Header::Ours(version) if version > SCHEMA_VERSION => return Err(Unusable::Newer(version)),
            Header::Ours(_) => {}
            Header::Foreign => return Err(Unusable::Foreign),
            Header::Garbage => return Err(Unusable::Corrupt("its header is no database's".to_owned())),
        }
        let connection = connect(path)?;
        let (buffer_id, counters) = load(&connection).map_err(|error| match error {
            rusqlite::Error::QueryReturnedNoRows => Unusable::Corrupt("its counters are missing".to_owned()),
            error => error.into(),
        })?;
        Ok(Self { connection, path: path.to_owned(), buffer_id, counters, durability: Durability::Full })
    }

    /// Does something in one transaction. What fails leaves nothing behind, neither there nor here.
    pub(super) fn write<T>(
        &mut self,
        durability: Durability,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.set_durability(durability)?;
        let before = self.counters;
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let done = work(self).and_then(|value| {
            if self.counters != before {
                save(&self.connection, &self.counters)?;
            }
            self.connection.execute_batch("COMMIT")?;
            Ok(value)
        });
        if done.is_err() {
            self.counters = before;
            // SQLite has rolled back already after some errors.
            if !self.connection.is_autocommit() {
                let _ = self.connection.execute_batch("ROLLBACK");
            }
        }
        done
    }

    fn set_durability(&mut self, durability: Durability) -> rusqlite::Result<()> {
        if self.durability != durability {
            let word = if durability == Durability::Full { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", word)?;
            self.durability = durability;
        }
        Ok(())
    }

    /// Copies the log into the database and cuts it: the room it took is free.
    pub(super) fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }

    /// What the database has free within, in bytes.
    pub(super) fn unused(&self) -> rusqlite::Result<u64> {
        let number = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, u64>(0));
        Ok(number("PRAGMA freelist_count")?.saturating_mul(number("PRAGMA page_size")?))
    }

    /// Lets go of the files as they are. Closing would copy the log back and then remove it by its name, which
    /// may be another's by now.
    pub(super) fn abandon(self) {
        let quiet = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        let _ = self.connection.set_db_config(quiet, true);
    }

    /// Gives the room of settled events back, once nothing waits any more.
    pub(super) fn shrink(&self) -> rusqlite::Result<()> {
        let pages: u64 = self.connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        if self.counters.events == 0 && pages > SHRINK_PAGES {
            self.connection.execute_batch("VACUUM")?;
            self.checkpoint()?;
        }
        Ok(())
    }
}

/// How large an empty database may stay: 16 MiB.
const SHRINK_PAGES: u64 = 4_096;

enum Header {
    None,
    Empty,
    Ours(i32),
    Foreign,
    Garbage,
}

/// Reads what stands at a name, before SQLite touches it: opening would already replay a log.
fn header(path: &Path) -> io::Result<Header> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Header::None),
        other => other?,
    };
    let mut bytes = [0_u8; 100];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    if filled == 0 {
        return Ok(Header::Empty);
    }
    if filled < bytes.len() || !bytes.starts_with(b"SQLite format 3\0") {
        return Ok(Header::Garbage);
    }
    let number = |at: usize| i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Ok(match number(APPLICATION_AT) {
        APPLICATION_ID => Header::Ours(number(VERSION_AT)),
        _ => Header::Foreign,
    })
}

/// Opens a database that exists.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    // SQLite would refuse a link anywhere in the path, and directories may be links.
    let dir = path.parent().and_then(|dir| std::fs::canonicalize(dir).ok());
    let real = dir.zip(path.file_name()).map_or_else(|| path.to_owned(), |(dir, name)| dir.join(name));
    let connection = Connection::open_with_flags(real, flags)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(SETTINGS)?;
    Ok(connection)
}

/// Writes the schema into an empty file, whole or not at all, and durably: SQLite throws the log of a
/// database away whose file is empty.
pub(super) fn make(path: &Path) -> Result<(), Unusable> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction()?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.execute_batch(SCHEMA)?;
    let buffer_id = uuid::Uuid::new_v4().simple().to_string();
    transaction.execute(
        "INSERT INTO state VALUES (1, ?1, 0, 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0)",
        params![buffer_id],
    )?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)?;
    files::sync_directory(path).map_err(Unusable::Io)
}

/// The file's id and what is counted in it.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<(String, Counters)> {
    let sql = "SELECT buffer_id, events, bytes, last_id, emptied_at, capacity_evicted, content_rejected,
        lost_events, lost_results, told_evicted, told_rejected, told_events, told_results FROM state";
    connection.query_row(sql, [], |row| {
        let loss = |at: usize| -> rusqlite::Result<Loss> {
            Ok(Loss {
                capacity_evicted: row.get(at)?,
                content_rejected: row.get(at + 1)?,
                events: row.get(at + 2)?,
                command_results: row.get(at + 3)?,
            })
        };
        let counters = Counters {
            events: row.get(1)?,
            bytes: row.get(2)?,
            last_id: row.get(3)?,
            emptied_at: row.get(4)?,
            loss: loss(5)?,
            told: loss(9)?,
        };
        Ok((row.get(0)?, counters))
    })
}

fn save(connection: &Connection, counters: &Counters) -> rusqlite::Result<()> {
    let Counters { events, bytes, last_id, emptied_at, loss, told } = counters;
    let sql = "UPDATE state SET events = ?1, bytes = ?2, last_id = ?3, emptied_at = ?4,
        capacity_evicted = ?5, content_rejected = ?6, lost_events = ?7, lost_results = ?8,
        told_evicted = ?9, told_rejected = ?10, told_events = ?11, told_results = ?12";
    connection.prepare_cached(sql)?.execute(params![
        events,
        bytes,
        last_id,
        emptied_at,
        loss.capacity_evicted,
        loss.content_rejected,
        loss.events,
        loss.command_results,
        told.capacity_evicted,
        told.content_rejected,
        told.events,
        told.command_results,
    ])?;
    Ok(())
}
