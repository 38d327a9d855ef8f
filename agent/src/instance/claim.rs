//! One agent's claim to a name in a directory, from its start to its end.

use std::convert::Infallible;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::libc;
use tokio::time::{MissedTickBehavior, interval};

use super::search::{is_private, live_in, parse_pidfile, places};
use super::socket::check_length;
use super::sweep::{remove_socket, remove_sockets, sweep};
use super::{CURRENT_SOCKET, Instance, LOOK};
use crate::environment::Environment;

/// How many names are tried; more agents than this with one pid share no directory.
const MAX_NAMES: u32 = 1_000;
/// How often a name is tried whose file is removed in that very moment.
const MAX_RACES: u32 = 8;

/// A name that is this process's for as long as this value lives. Dropping it removes the name's files.
#[derive(Debug)]
pub(crate) struct Claim {
    instance: Instance,
    uid: u32,
    /// The pidfile, whose lock is the claim; and the directory, locked for sharing: systemd-tmpfiles then ages
    /// nothing in it (tmpfiles.d(5), "Age").
    locks: (File, Option<File>),
}

/// Claims a name in a directory, which is made (0700) if it is missing.
///
/// # Errors
/// The directory cannot be made or written, or is too long for the path of a socket.
pub(crate) fn claim(dir: &Path, environment: &Environment) -> io::Result<Claim> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| named(dir, &error))?;
    let (pid, uid) = (environment.pid, environment.account.uid);
    places(environment, None).iter().map(PathBuf::as_path).chain([dir]).for_each(|dir| sweep(dir, uid));
    for n in 1..=MAX_NAMES {
        let name = if n == 1 { format!("agent-{pid}") } else { format!("agent-{pid}-{n}") };
        let instance = Instance { dir: dir.to_owned(), name, pid };
        check_length(&instance.control_socket())?;
        if let Some(lock) = take(&instance.pidfile(), pid, uid)? {
            let claim = Claim { instance, uid, locks: (lock, locked(dir)) };
            // What somebody put there that is no socket stays, and its name with it.
            if remove_sockets(&claim.instance) {
                return Ok(claim);
            }
        }
    }
    Err(io::Error::other(format!("{}: {MAX_NAMES} agents of pid {pid} live here already", dir.display())))
}

fn locked(dir: &Path) -> Option<File> {
    File::open(dir).ok().filter(|dir| dir.try_lock_shared().is_ok())
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Takes a pidfile: a new one, or one that nobody holds any more. `None` if it is somebody's.
fn take(path: &Path, pid: u32, uid: u32) -> io::Result<Option<File>> {
    for _ in 0..MAX_RACES {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = match options.create_new(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match options.create_new(false).open(path) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    // A link, a file of another user: no name of ours.
                    Err(_) => return Ok(None),
                }
            }
            Err(error) => return Err(named(path, &error)),
        };
        let found = file.metadata()?;
        if !found.is_file() || found.uid() != uid || file.try_lock().is_err() {
            return Ok(None);
        }
        // Its owner may have removed it between the opening and the lock: that file is nobody's any more.
        let is_there = fs::symlink_metadata(path).is_ok_and(|there| there.ino() == found.ino());
        if is_there {
            write_pid(&file, pid).map_err(|error| named(path, &error))?;
            return Ok(Some(file));
        }
    }
    Ok(None)
}

fn write_pid(mut file: &File, pid: u32) -> io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.set_len(0)?;
    file.write_all(format!("{pid}\n").as_bytes())
}

impl Claim {
    /// The name.
    pub(crate) fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Points `agent.sock` at this agent, once its ingest socket listens. One that lies elsewhere is linked to
    /// from the name that others look for.
    ///
    /// # Errors
    /// A link cannot be made.
    pub(crate) fn announce(&self, ingest: &Path) -> io::Result<()> {
        let own = self.instance.ingest_socket();
        if ingest != own {
            remove_socket(&own);
            symlink(ingest, &own).map_err(|error| named(&own, &error))?;
        }
        self.point_at(&self.instance)
    }

    /// Looks now and then whether the agent can still be found, for as long as it lives.
    pub(crate) async fn keep(&mut self, ingest: &Path) -> Infallible {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = false;
        loop {
            looks.tick().await;
            match self.mend(ingest) {
                Ok(false) => {}
                Ok(true) => {
                    told = false;
                    tracing::info!(
                        "{} was removed by somebody; made again",
                        self.instance.pidfile().display()
                    );
                }
                Err(error) if told => tracing::debug!("the agent's files cannot be made again: {error}"),
                Err(error) => {
                    told = true;
                    tracing::warn!(
                        "z4j emit and status do not find this agent any more: its files were removed by \
                         somebody, and cannot be made again: {error}"
                    );
                }
            }
        }
    }

    /// Takes the name anew if its files are gone: cleaners of temporary directories take them too. Tells
    /// whether that was so. Where they are there, `agent.sock` is looked at.
    pub(super) fn mend(&mut self, ingest: &Path) -> io::Result<bool> {
        let pidfile = self.instance.pidfile();
        if self.is_held() {
            return self.mend_link().map(|()| false);
        }
        let dir = &self.instance.dir;
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| named(dir, &error))?;
        if !is_private(dir, self.uid) {
            return Err(io::Error::other(format!("{} is somebody else's now", dir.display())));
        }
        let lock = take(&pidfile, self.instance.pid, self.uid)?;
        let taken = || io::Error::other(format!("{} is another agent's now", pidfile.display()));
        self.locks = (lock.ok_or_else(taken)?, locked(dir));
        self.announce(ingest).map(|()| true)
    }

    /// Whether the name is still this claim's.
    fn is_held(&self) -> bool {
        let there = fs::symlink_metadata(self.instance.pidfile());
        let identity = |found: &fs::Metadata| (found.dev(), found.ino());
        let held = self.locks.0.metadata();
        there.is_ok_and(|there| held.is_ok_and(|held| identity(&held) == identity(&there)))
    }

    /// Points `agent.sock` at the newest live agent where it is gone, or leads to one that was killed. What
    /// somebody put there that leads elsewhere stays.
    fn mend_link(&self) -> io::Result<()> {
        let current = self.current();
        match fs::read_link(&current) {
            Ok(target) => {
                let live = live_in(std::slice::from_ref(&self.instance.dir), self.uid);
                let leads_to = |agent: &Instance| Path::new(&format!("{}.sock", agent.name)) == target;
                let pidfile = target.with_extension("pid");
                let is_an_agents = pidfile.to_str().is_some_and(|file| parse_pidfile(file).is_some());
                if live.iter().any(leads_to) || (!is_an_agents && current.exists()) {
                    return Ok(());
                }
                self.point_at(self.newest(&live))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let live = live_in(std::slice::from_ref(&self.instance.dir), self.uid);
                self.point_at(self.newest(&live))
            }
            // No link.
            Err(_) => Ok(()),
        }
    }

    /// The newest of live agents that listens already, else this one.
    fn newest<'a>(&'a self, live: &'a [Instance]) -> &'a Instance {
        live.iter().find(|agent| agent.ingest_socket().exists()).unwrap_or(&self.instance)
    }

    /// Replaces `agent.sock` in one step, unless it is neither a link nor a socket: that is somebody's. The
    /// target is relative: a directory is seen under other names in other mount namespaces.
    fn point_at(&self, target: &Instance) -> io::Result<()> {
        let found = fs::symlink_metadata(self.current());
        if found.is_ok_and(|found| !found.is_symlink() && !found.file_type().is_socket()) {
            tracing::warn!(
                "{} is no link of an agent's and stays as it is; applications must use {}, or remove it",
                self.current().display(),
                self.instance.ingest_socket().display()
            );
            return Ok(());
        }
        let fresh = self.instance.dir.join(format!(".{}.link", self.instance.name));
        let _ = fs::remove_file(&fresh);
        symlink(format!("{}.sock", target.name), &fresh).map_err(|error| named(&fresh, &error))?;
        let current = self.current();
        fs::rename(&fresh, &current).map_err(|error| {
            let _ = fs::remove_file(&fresh);
            named(&current, &error)
        })
    }

    fn current(&self) -> PathBuf {
        self.instance.dir.join(CURRENT_SOCKET)
    }

    /// Hands `agent.sock` to the newest agent that lives on, or takes it away.
    fn hand_over(&self) {
        let own = Path::new(&self.instance.name).with_extension("sock");
        if fs::read_link(self.current()).is_ok_and(|target| target == own) {
            let others = live_in(std::slice::from_ref(&self.instance.dir), self.uid);
            let heir = others.iter().find(|other| other.name != self.instance.name);
            let handed = heir.is_some_and(|heir| self.point_at(heir).is_ok());
            if !handed {
                let _ = fs::remove_file(self.current());
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.instance.pidfile().symlink_metadata().is_ok() && !self.is_held() {
            // Somebody else's by now, sockets and all.
            return;
        }
        self.hand_over();
        remove_sockets(&self.instance);
        // Last, and before the lock goes: until then the name is taken.
        let _ = fs::remove_file(self.instance.pidfile());
    }
}
