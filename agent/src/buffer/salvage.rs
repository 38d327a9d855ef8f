//! What can still be read of a damaged database.
//!
//! Owns the search for rows around damaged pages, from both ends and then in between. Must not write.

use rusqlite::{Connection, params};
use z4j_protocol::Value;

use super::events::Stored;
use super::results::StoredCommand;
use super::store::is_corrupt;

/// How often the search may run into damage.
const MAX_PROBES: u32 = 256;

/// Reads every event behind a place that can be read, each once; in order, except behind damage. Says
/// whether all could be read.
///
/// # Errors
/// Those of `each`, and those of the file that are not damage.
pub(super) fn events(
    connection: &Connection,
    after: i64,
    mut each: impl FnMut(Stored) -> rusqlite::Result<()>,
) -> rusqlite::Result<bool> {
    let mut low = after;
    if run(connection, "ASC", (low, i64::MAX), |stored| {
        low = stored.id;
        each(stored)
    })? {
        return Ok(true);
    }
    let mut high = i64::MAX;
    let _ = run(connection, "DESC", (low, high), |stored| {
        high = stored.id;
        each(stored)
    })?;
    let mut step = 1_i64;
    for _ in 0..MAX_PROBES {
        let from = low.saturating_add(step);
        if from >= high.saturating_sub(1) {
            break;
        }
        let mut found = false;
        let whole = run(connection, "ASC", (from, high), |stored| {
            (low, found) = (stored.id, true);
            each(stored)
        })?;
        if whole {
            break;
        }
        step = if found { 1 } else { step.saturating_mul(2) };
    }
    Ok(false)
}

/// Reads between two places, both excluded, until damage. Says whether it came to the end.
fn run(
    connection: &Connection,
    order: &str,
    (low, high): (i64, i64),
    mut each: impl FnMut(Stored) -> rusqlite::Result<()>,
) -> rusqlite::Result<bool> {
    let sql = format!("SELECT id, at, text FROM events WHERE id > ?1 AND id < ?2 ORDER BY id {order}");
    let mut select = match connection.prepare(&sql) {
        Err(error) if is_corrupt(&error) || is_unknown(&error) => return Ok(false),
        other => other?,
    };
    let mut rows = match select.query([low, high]) {
        Err(error) if is_corrupt(&error) => return Ok(false),
        other => other?,
    };
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(true),
            Err(error) if is_corrupt(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        let (id, at, text) = (row.get::<_, i64>(0), row.get(1), row.get::<_, String>(2));
        if let (Ok(id), Ok(at), Ok(text)) = (id, at, text)
            && is_event(&text)
        {
            each(Stored { id, at, text })?;
        }
    }
}

/// A damaged schema has no such table.
fn is_unknown(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::Unknown))
}

/// Damage can leave a row that reads well and is none.
fn is_event(text: &str) -> bool {
    let value = Value::parse(text.as_bytes());
    value.is_ok_and(|value| {
        value.as_object().is_some() && value.to_canonical().is_ok_and(|whole| whole == text)
    })
}

/// Reads the commands that can be read.
pub(super) fn commands(connection: &Connection) -> Vec<StoredCommand> {
    let read = || -> rusqlite::Result<Vec<StoredCommand>> {
        let mut select = connection.prepare("SELECT id, at, claim, payload, settled_at FROM commands")?;
        let mut rows = select.query(params![])?;
        let mut commands = Vec::new();
        while let Ok(Some(row)) = rows.next() {
            let (id, at, payload) = (row.get(0), row.get(1), row.get(3));
            if let (Ok(id), Ok(at), Ok(payload)) = (id, at, payload) {
                let (claim, settled_at) = (row.get(2).ok().flatten(), row.get(4).ok().flatten());
                commands.push(StoredCommand { id, at, claim, payload, settled_at });
            }
        }
        Ok(commands)
    };
    read().unwrap_or_default()
}
