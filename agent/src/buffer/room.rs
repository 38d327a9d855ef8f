//! Whether a file system, and the limit of file sizes, have room for more events.
//!
//! Owns the headroom: SQLite needs room to delete, and as much as its log takes to copy that back. A buffer
//! that filled its file system to the last block, or a log that no longer fits into the database, could never
//! be emptied again. Must not write.

use std::fs;
use std::path::Path;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::statvfs::statvfs;

use super::files;

/// What must stay free to settle events, in bytes.
const HEADROOM: u64 = 1 << 20;
/// What of that may be used where the database need not grow: it is free again after the next copy.
const MARGIN: u64 = HEADROOM / 4;

/// What is in the way of so many bytes of text, which must also be removable again: an errno. `unused` is what
/// the database has free within.
pub(super) fn lacking(path: &Path, bytes: u64, unused: u64) -> Option<i32> {
    let [database, log, ..] = files::of(path).map(|file| fs::metadata(file).map_or(0, |found| found.len()));
    let growth = log.saturating_add(bytes).saturating_sub(unused);
    let limit = getrlimit(Resource::RLIMIT_FSIZE).map_or(RLIM_INFINITY, |(soft, _)| soft);
    if !may_grow(limit, database, growth) {
        return Some(nix::libc::EFBIG);
    }
    let space = path.parent().and_then(|dir| statvfs(dir).ok())?;
    // Some file systems do not say.
    if space.blocks() == 0 {
        return None;
    }
    let free = space.blocks_available().saturating_mul(space.fragment_size());
    // Everything is written to the log, and then into the database.
    let needed = if growth == 0 { MARGIN } else { HEADROOM.saturating_add(growth) };
    (free < needed.saturating_add(bytes)).then_some(nix::libc::ENOSPC)
}

/// Whether so many bytes of text can be moved here from another buffer of the same file system, where they leave
/// through a log as well. Less must stay free than for events from outside: a buffer that takes nothing more
/// because the dead's files are in the way would never see them go.
pub(super) fn to_move(path: &Path, bytes: u64, unused: u64) -> bool {
    let [database, log, ..] = files::of(path).map(|file| fs::metadata(file).map_or(0, |found| found.len()));
    let growth = log.saturating_add(bytes).saturating_sub(unused);
    let limit = getrlimit(Resource::RLIMIT_FSIZE).map_or(RLIM_INFINITY, |(soft, _)| soft);
    let Some(space) = path.parent().and_then(|dir| statvfs(dir).ok()) else { return true };
    let free = space.blocks_available().saturating_mul(space.fragment_size());
    let needed = MARGIN.saturating_add(growth).saturating_add(bytes.saturating_mul(2));
    may_grow(limit, database, growth) && (space.blocks() == 0 || free >= needed)
}

/// Whether a database may become so much larger. One that need not grow has its log copied back in any case.
const fn may_grow(limit: u64, database: u64, growth: u64) -> bool {
    growth == 0 || database.saturating_add(growth).saturating_add(MARGIN) <= limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_file_sizes_leaves_a_margin() {
        for (limit, database, growth, may) in [
            (RLIM_INFINITY, u64::MAX, u64::MAX, true),
            (MARGIN + 10, 4, 6, true),
            (MARGIN + 10, 4, 7, false),
            (MARGIN, 1_000_000_000, 0, true),
        ] {
            assert_eq!(may_grow(limit, database, growth), may, "{limit} {database} {growth}");
        }
    }
}
