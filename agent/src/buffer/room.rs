//! Whether a file system has room for more events.
//!
//! Owns the headroom: SQLite needs room to delete, and as much as its log takes to copy that back. A buffer
//! that filled its file system to the last block could never be emptied again. Must not write.

use std::fs;
use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::files;

/// What must stay free to settle events, in bytes.
const HEADROOM: u64 = 1 << 20;
/// What of that may be used where the database need not grow: it is free again after the next copy.
const MARGIN: u64 = HEADROOM / 4;

/// Whether so many bytes of text can be stored, and still be removed. `unused` is what the database has free
/// within.
pub(super) fn is_there(path: &Path, bytes: u64, unused: u64) -> bool {
    let Some(space) = path.parent().and_then(|dir| statvfs(dir).ok()) else { return true };
    // Some file systems do not say.
    if space.blocks() == 0 {
        return true;
    }
    let [_, log, ..] = files::of(path);
    let log = fs::metadata(log).map_or(0, |found| found.len());
    let free = space.blocks_available().saturating_mul(space.fragment_size());
    // Everything is written to the log, and then into the database.
    let needed = match log.saturating_add(bytes).saturating_sub(unused) {
        0 => MARGIN,
        growth => HEADROOM.saturating_add(growth),
    };
    free >= needed.saturating_add(bytes)
}
