//! Files of ours that are damaged: set aside, said, and read as far as that goes.
//!
//! Owns what happens to them. They are never removed: `NAME.corrupt-{n}` stays for whoever wants to look.

use std::path::{Path, PathBuf};

use super::lock::{Blocked, Lock};
use super::store::{Durability, Store, connect};
use super::{Bounds, events, files, salvage as rows};

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
/// happens once more: the events bear the same ids then, and the brain's dedupe drops them.
pub(super) fn salvage(
    own: &mut Store,
    path: &Path,
    lock: Lock,
    after: i64,
    why: &str,
    bounds: Bounds,
    now: i64,
) {
    let marked = path.file_name().is_some_and(|name| name.to_string_lossy().contains(MARK));
    let aside = if marked { Some(path.to_owned()) } else { free_name(path) };
    let Some(aside) = aside else { return };
    let (mut read, mut room) = (0_u64, true);
    // The log must stay as it is, for whoever looks: closing would remove it.
    if let Ok(damaged) = connect(path) {
        let taken = own.write(Durability::Full, |own| {
            rows::events(&damaged, after, |row| {
                let more = own.counters.bytes + events::size(&row.text);
                room &= own.counters.events < bounds.events && more <= bounds.bytes;
                if room {
                    own.insert(row.at, &row.text)?;
                    read += 1;
                }
                Ok(())
            })?;
            own.take_commands(rows::commands(&damaged), now)
        });
        let quiet = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        let _ = damaged.set_db_config(quiet, true);
        if let Err(error) = taken {
            // It stays an orphan, and is read again.
            return tracing::debug!("{} cannot be read now: {error}", path.display());
        }
    }
    if !marked && let Err(error) = files::set_aside(path, &aside) {
        return tracing::warn!("{} is damaged ({why}) and cannot be set aside: {error}", path.display());
    }
    let _ = lock.remove();
    let rest = if room { "" } else { "; the others did not fit into the buffer" };
    tracing::warn!(
        "{} is damaged ({why}): {read} of its events were read{rest}, and it is kept as {}",
        path.display(),
        aside.display()
    );
}
