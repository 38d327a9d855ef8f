//! Files of ours that are damaged: set aside, said, and read as far as that goes.
//!
//! Owns what happens to them. They are never removed: `NAME.corrupt-{n}` stays for whoever wants to look.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::lock::{Blocked, Lock};
use super::store::{Counters, Durability, Store, connect, load};
use super::{Bounds, Loss, events, files, first_page, room, salvage as rows};

/// Between a name and the number of a file that was set aside.
const MARK: &str = ".corrupt-";
/// How many files of one name are set aside.
const MOST: u32 = 1_000;

fn free_name(path: &Path) -> Option<PathBuf> {
    (1..=MOST)
        .map(|n| files::with_suffix(path, &format!("{MARK}{n}")))
        .find(|aside| files::of(aside).iter().all(|file| std::fs::symlink_metadata(file).is_err()))
}

/// Sets a damaged file aside as an orphan, with a lock of its own: whoever looks for orphans reads it. The
/// caller holds the lock of its name, and may use that anew.
pub(super) fn set_aside(path: &Path, deployment: &str, why: &str) -> std::io::Result<()> {
    let full = || std::io::Error::other("too many damaged files lie beside it: remove them");
    let aside = free_name(path).ok_or_else(full)?;
    let lock = Lock::create(&aside, deployment).map_err(|blocked| match blocked {
        Blocked::Io(error) => error,
        other => std::io::Error::other(format!("{other:?}")),
    })?;
    files::set_aside(path, &aside)?;
    files::sync_directory(path)?;
    tracing::warn!("{} is damaged ({why}): it is set aside as {}", path.display(), aside.display());
    drop(lock);
    Ok(())
}

/// Takes what can be read of a damaged orphan, and sets it aside without its lock. Killed before it is, this
/// happens once more: the events bear the same ids then, and the brain's dedupe drops them. What does not fit
/// leaves it as it is, unless there will never be more room. Tells whether it is done with.
pub(super) fn salvage(
    own: &mut Store,
    path: &Path,
    lock: Lock,
    after: i64,
    why: &str,
    bounds: Bounds,
    now: i64,
) -> bool {
    let marked = path.file_name().is_some_and(|name| name.to_string_lossy().contains(MARK));
    let aside = if marked { Some(path.to_owned()) } else { free_name(path) };
    let Some(aside) = aside else { return true };
    let found = match take(own, path, after, bounds, now) {
        Ok(found) => found,
        Err(Untaken::NoRoom) => return false,
        Err(Untaken::Own(error)) => {
            // It stays an orphan, and is read again.
            tracing::debug!("{} cannot be read now: {error}", path.display());
            return true;
        }
    };
    if !marked && let Err(error) = files::set_aside(path, &aside) {
        tracing::warn!("{} is damaged ({why}) and cannot be set aside: {error}", path.display());
        return true;
    }
    let _ = lock.remove();
    let rest = if found.room { "" } else { "; the others did not fit into the buffer" };
    let of = found.held.map_or_else(
        || "events were read (how many it held cannot be told)".to_owned(),
        |held| format!("of its {held} events were read"),
    );
    tracing::warn!(
        "{} is damaged ({why}): {} {of}{rest}, and it is kept as {}",
        path.display(),
        found.read,
        aside.display()
    );
    true
}

/// What could be read, and whether all of that fitted.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    read: u64,
    room: bool,
    /// How many events it held, where its own counters can be read.
    held: Option<u64>,
}

/// Why nothing was taken.
enum Untaken {
    NoRoom,
    Own(rusqlite::Error),
}

fn take(own: &mut Store, path: &Path, after: i64, bounds: Bounds, now: i64) -> Result<Found, Untaken> {
    // Opening an empty database would throw its log away.
    let direct = if files::is_log_alone(path) { None } else { connect(path).ok() };
    let (count, size) = direct.as_ref().map_or((0, 0), |damaged| measure(damaged, after));
    if count > 0 {
        return take_from(own, direct.as_ref(), (count, size), after, bounds, now);
    }
    // Its first page may be all that is damaged. Places do not tell anything then.
    let repaired = first_page::Repaired::of(path);
    let (count, size) = repaired.as_ref().map_or((0, 0), |repaired| measure(&repaired.connection, after));
    if count > 0 {
        let connection = repaired.as_ref().map(|repaired| &repaired.connection);
        return take_from(own, connection, (count, size), after, bounds, now);
    }
    take_from(own, direct.as_ref(), (0, 0), after, bounds, now)
}

/// How many events can be read, and how large they are.
fn measure(damaged: &Connection, after: i64) -> (u64, u64) {
    // The log must stay as it is, for whoever looks: closing would remove it.
    let _ = damaged.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    let (mut count, mut size) = (0, 0);
    let _ = rows::events(damaged, after, |row| {
        (count, size) = (count + 1, size + events::size(&row.text));
        Ok(())
    });
    (count, size)
}

fn take_from(
    own: &mut Store,
    damaged: Option<&Connection>,
    (count, size): (u64, u64),
    after: i64,
    bounds: Bounds,
    now: i64,
) -> Result<Found, Untaken> {
    let Some(damaged) = damaged else { return Ok(Found { room: true, ..Found::default() }) };
    let counters = own.counters;
    let fits = counters.events + count <= bounds.events && counters.bytes + size <= bounds.bytes;
    if !fits && counters.events > 0 || !room::to_move(&own.path, size, 0) {
        return Err(Untaken::NoRoom);
    }
    let known = load(damaged).ok();
    let held = known.as_ref().map(|(_, counters)| counters.events);
    let mut found = Found { read: 0, room: true, held };
    let taken = own.write(Durability::Full, |own| {
        rows::events(damaged, after, |row| {
            let more = own.counters.bytes + events::size(&row.text);
            found.room &= own.counters.events < bounds.events && more <= bounds.bytes;
            if found.room {
                own.insert(row.at, &row.text)?;
                found.read += 1;
            }
            Ok(())
        })?;
        if let Some((buffer_id, theirs)) = &known {
            count_lost(own, buffer_id, theirs, (count, found.read), now)?;
        }
        own.take_commands(rows::commands(damaged), now)
    });
    taken.map(|()| found).map_err(Untaken::Own)
}

/// Counts what its process had lost and not told of, and now what cannot be `read` or does not fit. The record
/// keeps that from being counted again.
fn count_lost(
    own: &mut Store,
    buffer_id: &str,
    theirs: &Counters,
    (readable, taken): (u64, u64),
    now: i64,
) -> rusqlite::Result<()> {
    let (unreadable, evicted) = (theirs.events.saturating_sub(readable), readable.saturating_sub(taken));
    let lost = theirs.loss.plus(Loss {
        capacity_evicted: evicted,
        content_rejected: unreadable,
        events: unreadable + evicted,
        command_results: 0,
    });
    own.take_loss(buffer_id, (lost, theirs.told), now)
}
