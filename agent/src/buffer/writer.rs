//! The thread that holds the SQLite connection, and the order in which it works.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{mpsc, watch};
use z4j_protocol::CanonicalText;

use super::{
    Buffer, BufferStatus, Limit, Loss, NewEvent, OpenError, QUEUE, Refused, Remembered, Request, Row,
    StoredResult,
};
use crate::clock::Clock;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// `Z4J_BUFFER_MAX_EVENTS`
    pub(crate) events: u64,
    /// `Z4J_BUFFER_MAX_BYTES`
    pub(crate) bytes: u64,
}

const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS commands (id TEXT PRIMARY KEY, at INTEGER NOT NULL, settled INTEGER NOT NULL, payload TEXT);
";

/// Opens a buffer file and starts its writer.
///
/// # Errors
/// The file cannot be opened.
pub(crate) fn open(path: &Path, _bounds: Bounds, clock: Clock) -> Result<Buffer, OpenError> {
    let failed = |error| OpenError::Sqlite { path: path.to_owned(), error };
    let connection = Connection::open(path).map_err(failed)?;
    connection.execute_batch(SCHEMA).map_err(failed)?;
    let (requests, receiver) = mpsc::channel(QUEUE);
    let (publish, status) = watch::channel(empty_status(path.to_owned()));
    let writer = Writer { connection, receiver, publish, clock };
    let thread = std::thread::Builder::new().name("buffer".to_owned()).spawn(move || writer.run());
    thread.map_err(|error| OpenError::Io { path: path.to_owned(), error })?;
    Ok(Buffer { requests, status })
}

fn empty_status(path: PathBuf) -> BufferStatus {
    BufferStatus {
        path,
        buffer_id: uuid::Uuid::new_v4().simple().to_string(),
        events: 0,
        bytes: 0,
        unsettled_results: 0,
        oldest_at_micros: None,
        emptied_at_micros: None,
        last_id: 0,
        loss: Loss::default(),
        refused: None,
    }
}

struct Writer {
    connection: Connection,
    receiver: mpsc::Receiver<Request>,
    publish: watch::Sender<BufferStatus>,
    clock: Clock,
}

impl Writer {
    fn run(mut self) {
        while let Some(request) = self.receiver.blocking_recv() {
            if let Request::Close(done) = request {
                let _ = done.send(());
                return;
            }
            if let Err(error) = self.serve(request) {
                tracing::error!("the buffer refuses: {error}");
            }
            let _ = self.publish_status();
        }
    }

    fn serve(&mut self, request: Request) -> rusqlite::Result<()> {
        match request {
            Request::Append(events, answer) => {
                let _ = answer.send(self.append(&events).map_err(|error| refused(&error)));
            }
            Request::Read(after, limit, answer) => {
                let _ = answer.send(self.read(after, limit)?);
            }
            Request::Settle(first, last) => {
                self.connection.execute("DELETE FROM events WHERE id BETWEEN ?1 AND ?2", [first, last])?;
            }
            Request::Reject(id) => {
                self.connection.execute("DELETE FROM events WHERE id = ?1", [id])?;
            }
            Request::Begin(id, answer) => {
                let _ = answer.send(self.begin(&id).map_err(|error| refused(&error)));
            }
            Request::Finish(result, answer) => {
                let done = self.connection.execute(
                    "UPDATE commands SET payload = ?2 WHERE id = ?1",
                    params![result.command_id, result.payload.as_str()],
                );
                let _ = answer.send(done.map(|_| ()).map_err(|error| refused(&error)));
            }
            Request::Unsettled(answer) => {
                let _ = answer.send(self.unsettled()?);
            }
            Request::SettleResults(ids) => {
                for id in ids {
                    self.connection.execute("UPDATE commands SET settled = 1 WHERE id = ?1", [id])?;
                }
            }
            Request::Close(_) => {}
        }
        Ok(())
    }

    fn append(&mut self, events: &[NewEvent]) -> rusqlite::Result<()> {
        let now = self.clock.now().unix_micros();
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO events (at, text) VALUES (?1, ?2)")?;
            for event in events {
                insert.execute(params![now, event.text.as_str()])?;
            }
        }
        transaction.commit()
    }

    fn read(&self, after: i64, limit: Limit) -> rusqlite::Result<Vec<Row>> {
        let mut select = self
            .connection
            .prepare_cached("SELECT id, text FROM events WHERE id > ?1 ORDER BY id LIMIT ?2")?;
        let most = i64::try_from(limit.events).unwrap_or(i64::MAX);
        let rows = select.query_map([after, most], |row| {
            Ok(Row { id: row.get(0)?, text: CanonicalText::kept(row.get(1)?) })
        })?;
        let (mut taken, mut bytes) = (Vec::new(), 0);
        for row in rows {
            let row = row?;
            bytes += row.text.as_str().len() + 1;
            if bytes > limit.bytes && !taken.is_empty() {
                break;
            }
            taken.push(row);
        }
        Ok(taken)
    }

    fn begin(&self, id: &str) -> rusqlite::Result<Remembered> {
        let known: Option<Option<String>> = self
            .connection
            .query_row("SELECT payload FROM commands WHERE id = ?1", [id], |row| row.get(0))
            .optional()?;
        Ok(match known {
            Some(Some(payload)) => Remembered::Done(StoredResult {
                command_id: id.to_owned(),
                payload: CanonicalText::kept(payload),
            }),
            Some(None) => Remembered::Begun,
            None => {
                let now = self.clock.now().unix_micros();
                self.connection
                    .execute("INSERT INTO commands (id, at, settled) VALUES (?1, ?2, 0)", params![id, now])?;
                Remembered::New
            }
        })
    }

    fn unsettled(&self) -> rusqlite::Result<Vec<StoredResult>> {
        let mut select = self.connection.prepare_cached(
            "SELECT id, payload FROM commands WHERE settled = 0 AND payload IS NOT NULL ORDER BY at",
        )?;
        let rows = select.query_map([], |row| {
            Ok(StoredResult { command_id: row.get(0)?, payload: CanonicalText::kept(row.get(1)?) })
        })?;
        rows.collect()
    }

    fn publish_status(&self) -> rusqlite::Result<()> {
        let (events, bytes, oldest, last): (u64, u64, Option<i64>, Option<i64>) = self.connection.query_row(
            "SELECT count(*), coalesce(sum(length(text)), 0), min(at), max(id) FROM events",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )?;
        self.publish.send_modify(|status| {
            status.events = events;
            status.bytes = bytes;
            status.oldest_at_micros = oldest;
            status.last_id = last.unwrap_or(status.last_id).max(status.last_id);
        });
        Ok(())
    }
}

fn refused(error: &rusqlite::Error) -> Refused {
    Refused { code: "sqlite".to_owned(), text: error.to_string() }
}
