//! Carrying out a plan's file system: entries, binds, mounts, and the change of root.
//!
//! Runs as root of the sandbox, in its own mount namespace. Must not decide what there is to be.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chdir, pivot_root};

use super::operate::HostView;
use super::plan::{Bind, Entry, EntryKind, Ids, Mount, Plan};

/// Devices that programs expect.
const DEVICES: &[&str] = &["/dev/full", "/dev/null", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"];

const NOTHING: Option<&str> = None;

/// What failed, and how.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub(crate) struct SetupError {
    what: String,
    source: io::Error,
}

/// Adds what was being done to an error.
fn doing<T, E: Into<io::Error>>(what: impl Into<String>, result: Result<T, E>) -> Result<T, SetupError> {
    result.map_err(|source| SetupError { what: what.into(), source: source.into() })
}

/// Builds the plan's file system and makes it `/`. Returns how it was before the service's own mounts.
pub(super) fn build(plan: &Plan) -> Result<HostView, SetupError> {
    let root = plan.root.as_path();
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    doing("make mounts private", mount(NOTHING, "/", NOTHING, private, NOTHING))?;
    doing("mount the root", bind(root, root))?;
    let mode = fs::Permissions::from_mode(plan.shown_mode(Ids::ROOT, 0o755));
    for entry in &plan.entries {
        doing(format!("make {}", entry.path.display()), make(plan, entry))?;
        for wanted in plan.host_mounts.iter().filter(|mount| mount.target() == entry.path) {
            doing(wanted.to_string(), carry_out(root, wanted))?;
        }
    }
    doing("set the root's mode", fs::set_permissions(root, mode))?;
    for shown in &plan.binds {
        doing(format!("show {}", shown.source.display()), show(root, shown))?;
    }
    doing("set up /dev", devices(root))?;
    let proc = root.join("proc");
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    doing("mount /proc", mount(Some("proc"), &proc, Some("proc"), safe, NOTHING))?;
    let view = doing("keep the machine's view", HostView::take(root))?;
    let is_due = |wanted: &&Mount| {
        let target = wanted.target().to_owned();
        !plan.optional.contains(&target) || inside(root, &target).exists()
    };
    for wanted in plan.mounts.iter().filter(is_due) {
        doing(wanted.to_string(), carry_out(root, wanted))?;
    }
    doing("change the root", enter(root))?;
    Ok(view)
}

fn enter(root: &Path) -> nix::Result<()> {
    chdir(root)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")
}

/// A path of the sandbox as it is reached before the change of root. `..` is dropped: whatever a plan says,
/// nothing outside is touched.
fn inside(root: &Path, path: &Path) -> PathBuf {
    let plain = path.components().filter(|part| matches!(part, Component::Normal(_)));
    root.join(plain.collect::<PathBuf>())
}

fn make(plan: &Plan, entry: &Entry) -> io::Result<()> {
    let path = inside(&plan.root, &entry.path);
    let mode = match &entry.kind {
        EntryKind::Link { target } => return symlink(target, path),
        EntryKind::Directory { mode } => {
            if !path.is_dir() {
                fs::create_dir(&path)?;
            }
            *mode
        }
        EntryKind::File { mode, content } => {
            fs::write(&path, content)?;
            *mode
        }
    };
    if plan.privileged {
        chown(&path, Some(entry.owner.uid), Some(entry.owner.gid))?;
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(plan.shown_mode(entry.owner, mode)))
}

fn show(root: &Path, shown: &Bind) -> io::Result<()> {
    let target = inside(root, &shown.target);
    if let Ok(link) = fs::read_link(&shown.source) {
        return symlink(link, target);
    }
    if shown.source.is_dir() {
        if !target.is_dir() {
            fs::create_dir(&target)?;
        }
    } else {
        fs::write(&target, "")?;
    }
    bind(&shown.source, &target)?;
    remount(&target, true)?;
    Ok(())
}

fn devices(root: &Path) -> io::Result<()> {
    let folder = root.join("dev");
    tmpfs(&folder, "mode=0755", MsFlags::MS_NOSUID)?;
    fs::create_dir(folder.join("shm"))?;
    symlink("/proc/self/fd", folder.join("fd"))?;
    for device in DEVICES {
        let target = inside(root, Path::new(device));
        fs::write(&target, "")?;
        bind(Path::new(device), &target)?;
    }
    Ok(())
}

fn carry_out(root: &Path, wanted: &Mount) -> io::Result<()> {
    match wanted {
        Mount::Tmpfs { target, mode, bytes, read_only } => {
            let size = bytes.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
            let target = inside(root, target);
            tmpfs(&target, &format!("mode={mode:04o}{size}"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV)?;
            if *read_only {
                remount(&target, true)?;
            }
        }
        Mount::Over { source, target, read_only } => {
            let target = inside(root, target);
            // A file is hidden by a file (systemd.exec(5), InaccessiblePaths=).
            let source = if target.is_dir() { source.clone() } else { source.with_file_name("reg") };
            bind(&inside(root, &source), &target)?;
            remount(&target, *read_only)?;
        }
        Mount::Hole { target } => {
            let target = inside(root, target);
            bind(&target, &target)?;
        }
        Mount::ReadOnly { target } if target == Path::new("/") => remount(root, true)?,
        Mount::ReadOnly { target } => {
            let target = inside(root, target);
            bind(&target, &target)?;
            remount(&target, true)?;
        }
    }
    Ok(())
}

fn tmpfs(target: &Path, options: &str, flags: MsFlags) -> nix::Result<()> {
    mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(options))
}

pub(super) fn bind(source: &Path, target: &Path) -> nix::Result<()> {
    mount(Some(source), target, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)
}

/// Sets or clears read-only on a bind mount. The other flags must be named again: in a user namespace those
/// that came with the mount are locked (mount_namespaces(7)).
pub(super) fn remount(target: &Path, read_only: bool) -> nix::Result<()> {
    let kept = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    let current = statvfs(target)?.flags();
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT;
    for (reported, flag) in kept {
        if current.contains(reported) {
            flags |= flag;
        }
    }
    if read_only {
        flags |= MsFlags::MS_RDONLY;
    }
    mount(NOTHING, target, NOTHING, flags, NOTHING)
}
