//! The namespace sandbox: a small machine of its own for one scenario, made of user, mount, pid, uts, ipc and
//! network namespaces.
//!
//! Works as root (real uids) and as any user where the kernel allows unprivileged user namespaces. Owns how a
//! machine is laid out and isolated. Must not know brains or steps: the stage drives it.
//!
//! Three processes take part, all of them this program started anew, so that no code has to run between fork
//! and exec: `door` unshares and maps ids, `init` is pid 1 inside and carries out requests, `launch` becomes
//! the service user and then the command.

mod door;
mod env_file;
mod handle;
mod init;
mod journal;
mod launch;
mod layout;
mod manager;
mod manifest;
mod mounts;
mod netlink;
mod nft;
mod notify;
mod operate;
mod outlet;
mod plan;
mod reaper;
mod scratch;
mod service;
mod tasks;
mod users;
mod wire;

pub(crate) use door::DOOR;
pub(crate) use handle::{Sandbox, SandboxError, Sockets};
pub(crate) use init::INIT;
pub(crate) use journal::Journal;
pub(crate) use launch::{LAUNCH, Launch};
pub(crate) use layout::{LayoutError, Machine, ROOTS_FILE};
pub(crate) use manifest::Manifest;
pub(crate) use notify::NOTIFY_SOCKET;
pub(crate) use plan::{Ids, Plan};
pub(crate) use scratch::{Scratch, sweep};
pub(crate) use service::expand;
pub(crate) use users::Users;
pub(crate) use wire::{Command, Input, Link, Operation, Output};

/// Runs the part of the sandbox that this process was started as, if it was.
///
/// Returns the exit status, or `None` for an ordinary invocation.
pub(crate) fn inner_main(arguments: &[std::ffi::OsString]) -> Option<i32> {
    match arguments.get(1)?.to_str()? {
        DOOR => Some(door::main()),
        INIT => Some(init::main()),
        LAUNCH => Some(launch::main(arguments)),
        _ => None,
    }
}
