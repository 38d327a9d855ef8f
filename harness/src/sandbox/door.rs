//! The way into new namespaces: unshare, map ids, start init as pid 1 of the new pid namespace, wait.
//!
//! Runs as a process of its own with one thread, because a user namespace can only be entered so
//! (user_namespaces(7)). Must not mount or configure anything.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{getegid, geteuid};

use super::wire;

/// The word that starts this part of the program.
pub(crate) const DOOR: &str = "__sandbox-door";

/// Returns the exit status.
pub(crate) fn main() -> i32 {
    let Ok(socket) = inherited_socket() else { return 2 };
    // The harness is gone: so is the sandbox. A refusal changes nothing else.
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    if let Err(reason) = enter() {
        wire::send_unavailable(&socket, &reason);
        return 3;
    }
    let init = Command::new("/proc/self/exe").arg(super::INIT).status();
    match init {
        Ok(status) => status.code().unwrap_or(1),
        Err(error) => {
            wire::send_failed(&socket, &format!("cannot start pid 1 of the sandbox: {error}"));
            1
        }
    }
}

/// The socket to the harness: standard input of the door and of init.
pub(crate) fn inherited_socket() -> io::Result<UnixStream> {
    Ok(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}

fn enter() -> Result<(), String> {
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    let (uid, gid) = (geteuid(), getegid());
    if uid.is_root() {
        return unshare(namespaces).map_err(|errno| {
            format!("root may not make namespaces here ({errno}): the capability CAP_SYS_ADMIN is missing")
        });
    }
    unshare(namespaces | CloneFlags::CLONE_NEWUSER).map_err(refusal)?;
    map_ids(0, uid.as_raw(), 0, gid.as_raw())
        .map_err(|error| format!("user namespaces cannot be mapped here ({error})"))
}

fn refusal(errno: Errno) -> String {
    let way_out = match errno {
        Errno::ENOSPC => "sysctl user.max_user_namespaces is 0 or used up",
        Errno::EPERM => {
            "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, \
             kernel.apparmor_restrict_unprivileged_userns=0) or run as root"
        }
        _ => "run as root",
    };
    format!("user namespaces are not available ({errno}): {way_out}")
}

/// Writes the one line that a process without privileges may map (user_namespaces(7)).
pub(super) fn map_ids(inside_uid: u32, uid: u32, inside_gid: u32, gid: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{inside_uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{inside_gid} {gid} 1"))
}
