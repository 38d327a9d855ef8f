//! What the machine's root, or fate, does to its files while the service runs.
//!
//! Owns the operations. They act on the machine's view: what systemd mounted for the service alone does not
//! stop them, unless they are about just that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use regex::Regex;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::mounts;
use super::netlink;
use super::nft;
use super::plan::Plan;
use super::reaper::Reaper;
use super::wire::{Link, Operation};

/// The file that fills a tmpfs.
const FILLER: &str = ".harness-fill";

/// Largest tmpfs that is filled: it is the real machine's memory.
const MAX_FILL_BYTES: u64 = 256 << 20;

/// What systemd-tmpfiles leaves alone, since services live in it.
const PRIVATE: &str = "systemd-private-";

/// The machine as it is for everybody but the service.
pub(super) struct HostView(OwnedFd);

impl HostView {
    /// Keeps what is mounted at `root` now, whatever is mounted there later.
    pub(super) fn take(root: &Path) -> io::Result<Self> {
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        Ok(Self(open_tree(rustix::fs::CWD, root, flags)?))
    }

    pub(super) fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// A path of the sandbox in this view.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        self.root().join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// Carries an operation out.
pub(super) fn carry_out(
    plan: &Plan,
    view: &HostView,
    reaper: &Reaper,
    operation: &Operation,
) -> io::Result<()> {
    match operation {
        Operation::ClearTmp { only } => clear_tmp(view, only.as_deref()),
        Operation::Fill { path } => fill(path),
        Operation::Free { path } => fs::remove_file(path.join(FILLER)),
        Operation::Remount { path, read_only } => remount(path, *read_only),
        Operation::Write { path, content, owner, mode } => {
            let path = view.path(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&path, content)?;
            if let Some(owner) = owner {
                chown(&path, Some(owner.uid), Some(owner.gid))?;
            }
            mode.map_or(Ok(()), |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
        }
        Operation::Chown { path, owner } => chown(view.path(path), Some(owner.uid), Some(owner.gid)),
        Operation::Chmod { path, mode } => {
            fs::set_permissions(view.path(path), fs::Permissions::from_mode(*mode))
        }
        Operation::Remove { path } => remove(&view.path(path)),
        Operation::Empty { paths } => {
            paths.iter().try_for_each(|path| clear(path, &|_| true).and(clear(&view.path(path), &|_| true)))
        }
        Operation::Network(link) => match link {
            Link::Down => netlink::set_link(&plan.addresses, false),
            Link::Drop => nft::drop_packets(reaper),
            Link::Up => {
                nft::let_through(reaper);
                netlink::set_link(&plan.addresses, true)
            }
        },
    }
}

/// In the service's view and in the machine's: with `PrivateTmp=` the two are different places.
fn clear_tmp(view: &HostView, only: Option<&str>) -> io::Result<()> {
    let pattern = only.map(glob).transpose().map_err(io::Error::other)?;
    let chosen = |name: &str| {
        !name.starts_with(PRIVATE) && pattern.as_ref().is_none_or(|pattern| pattern.is_match(name))
    };
    for folder in [Path::new("/tmp"), Path::new("/var/tmp")] {
        clear(folder, &chosen)?;
        clear(&view.path(folder), &chosen)?;
    }
    Ok(())
}

/// `*` and `?` of a shell pattern, on a name.
fn glob(pattern: &str) -> Result<Regex, regex::Error> {
    let escaped = regex::escape(pattern).replace(r"\*", ".*").replace(r"\?", ".");
    Regex::new(&format!("^{escaped}$"))
}

/// Deletes what lies in a folder. What is read-only here is somebody else's to delete.
fn clear(folder: &Path, chosen: &dyn Fn(&str) -> bool) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries.flatten() {
        if !chosen(&entry.file_name().to_string_lossy()) {
            continue;
        }
        match remove(&entry.path()) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ReadOnlyFilesystem) => {}
            done => done?,
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn fill(path: &Path) -> io::Result<()> {
    let found = statfs(path)?;
    let bytes = found.blocks() * u64::try_from(found.block_size()).unwrap_or(0);
    if found.filesystem_type() != TMPFS_MAGIC || bytes == 0 || bytes > MAX_FILL_BYTES {
        let reason = "only a tmpfs of at most 256M can be filled: give it a size in [host] tmp or tmpfs";
        return Err(io::Error::other(reason));
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path.join(FILLER))?;
    // Big steps, then small ones, until not one byte more goes in.
    for size in [1 << 20, 4_096, 1] {
        let zeros = vec![0; size];
        while write_some(&mut file, &zeros)? {}
    }
    Ok(())
}

fn write_some(file: &mut File, bytes: &[u8]) -> io::Result<bool> {
    match file.write_all(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(false),
        Err(error) => Err(error),
    }
}

/// A mount of its own on the path, so that nothing else changes. What is open for writing already goes on.
fn remount(path: &Path, read_only: bool) -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let is_mount =
        mounts.lines().filter_map(|line| line.split(' ').nth(4)).any(|point| Path::new(point) == path);
    if read_only || !is_mount {
        mounts::bind(path, path)?;
    }
    Ok(mounts::remount(path, read_only)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_the_shells() {
        for (pattern, name, matches) in [
            ("z4j-*", "z4j-33", true),
            ("z4j-*", "az4j-33", false),
            ("*.sqlite", "a.sqlite", true),
            ("*.sqlite", "axsqlite", false),
            ("z4j-?", "z4j-33", false),
        ] {
            assert_eq!(glob(pattern).unwrap().is_match(name), matches, "{pattern} {name}");
        }
    }
}
