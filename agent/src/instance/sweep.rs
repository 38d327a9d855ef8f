//! What killed agents left behind: pidfiles that nobody holds, and the sockets that went with them.
//!
//! Must not touch what is somebody's: a lock that is held, another user's file, anything that is no socket or link.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::libc;

use super::search::{is_private, parse_pidfile};
use super::{CURRENT_SOCKET, Instance};

/// Most entries of a directory that are looked at.
const MAX_ENTRIES: usize = 100_000;

/// Removes the files of agents that died in a directory of ours.
pub(super) fn sweep(dir: &Path, uid: u32) {
    if !is_private(dir, uid) {
        return;
    }
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().take(MAX_ENTRIES);
    let names: Vec<_> = entries
        .filter_map(|entry| parse_pidfile(entry.file_name().to_str()?))
        .map(|(name, pid)| Instance { dir: dir.to_owned(), name, pid })
        .collect();
    let died = names.iter().filter(|instance| bury(instance, uid)).count();
    let current = dir.join(CURRENT_SOCKET);
    if died > 0 && current.metadata().is_err() {
        remove_socket(&current);
    }
}

/// Removes an agent's files if nobody holds its lock. Tells whether that was so.
fn bury(instance: &Instance, uid: u32) -> bool {
    let path = instance.pidfile();
    let mut options = OpenOptions::new();
    // For writing, since some file systems grant an exclusive lock to nothing less.
    options.read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let Ok(file) = options.open(&path) else { return false };
    let Ok(found) = file.metadata() else { return false };
    // Locked from here on: whoever starts under this name takes another.
    if !found.is_file() || found.uid() != uid || file.try_lock().is_err() {
        return false;
    }
    let identity = |found: &fs::Metadata| (found.dev(), found.ino());
    if !fs::symlink_metadata(&path).is_ok_and(|there| identity(&there) == identity(&found)) {
        return false;
    }
    if !remove_sockets(instance) {
        return false;
    }
    fs::remove_file(&path).is_ok()
}

/// Removes an agent's sockets. Tells whether nothing is at their names.
pub(super) fn remove_sockets(instance: &Instance) -> bool {
    let ingest = remove_socket(&instance.ingest_socket());
    remove_socket(&instance.control_socket()) && ingest
}

/// Removes a socket or a link, and nothing else. Tells whether nothing is there.
pub(super) fn remove_socket(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() || found.is_symlink() => fs::remove_file(path).is_ok(),
        Ok(_) => false,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}
