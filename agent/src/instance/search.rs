//! Which agents live, and where a new one belongs.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::libc;
use nix::unistd::{AccessFlags, access};

use super::{Instance, check_length};
use crate::environment::Environment;
use crate::paths;

/// Most entries of a directory that are looked at.
const MAX_ENTRIES: usize = 100_000;
/// Bits that let others write.
const OTHERS_WRITE: u32 = 0o022;

/// The agents of this user that live, newest first. Looks in `$RUNTIME_DIRECTORY`, the home root, and every
/// temporary root that is ours; creates nothing.
pub(crate) fn live(environment: &Environment, home: Option<&Path>) -> Vec<Instance> {
    live_in(&places(environment, home), environment.account.uid)
}

/// Where this user's agents may be.
pub(crate) fn places(environment: &Environment, home: Option<&Path>) -> Vec<PathBuf> {
    let home = home.map(Path::to_owned).or_else(|| paths::home_root_of(environment));
    let temporary = paths::temporary_roots(environment);
    let mut places: Vec<PathBuf> = Vec::new();
    let buffers = beside_buffer(environment, home.as_deref());
    for place in runtime_directory(environment).into_iter().chain(home).chain(buffers).chain(temporary) {
        // A directory under two names would show each of its agents twice.
        let same = |other: &PathBuf| {
            *other == place || real(other).is_some_and(|real_other| Some(real_other) == real(&place))
        };
        if !places.iter().any(same) {
            places.push(place);
        }
    }
    places
}

fn real(place: &Path) -> Option<PathBuf> {
    fs::canonicalize(place).ok()
}

/// The directory of the buffer that `Z4J_BUFFER_PATH` names: an agent that keeps it there has its sockets there
/// too.
fn beside_buffer(environment: &Environment, home: Option<&Path>) -> Option<PathBuf> {
    let written = environment.path("Z4J_BUFFER_PATH")?;
    let path = match written.strip_prefix("~") {
        Ok(rest) => environment.home_dir()?.join(rest),
        Err(_) => written,
    };
    let path = if path.is_absolute() { path } else { home?.join(path) };
    path.parent().map(Path::to_owned)
}

/// The first of `$RUNTIME_DIRECTORY`, a list with colons (systemd.exec(5)).
fn runtime_directory(environment: &Environment) -> Option<PathBuf> {
    let list = environment.get("RUNTIME_DIRECTORY")?;
    std::env::split_paths(list).next().filter(|dir| dir.is_absolute())
}

/// Where a new agent puts its pidfile and sockets: `$RUNTIME_DIRECTORY`, or else the root that its buffer lies
/// in, where others look whatever the buffer is called; beside the buffer where neither serves.
pub(crate) fn place(environment: &Environment, home: Option<&Path>, buffer_dir: &Path) -> PathBuf {
    let serves = |dir: &PathBuf| {
        let longest = Instance { dir: dir.clone(), name: "agent-4194304-9".to_owned(), pid: 1 };
        is_private(dir, environment.account.uid)
            && check_length(&longest.control_socket()).is_ok()
            && access(dir, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
    };
    let real_buffer_dir = real(buffer_dir);
    let holds = |root: &PathBuf| {
        real(root).zip(real_buffer_dir.as_ref()).is_some_and(|(root, dir)| dir.starts_with(root))
    };
    let roots = paths::every_root(environment, home).into_iter().filter(holds);
    runtime_directory(environment)
        .into_iter()
        .chain(roots)
        .find(serves)
        .unwrap_or_else(|| buffer_dir.to_owned())
}

/// Whether a directory is this user's, and nobody else can put anything there.
pub(crate) fn is_private(dir: &Path, uid: u32) -> bool {
    fs::metadata(dir)
        .is_ok_and(|found| found.is_dir() && found.uid() == uid && found.mode() & OTHERS_WRITE == 0)
}

/// The agents in these directories that live, newest first; only files of this user count.
pub(crate) fn live_in(dirs: &[PathBuf], uid: u32) -> Vec<Instance> {
    let mut found: Vec<(SystemTime, Instance)> = Vec::new();
    for dir in dirs {
        let Ok(entries) = fs::read_dir(dir) else { continue };
        let names =
            entries.flatten().take(MAX_ENTRIES).filter_map(|entry| entry.file_name().into_string().ok());
        for (name, pid) in names.filter_map(|file| parse_pidfile(&file)) {
            let instance = Instance { dir: dir.clone(), name, pid };
            if let Some(since) = lives_since(&instance, uid) {
                found.push((since, instance));
            }
        }
    }
    found.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.name.cmp(&y.name)));
    found.into_iter().map(|(_, instance)| instance).collect()
}

/// The name and the pid of `agent-{pid}.pid` and `agent-{pid}-{n}.pid`.
pub(super) fn parse_pidfile(file: &str) -> Option<(String, u32)> {
    let name = file.strip_suffix(".pid")?;
    let mut parts = name.strip_prefix("agent-")?.split('-');
    let (pid, n) = (parts.next()?, parts.next());
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(pid) || !n.is_none_or(is_number) || parts.next().is_some() {
        return None;
    }
    // 0 and negative ones would signal whole groups (kill(2)).
    let pid = pid.parse().ok().filter(|pid| (1..=i32::MAX as u32).contains(pid))?;
    Some((name.to_owned(), pid))
}

/// Since when an agent lives: its pidfile is ours, and somebody holds the lock.
fn lives_since(instance: &Instance, uid: u32) -> Option<SystemTime> {
    let mut options = OpenOptions::new();
    let file =
        options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(instance.pidfile()).ok()?;
    let found = file.metadata().ok()?;
    (found.is_file() && found.uid() == uid && is_locked(&file)).then(|| found.modified().ok()).flatten()
}

/// Whether somebody holds the lock. Asked for with a shared one, so that two who ask do not see each other.
fn is_locked(file: &File) -> bool {
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_agents_pidfile_is_one() {
        for (file, read) in [
            ("agent-7.pid", Some(("agent-7", 7))),
            ("agent-7-2.pid", Some(("agent-7-2", 7))),
            ("agent-0.pid", None),
            ("agent--1.pid", None),
            ("agent-+7.pid", None),
            ("agent-7-.pid", None),
            ("agent-7-2-3.pid", None),
            ("agent-2147483648.pid", None),
            ("agent-bare.pid", None),
            ("agent-7.sock", None),
        ] {
            assert_eq!(parse_pidfile(file), read.map(|(name, pid)| (name.to_owned(), pid)), "{file}");
        }
    }
}
