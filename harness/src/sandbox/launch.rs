//! The last step before a command of the service: becomes its user, then the command.
//!
//! Runs as a process of its own, with the service's environment already in place. Must not come back.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, chdir, setgroups, setresgid, setresuid};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde::{Deserialize, Serialize};

use super::door::map_ids;
use super::plan::Ids;

/// The word that starts this part of the program.
pub(crate) const LAUNCH: &str = "__sandbox-launch";

/// Exit statuses as systemd and shells have them.
const EXIT_CHDIR: i32 = 200;
const EXIT_LIMITS: i32 = 205;
const EXIT_USER: i32 = 217;
const EXIT_NOT_FOUND: i32 = 127;
const EXIT_NOT_EXECUTABLE: i32 = 126;

/// What would let a command out, or at the real machine's devices (capabilities(7)).
const REMOVED: [CapabilitySet; 8] = [
    CapabilitySet::SYS_ADMIN,
    CapabilitySet::SYS_MODULE,
    CapabilitySet::SYS_RAWIO,
    CapabilitySet::SYS_BOOT,
    CapabilitySet::SYS_PTRACE,
    CapabilitySet::SYS_TIME,
    CapabilitySet::MKNOD,
    CapabilitySet::NET_ADMIN,
];

/// How a command is to be run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) ids: Ids,
    /// Whether the ids are a mapping of the one user there is, instead of real ones.
    pub(crate) map: bool,
    pub(crate) umask: u32,
    pub(crate) working_directory: PathBuf,
    pub(crate) no_new_privileges: bool,
    /// The capabilities that are left, as bits; all but those that no command gets, if absent.
    pub(crate) capabilities: Option<u64>,
    /// Most bytes of a file (`LimitFSIZE=`).
    pub(crate) file_bytes: Option<u64>,
    /// Most open files (`LimitNOFILE=`).
    pub(crate) open_files: Option<u64>,
    /// Whether it is watched, and has to be told that it is the one (sd_watchdog_enabled(3)).
    pub(crate) watched: bool,
}

/// Returns the exit status of a launch that failed.
pub(crate) fn main(arguments: &[OsString]) -> i32 {
    let launch = arguments.get(2).and_then(|text| serde_json::from_str::<Launch>(text.to_str()?).ok());
    let (Some(launch), Some(program)) = (launch, arguments.get(3)) else { return 2 };
    umask(Mode::from_bits_truncate(launch.umask));
    if let Err(errno) = set_limits(&launch) {
        eprintln!("cannot set limits: {errno}");
        return EXIT_LIMITS;
    }
    if let Err(error) = become_user(&launch) {
        eprintln!("cannot become uid {}: {error}", launch.ids.uid);
        return EXIT_USER;
    }
    // After the user is known: a directory may be closed to it.
    if let Err(error) = chdir(&launch.working_directory) {
        eprintln!("cannot change to {}: {error}", launch.working_directory.display());
        return EXIT_CHDIR;
    }
    let mut command = Command::new(program);
    command.args(&arguments[4..]);
    if launch.watched {
        command.env("WATCHDOG_PID", std::process::id().to_string());
    }
    let error = command.exec();
    eprintln!("cannot run {}: {error}", program.display());
    if error.kind() == io::ErrorKind::NotFound { EXIT_NOT_FOUND } else { EXIT_NOT_EXECUTABLE }
}

fn set_limits(launch: &Launch) -> nix::Result<()> {
    for (resource, limit) in
        [(Resource::RLIMIT_FSIZE, launch.file_bytes), (Resource::RLIMIT_NOFILE, launch.open_files)]
    {
        if let Some(limit) = limit {
            setrlimit(resource, limit, limit)?;
        }
    }
    Ok(())
}

fn become_user(launch: &Launch) -> io::Result<()> {
    let Ids { uid, gid } = launch.ids;
    // Not even root of the sandbox, or a set-user-ID program in it, may undo the sandbox or reach devices.
    let kept = launch.capabilities.map_or(CapabilitySet::all(), CapabilitySet::from_bits_retain);
    let kept = REMOVED.into_iter().fold(kept, CapabilitySet::difference);
    for capability in CapabilitySet::all().difference(kept) {
        match remove_capability_from_bounding_set(capability) {
            // The kernel does not know it.
            Err(error) if error.raw_os_error() == nix::errno::Errno::EINVAL as i32 => {}
            done => done?,
        }
    }
    if launch.map {
        unshare(CloneFlags::CLONE_NEWUSER)?;
        map_ids(uid, 0, gid, 0)?;
    } else {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        setgroups(&[])?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
    }
    if launch.no_new_privileges {
        prctl::set_no_new_privs()?;
    }
    Ok(())
}
