//! What was taken over from other buffers, so that it is taken once.
//!
//! Owns the statements on that table. A record is written in the transaction that takes: whether the other
//! file was still there afterwards, or its rows could be removed, does not matter then.

use rusqlite::{OptionalExtension, params};

use super::Loss;
use super::store::Store;

/// How long a record of a buffer is kept that nobody has seen since, in microseconds.
const KEPT_MICROS: i64 = 7 * 24 * 3_600 * 1_000_000;

/// What was taken of a buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) buffer_id: String,
    /// The last event.
    pub(super) last_id: i64,
    /// The counted losses.
    pub(super) loss: Loss,
}

impl Store {
    /// What was taken of a buffer; nothing, where it is not known.
    pub(super) fn record(&self, buffer_id: &str) -> rusqlite::Result<Record> {
        let sql = "SELECT last_id, evicted, rejected, events, results FROM adopted WHERE buffer_id = ?1";
        let found = self.connection.prepare_cached(sql)?.query_row([buffer_id], |row| {
            Ok(Record { buffer_id: buffer_id.to_owned(), last_id: row.get(0)?, loss: loss(row, 1)? })
        });
        Ok(found.optional()?.unwrap_or(Record { buffer_id: buffer_id.to_owned(), ..Record::default() }))
    }

    /// Every record.
    pub(super) fn records(&self) -> rusqlite::Result<Vec<Record>> {
        let sql = "SELECT last_id, evicted, rejected, events, results, buffer_id FROM adopted";
        let mut select = self.connection.prepare(sql)?;
        let rows = select.query_map([], |row| {
            Ok(Record { buffer_id: row.get(5)?, last_id: row.get(0)?, loss: loss(row, 1)? })
        })?;
        rows.collect()
    }

    /// Notes what was taken; what is known already is never taken back.
    pub(super) fn note(&self, record: &Record, now: i64) -> rusqlite::Result<()> {
        let known = self.record(&record.buffer_id)?;
        let loss = known.loss.max(record.loss);
        let sql =
            "INSERT OR REPLACE INTO adopted (buffer_id, last_id, at, evicted, rejected, events, results)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.connection.prepare_cached(sql)?.execute(params![
            record.buffer_id,
            known.last_id.max(record.last_id),
            now,
            loss.capacity_evicted,
            loss.content_rejected,
            loss.events,
            loss.command_results,
        ])?;
        Ok(())
    }

    /// Counts what another buffer's process had `lost`, but for what it told or what was taken before.
    pub(super) fn take_loss(
        &mut self,
        buffer_id: &str,
        (lost, told): (Loss, Loss),
        now: i64,
    ) -> rusqlite::Result<()> {
        let record = self.record(buffer_id)?;
        self.counters.loss = self.counters.loss.plus(lost.minus(told.max(record.loss)));
        self.note(&Record { loss: lost, ..record }, now)
    }

    /// Forgets a buffer whose files are gone, and others that nobody has seen for long.
    pub(super) fn forget(&self, buffer_id: &str, now: i64) -> rusqlite::Result<()> {
        let sql = "DELETE FROM adopted WHERE buffer_id = ?1 OR abs(?2 - at) > ?3";
        self.connection.prepare_cached(sql)?.execute(params![buffer_id, now, KEPT_MICROS])?;
        Ok(())
    }
}

fn loss(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Loss> {
    Ok(Loss {
        capacity_evicted: row.get(at)?,
        content_rejected: row.get(at + 1)?,
        events: row.get(at + 2)?,
        command_results: row.get(at + 3)?,
    })
}
