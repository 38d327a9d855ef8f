//! Events in the database: how they come, are read, and go.
//!
//! Owns the statements on their table and the counting. Everything that changes it runs inside
//! [`Store::write`].

use rusqlite::params;
use z4j_protocol::CanonicalText;

use super::store::Store;
use super::{Bounds, Limit, Row};

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// Its place.
    pub(super) id: i64,
    /// When it was accepted, in microseconds since 1970.
    pub(super) at: i64,
    /// Its text.
    pub(super) text: String,
}

/// The size of a text, as it is counted.
pub(super) fn size(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

impl Store {
    /// Stores an event behind all others.
    pub(super) fn insert(&mut self, at: i64, text: &str) -> rusqlite::Result<()> {
        self.insert_at(self.counters.last_id + 1, at, text)
    }

    /// Stores an event at a place.
    pub(super) fn insert_at(&mut self, id: i64, at: i64, text: &str) -> rusqlite::Result<()> {
        let sql = "INSERT INTO events (id, at, text) VALUES (?1, ?2, ?3)";
        self.connection.prepare_cached(sql)?.execute(params![id, at, text])?;
        self.counters.events += 1;
        self.counters.bytes += size(text);
        self.counters.last_id = self.counters.last_id.max(id);
        Ok(())
    }

    /// Removes the events from one place to another, both included, and says how many there were.
    pub(super) fn remove(&mut self, first: i64, last: i64) -> rusqlite::Result<u64> {
        let sql =
            "SELECT count(*), coalesce(sum(octet_length(text)), 0) FROM events WHERE id BETWEEN ?1 AND ?2";
        let (events, bytes): (u64, u64) = self
            .connection
            .prepare_cached(sql)?
            .query_row([first, last], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if events > 0 {
            self.connection
                .prepare_cached("DELETE FROM events WHERE id BETWEEN ?1 AND ?2")?
                .execute([first, last])?;
        }
        self.counters.events = self.counters.events.saturating_sub(events);
        self.counters.bytes = self.counters.bytes.saturating_sub(bytes);
        Ok(events)
    }

    /// Removes events that the brain has settled.
    pub(super) fn settle(&mut self, first: i64, last: i64, now: i64) -> rusqlite::Result<()> {
        if self.remove(first, last)? > 0 && self.counters.events == 0 {
            self.counters.emptied_at = Some(now);
        }
        Ok(())
    }

    /// Removes an event that no brain takes, and counts it.
    pub(super) fn reject(&mut self, id: i64) -> rusqlite::Result<()> {
        let lost = self.remove(id, id)?;
        self.counters.loss.content_rejected += lost;
        self.counters.loss.events += lost;
        Ok(())
    }

    /// Removes the oldest events until the bounds hold, counts them, and says how many they were.
    pub(super) fn evict(&mut self, bounds: Bounds) -> rusqlite::Result<u64> {
        let counters = self.counters;
        if counters.events <= bounds.events && counters.bytes <= bounds.bytes {
            return Ok(0);
        }
        let last = {
            let sql = "SELECT id, octet_length(text) FROM events ORDER BY id";
            let mut select = self.connection.prepare_cached(sql)?;
            let mut rows = select.query([])?;
            let (mut events, mut bytes, mut last) = (counters.events, counters.bytes, None);
            while events > bounds.events || bytes > bounds.bytes {
                let Some(row) = rows.next()? else { break };
                last = Some(row.get(0)?);
                events = events.saturating_sub(1);
                bytes = bytes.saturating_sub(row.get(1)?);
            }
            last
        };
        let Some(last) = last else { return Ok(0) };
        let lost = self.remove(i64::MIN, last)?;
        self.counters.loss.capacity_evicted += lost;
        self.counters.loss.events += lost;
        Ok(lost)
    }

    /// Events behind a place, oldest first, without those that are to be skipped.
    pub(super) fn read(
        &self,
        after: i64,
        limit: Limit,
        skip: impl Fn(i64) -> bool,
    ) -> rusqlite::Result<Vec<Row>> {
        let mut select =
            self.connection.prepare_cached("SELECT id, text FROM events WHERE id > ?1 ORDER BY id")?;
        let mut rows = select.query([after])?;
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < limit.events {
            let Some(row) = rows.next()? else { break };
            let id = row.get(0)?;
            if skip(id) {
                continue;
            }
            // Looked at before it is copied.
            let text = row.get_ref(1)?.as_str()?;
            bytes += text.len() + 1;
            if bytes > limit.bytes && !taken.is_empty() {
                break;
            }
            taken.push(Row { id, text: CanonicalText::kept(text.to_owned()) });
        }
        Ok(taken)
    }

    /// Events behind a place, to be moved: at most this many, and this much text behind the first.
    pub(super) fn slice(&self, after: i64, limit: Limit) -> rusqlite::Result<Vec<Stored>> {
        let mut select =
            self.connection.prepare_cached("SELECT id, at, text FROM events WHERE id > ?1 ORDER BY id")?;
        let mut rows = select.query([after])?;
        let (mut taken, mut bytes) = (Vec::<Stored>::new(), 0);
        while taken.len() < limit.events && bytes < limit.bytes {
            let Some(row) = rows.next()? else { break };
            let stored = Stored { id: row.get(0)?, at: row.get(1)?, text: row.get(2)? };
            bytes += stored.text.len();
            taken.push(stored);
        }
        Ok(taken)
    }

    /// When the oldest event, by its place, was accepted.
    pub(super) fn oldest_at(&self) -> rusqlite::Result<Option<i64>> {
        use rusqlite::OptionalExtension;
        let sql = "SELECT at FROM events ORDER BY id LIMIT 1";
        self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()
    }
}
