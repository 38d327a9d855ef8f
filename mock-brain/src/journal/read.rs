//! What is read from the file, and the things that are kept beside the entries.
//!
//! Owns the statements. Reading never changes anything but [`put`].

use std::collections::HashMap;

use rusqlite::{Connection, Row, params};
use uuid::Uuid;
use z4j_protocol::Timestamp;

use super::Table;
use super::event::{Place, ROOM, Sighted, place};
use super::line::{Page, Read, Reading, Wanted, Who, revived};
use crate::store::StoredEvent;

/// About how many events are read at once: whole batches.
const SLICE: usize = 2_000;

/// A thing that an earlier run kept.
pub(super) struct Thing {
    pub(super) table: Table,
    pub(super) serial: u64,
    pub(super) json: String,
}

/// Every kept thing.
pub(super) fn things(connection: &Connection) -> rusqlite::Result<Vec<Thing>> {
    let mut all = Vec::new();
    let mut select = connection.prepare("SELECT serial, json FROM things WHERE kind = ?1 ORDER BY serial")?;
    for table in Table::ALL {
        let things = select
            .query_map([table.as_str()], |row| Ok(Thing { table, serial: row.get(0)?, json: row.get(1)? }))?;
        for thing in things {
            all.push(thing?);
        }
    }
    Ok(all)
}

/// How long each kept thing is, in bytes.
pub(super) fn lengths(connection: &Connection) -> rusqlite::Result<Vec<((Table, u64), u64)>> {
    let mut all = Vec::new();
    let sql = "SELECT serial, octet_length(json) FROM things WHERE kind = ?1";
    let mut select = connection.prepare(sql)?;
    for table in Table::ALL {
        let lengths = select.query_map([table.as_str()], |row| Ok(((table, row.get(0)?), row.get(1)?)))?;
        for length in lengths {
            all.push(length?);
        }
    }
    Ok(all)
}

/// Keeps a thing as it is now, or lets go of it.
pub(super) fn put(
    connection: &Connection,
    table: Table,
    serial: u64,
    json: Option<&str>,
) -> rusqlite::Result<()> {
    let kind = table.as_str();
    match json {
        Some(json) => connection
            .prepare_cached("INSERT OR REPLACE INTO things (kind, serial, json) VALUES (?1, ?2, ?3)")?
            .execute(params![kind, serial, json])?,
        None => connection
            .prepare_cached("DELETE FROM things WHERE kind = ?1 AND serial = ?2")?
            .execute(params![kind, serial])?,
    };
    Ok(())
}

/// Tells every accepted event that is kept, with its agent, and how many there are.
pub(super) fn ids(
    connection: &Connection,
    tell: impl Fn(Uuid, Place, Option<Uuid>),
) -> rusqlite::Result<u64> {
    let mut select = connection.prepare("SELECT id, place FROM events ORDER BY place")?;
    let mut rows = select.query([])?;
    let (mut count, mut entry, mut agent) = (0, 0, None);
    while let Some(row) = rows.next()? {
        let place: Place = row.get(1)?;
        if place / ROOM != entry {
            entry = place / ROOM;
            agent = agent_of(connection, entry)?;
        }
        tell(uuid(row, 0)?, place, agent);
        count += 1;
    }
    Ok(count)
}

/// Whose batch an entry is.
fn agent_of(connection: &Connection, entry: u64) -> rusqlite::Result<Option<Uuid>> {
    let sql = "SELECT agent_id FROM entries JOIN agents ON agents.number = entries.agent WHERE seq = ?1";
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query([entry])?;
    rows.next()?.map(|row| uuid(row, 0)).transpose()
}

/// How often each event came again.
pub(super) fn duplicate_counts(connection: &Connection) -> rusqlite::Result<HashMap<Place, u64>> {
    let mut select = connection.prepare("SELECT original, count(*) FROM duplicates GROUP BY original")?;
    let counts = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    counts.collect()
}

/// Some of the events behind a place, oldest first.
pub(super) fn events(connection: &Connection, after: Place) -> rusqlite::Result<Vec<(Place, StoredEvent)>> {
    let mut select =
        connection.prepare_cached("SELECT place, at, id FROM events WHERE place > ?1 ORDER BY place")?;
    let mut rows = select.query([after])?;
    let (mut all, mut of_entry, mut entry) = (Vec::new(), Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let place: Place = row.get(0)?;
        if place / ROOM != entry {
            flush(connection, entry, &of_entry, &mut all)?;
            of_entry.clear();
            entry = place / ROOM;
            if all.len() >= SLICE {
                break;
            }
        }
        of_entry.push(sighted(row, place)?);
    }
    flush(connection, entry, &of_entry, &mut all)?;
    Ok(all)
}

/// The newest events, oldest first.
pub(super) fn newest_events(
    connection: &Connection,
    most: usize,
) -> rusqlite::Result<Vec<(Place, StoredEvent)>> {
    let sql = "SELECT min(place) FROM (SELECT place FROM events ORDER BY place DESC LIMIT ?1)";
    let oldest: Option<Place> =
        connection.prepare_cached(sql)?.query_row([most.min(SLICE)], |row| row.get(0))?;
    oldest.map_or(Ok(Vec::new()), |place| events(connection, place - 1))
}

fn flush(
    connection: &Connection,
    entry: u64,
    events: &[Sighted],
    all: &mut Vec<(Place, StoredEvent)>,
) -> rusqlite::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let sql = format!("{ENTRIES} WHERE seq = ?1");
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query([entry])?;
    if let Some(row) = rows.next()? {
        let read = read(row)?;
        if let Some(who) = &read.who {
            all.extend(revived(&read, who, events).map(|(one, event)| (place(entry, one.nth), event)));
        }
    }
    Ok(())
}

const ENTRIES: &str = "SELECT seq, at, kind, type, session, detail, size, raw, agent_id, project_id, name
    FROM entries LEFT JOIN agents ON agents.number = entries.agent";

/// A page of lines.
pub(super) fn page(connection: &Connection, last: u64, wanted: &Wanted) -> rusqlite::Result<Page> {
    if wanted.limit == 0 {
        return Ok(Page { next: last, more: last > wanted.after, ..Page::default() });
    }
    let mut select = connection.prepare_cached(&format!("{ENTRIES} WHERE seq > ?1 ORDER BY seq"))?;
    let mut rows = select.query([wanted.after])?;
    let mut reading = Reading::new(wanted);
    while let Some(row) = rows.next()? {
        if reading.is_full() {
            break;
        }
        let read = read(row)?;
        reading.add(&read, &sighted_of(connection, read.seq)?);
    }
    Ok(reading.done())
}

/// What came of the events of a batch, in its order.
fn sighted_of(connection: &Connection, seq: u64) -> rusqlite::Result<Vec<Sighted>> {
    let sql = "SELECT place, at, id, NULL FROM events WHERE place >= ?1 AND place < ?2
        UNION ALL SELECT place, at, id, original FROM duplicates WHERE place >= ?1 AND place < ?2 ORDER BY 1";
    let mut select = connection.prepare_cached(sql)?;
    let sighted = select.query_map([place(seq, 0), place(seq + 1, 0)], |row| {
        Ok(Sighted { original: row.get(3)?, ..sighted(row, row.get(0)?)? })
    })?;
    sighted.collect()
}

fn sighted(row: &Row<'_>, place: Place) -> rusqlite::Result<Sighted> {
    let nth = u32::try_from(place % ROOM).unwrap_or_default();
    Ok(Sighted { nth, at: Timestamp::from_unix_micros(row.get(1)?), id: uuid(row, 2)?, original: None })
}

fn read<'r>(row: &'r Row<'_>) -> rusqlite::Result<Read<'r>> {
    let who = match row.get_ref(8)?.as_blob_or_null()? {
        None => None,
        Some(_) => Some(Who { agent_id: uuid(row, 8)?, project_id: uuid(row, 9)?, name: row.get(10)? }),
    };
    Ok(Read {
        seq: row.get(0)?,
        at: Timestamp::from_unix_micros(row.get(1)?),
        kind: row.get_ref(2)?.as_str()?,
        type_: row.get_ref(3)?.as_str()?,
        session: row.get_ref(4)?.as_str_or_null()?,
        who,
        detail: row.get_ref(5)?.as_str()?,
        size: row.get(6)?,
        raw: row.get_ref(7)?.as_blob_or_null()?.unwrap_or_default(),
    })
}

/// A UUID as it is stored: its 16 bytes.
pub(super) fn uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    Ok(Uuid::from_bytes(row.get(column)?))
}
