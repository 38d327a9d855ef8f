//! What goes when there is too much: the oldest entries, with the events of theirs.
//!
//! Owns the bounds: the bytes that were chosen, and [`MAX_EVENTS`], whose ids are in memory. An event that
//! went is accepted anew if it is sent again.

use rusqlite::Connection;
use uuid::Uuid;

use super::event::{Place, place};
use super::file::{Counters, File, save};
use super::read::uuid;
use super::writer::transaction;
use crate::store::MAX_EVENTS;

/// What the file takes beside its entries, roughly: its pages, indexes and tables.
const OVERHEAD: u64 = 64 << 10;
const OVERHEAD_PART: u64 = 16;

/// How much goes at once: this part of the bound, so that it need not be done with every commit.
const PART: u64 = 64;

/// Lets the oldest go until so many bytes more have room, and returns the accepted events among them.
pub(super) fn evict(file: &mut File, max_bytes: u64, coming: u64) -> rusqlite::Result<Vec<(Uuid, Place)>> {
    let part = max_bytes / OVERHEAD_PART;
    let max_bytes = (max_bytes - part - OVERHEAD.min(part)).saturating_sub(coming);
    let max_events = MAX_EVENTS as u64;
    let Counters { weight, events, .. } = file.counters;
    if weight <= max_bytes && events <= max_events {
        return Ok(Vec::new());
    }
    let bytes = weight.saturating_sub(max_bytes - max_bytes / PART);
    let surplus = events.saturating_sub(max_events - max_events / PART);
    let by_weight = if weight > max_bytes { last_of_weight(&file.connection, bytes)? } else { 0 };
    let by_count = if events > max_events { last_of_count(&file.connection, surplus)? } else { 0 };
    let last = by_weight.max(by_count);
    let mut counters = file.counters;
    let connection = &file.connection;
    let gone = transaction(connection, || {
        let gone = remove(connection, last, &mut counters)?;
        save(connection, &counters)?;
        Ok(gone)
    })?;
    file.counters = counters;
    Ok(gone)
}

/// The last of the oldest entries that count for so much.
fn last_of_weight(connection: &Connection, bytes: u64) -> rusqlite::Result<u64> {
    let mut select = connection.prepare_cached("SELECT seq, weight FROM entries ORDER BY seq")?;
    let mut rows = select.query([])?;
    let (mut sum, mut last) = (0, 0);
    while sum < bytes
        && let Some(row) = rows.next()?
    {
        last = row.get(0)?;
        sum += row.get::<_, u64>(1)?;
    }
    Ok(last)
}

/// The entry of the last of so many of the oldest events.
fn last_of_count(connection: &Connection, count: u64) -> rusqlite::Result<u64> {
    let sql = "SELECT place FROM events ORDER BY place LIMIT 1 OFFSET ?1";
    let last: Place = connection.prepare_cached(sql)?.query_row([count], |row| row.get(0))?;
    Ok(last / place(1, 0))
}

/// Lets everything go. Numbers go on.
pub(super) fn clear(connection: &Connection, counters: Counters) -> rusqlite::Result<Counters> {
    for table in ["entries", "events", "duplicates", "things"] {
        connection.prepare_cached(&format!("DELETE FROM {table}"))?.execute([])?;
    }
    Ok(Counters { last_seq: counters.last_seq, ..Counters::default() })
}

fn remove(
    connection: &Connection,
    last: u64,
    counters: &mut Counters,
) -> rusqlite::Result<Vec<(Uuid, Place)>> {
    let end = place(last + 1, 0);
    let weight: u64 = connection
        .prepare_cached("SELECT coalesce(sum(weight), 0) FROM entries WHERE seq <= ?1")?
        .query_row([last], |row| row.get(0))?;
    let mut select = connection.prepare_cached("SELECT id, place FROM events WHERE place < ?1")?;
    let gone: Vec<(Uuid, Place)> =
        select.query_map([end], |row| Ok((uuid(row, 0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    connection.prepare_cached("DELETE FROM events WHERE place < ?1")?.execute([end])?;
    connection.prepare_cached("DELETE FROM duplicates WHERE place < ?1")?.execute([end])?;
    connection.prepare_cached("DELETE FROM entries WHERE seq <= ?1")?.execute([last])?;
    counters.weight = counters.weight.saturating_sub(weight);
    counters.events = counters.events.saturating_sub(gone.len() as u64);
    Ok(gone)
}
