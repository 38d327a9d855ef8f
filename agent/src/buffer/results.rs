//! Commands and their results in the database.
//!
//! Owns the statements on their table, and how long a command is remembered. Everything that changes it runs
//! inside [`Store::write`].

use rusqlite::{OptionalExtension, params};
use z4j_protocol::payload::{CommandResult, CommandStatus};
use z4j_protocol::{CanonicalText, Value};

use super::store::Store;
use super::{Remembered, StoredResult};

/// How long a command is remembered after the brain has its result, in microseconds.
pub(super) const MEMORY_MICROS: i64 = 300 * 1_000_000;

/// Most results that are kept, those that the brain has included.
pub(super) const MOST_RESULTS: u64 = 4_096;
/// Their most bytes.
pub(super) const MOST_RESULT_BYTES: u64 = 16 << 20;

/// A command as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredCommand {
    pub(super) id: String,
    pub(super) at: i64,
    pub(super) claim: Option<String>,
    pub(super) payload: Option<String>,
    pub(super) settled_at: Option<i64>,
}

impl Store {
    /// What is known of a command; a new one is begun.
    pub(super) fn begin(&self, id: &str, claim: Option<&str>, now: i64) -> rusqlite::Result<Remembered> {
        let known = self.known(id)?;
        if known == Remembered::New {
            let sql = "INSERT INTO commands (id, at, claim) VALUES (?1, ?2, ?3)";
            self.connection.prepare_cached(sql)?.execute(params![id, now, claim])?;
        }
        Ok(known)
    }

    /// What is known of a command.
    pub(super) fn known(&self, id: &str) -> rusqlite::Result<Remembered> {
        let known: Option<Option<String>> = self
            .connection
            .prepare_cached("SELECT payload FROM commands WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        Ok(match known {
            Some(Some(payload)) => Remembered::Done(StoredResult {
                command_id: id.to_owned(),
                payload: CanonicalText::kept(payload),
            }),
            Some(None) => Remembered::Begun,
            None => Remembered::New,
        })
    }

    /// Stores a result. The command need not have been begun here: its beginning may have been refused.
    pub(super) fn finish(&mut self, result: &StoredResult, now: i64) -> rusqlite::Result<()> {
        let sql = "INSERT INTO commands (id, at, payload) VALUES (?1, ?2, ?3)
            ON CONFLICT (id) DO UPDATE SET payload = excluded.payload, settled_at = NULL";
        let row = params![result.command_id, now, result.payload.as_str()];
        self.connection.prepare_cached(sql)?.execute(row)?;
        self.bound_results()
    }

    /// Drops results until the bounds hold: those first that the brain has, then the oldest, which are counted.
    pub(super) fn bound_results(&mut self) -> rusqlite::Result<()> {
        let sql = "SELECT count(*), coalesce(sum(octet_length(payload)), 0) FROM commands
            WHERE payload IS NOT NULL";
        let (mut count, mut bytes): (u64, u64) =
            self.connection.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if count <= MOST_RESULTS && bytes <= MOST_RESULT_BYTES {
            return Ok(());
        }
        let mut dropped = Vec::new();
        {
            let sql = "SELECT rowid, octet_length(payload), settled_at IS NULL FROM commands
                WHERE payload IS NOT NULL ORDER BY settled_at IS NULL, at, rowid";
            let mut select = self.connection.prepare_cached(sql)?;
            let mut rows = select.query([])?;
            while count > MOST_RESULTS || bytes > MOST_RESULT_BYTES {
                let Some(row) = rows.next()? else { break };
                dropped.push((row.get::<_, i64>(0)?, row.get::<_, bool>(2)?));
                (count, bytes) = (count.saturating_sub(1), bytes.saturating_sub(row.get(1)?));
            }
        }
        for (rowid, is_lost) in dropped {
            self.connection.prepare_cached("DELETE FROM commands WHERE rowid = ?1")?.execute([rowid])?;
            self.counters.loss.capacity_evicted += u64::from(is_lost);
            self.counters.loss.command_results += u64::from(is_lost);
        }
        Ok(())
    }

    /// Results that the brain may not know, oldest first.
    pub(super) fn unsettled(&self) -> rusqlite::Result<Vec<StoredResult>> {
        let sql = "SELECT id, payload FROM commands INDEXED BY unsettled
            WHERE payload IS NOT NULL AND settled_at IS NULL ORDER BY at, rowid";
        let mut select = self.connection.prepare_cached(sql)?;
        let rows = select.query_map([], |row| {
            Ok(StoredResult { command_id: row.get(0)?, payload: CanonicalText::kept(row.get(1)?) })
        })?;
        rows.collect()
    }

    /// How many results the brain may not know.
    pub(super) fn count_unsettled(&self) -> rusqlite::Result<u64> {
        let sql = "SELECT count(*) FROM commands INDEXED BY unsettled
            WHERE payload IS NOT NULL AND settled_at IS NULL";
        self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
    }

    /// The brain has a result; the command is remembered for a while.
    pub(super) fn settle_result(&self, id: &str, now: i64) -> rusqlite::Result<()> {
        let sql = "UPDATE commands SET settled_at = ?2 WHERE id = ?1 AND settled_at IS NULL";
        self.connection.prepare_cached(sql)?.execute(params![id, now])?;
        Ok(())
    }

    /// Forgets what need not be remembered any more. A clock that was set back keeps nothing for ever.
    pub(super) fn prune_commands(&self, now: i64) -> rusqlite::Result<()> {
        let sql = "DELETE FROM commands WHERE abs(?1 - settled_at) > ?2";
        self.connection.prepare_cached(sql)?.execute([now, MEMORY_MICROS])?;
        Ok(())
    }

    /// Whether any command is remembered.
    pub(super) fn remembers_commands(&self) -> rusqlite::Result<bool> {
        self.connection.query_row("SELECT EXISTS (SELECT 1 FROM commands)", [], |row| row.get(0))
    }

    /// Every command, oldest first.
    pub(super) fn commands(&self) -> rusqlite::Result<Vec<StoredCommand>> {
        let sql = "SELECT id, at, claim, payload, settled_at FROM commands ORDER BY at, rowid";
        let mut select = self.connection.prepare(sql)?;
        let rows = select.query_map([], |row| {
            Ok(StoredCommand {
                id: row.get(0)?,
                at: row.get(1)?,
                claim: row.get(2)?,
                payload: row.get(3)?,
                settled_at: row.get(4)?,
            })
        })?;
        rows.collect()
    }

    /// Takes a command over from another buffer, unless it is known here.
    pub(super) fn insert_command(&self, command: &StoredCommand) -> rusqlite::Result<()> {
        let sql = "INSERT OR IGNORE INTO commands (id, at, claim, payload, settled_at)
            VALUES (?1, ?2, ?3, ?4, ?5)";
        let StoredCommand { id, at, claim, payload, settled_at } = command;
        self.connection.prepare_cached(sql)?.execute(params![id, at, claim, payload, settled_at])?;
        Ok(())
    }

    /// A result for every command that had begun when the process ended that ran it.
    pub(super) fn interrupted(&self) -> rusqlite::Result<Vec<StoredResult>> {
        let sql = "SELECT id, claim FROM commands WHERE payload IS NULL ORDER BY at, rowid";
        let mut select = self.connection.prepare(sql)?;
        let rows = select.query_map([], |row| {
            Ok(StoredResult { command_id: row.get(0)?, payload: interrupted(row.get(1)?) })
        })?;
        rows.collect()
    }
}

/// The result of a command whose process ended while it ran.
pub(super) fn interrupted(claim: Option<String>) -> CanonicalText {
    let result = Value::parse(br#"{"indeterminate":true}"#).ok();
    let error = "the agent stopped while this command ran; whether it took effect is unknown";
    let payload = CommandResult {
        status: CommandStatus::Failed,
        result,
        error: Some(error.to_owned()),
        delivery_claim_token: claim,
    };
    CanonicalText::from_serialize(&payload).unwrap_or_else(|_| {
        // Not reached: every part of it can be written.
        CanonicalText::kept(format!("{{\"error\":\"{error}\",\"status\":\"failed\"}}"))
    })
}
