//! What a process is given: variables, user, directories, the files that describe the machine.
//!
//! Owns the one capture of it. Everything below takes an [`Environment`], so a test can be any process.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use nix::unistd::{Gid, Group, Uid, User};

use crate::clock::Clock;

/// Who runs.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// The effective user.
    pub(crate) uid: u32,
    /// The effective group.
    pub(crate) gid: u32,
    /// The user's name, if passwd has a row for it.
    pub(crate) name: Option<String>,
    /// The group's name, if there is one.
    pub(crate) group: Option<String>,
    /// The home directory of the passwd row.
    pub(crate) home: Option<PathBuf>,
}

impl Account {
    /// `user:group` for a chown line; numbers where there is no name.
    pub(crate) fn chown_spec(&self) -> String {
        format!("{}:{}", self.user_text(), self.group_text())
    }

    /// The user's name, or its number.
    pub(crate) fn user_text(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.uid.to_string())
    }

    /// The group's name, or its number.
    pub(crate) fn group_text(&self) -> String {
        self.group.clone().unwrap_or_else(|| self.gid.to_string())
    }
}

/// Everything that a process is given.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    /// Its variables.
    pub(crate) variables: BTreeMap<OsString, OsString>,
    /// Where it stands, if it may know.
    pub(crate) current_dir: Option<PathBuf>,
    /// Who it is.
    pub(crate) account: Account,
    /// The machine's name.
    pub(crate) host_name: String,
    /// Its process id.
    pub(crate) pid: u32,
    /// Its clock.
    pub(crate) clock: Clock,
    /// The resolver's configuration.
    pub(crate) resolv_conf: PathBuf,
    /// What is mounted, as this process sees it.
    pub(crate) mountinfo: PathBuf,
}

impl Environment {
    /// The process that runs.
    pub(crate) fn capture() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
            current_dir: std::env::current_dir().ok(),
            account: account(),
            host_name: host_name(),
            pid: std::process::id(),
            clock: Clock::system(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            mountinfo: PathBuf::from("/proc/self/mountinfo"),
        }
    }

    /// A variable's value; empty is unset.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// A variable that holds a path.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// The home directory: `HOME` where it is absolute, else the passwd row's. A dynamic user has neither
    /// (systemd.exec(5), `DynamicUser=`).
    pub(crate) fn home_dir(&self) -> Option<PathBuf> {
        let home = self.path("HOME").filter(|home| home.is_absolute());
        home.or_else(|| self.account.home.clone().filter(|home| home.is_absolute()))
    }
}

fn account() -> Account {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    let row = User::from_uid(uid).ok().flatten();
    Account {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
        group: Group::from_gid(gid).ok().flatten().map(|group| group.name),
        home: row.as_ref().map(|row| row.dir.clone()),
        name: row.map(|row| row.name),
    }
}

fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}

/// A user for `sudo -u` (sudo(8)): the name, or `'#61234'`.
pub(crate) fn user_flag(uid: u32) -> String {
    let row = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    row.map_or_else(|| format!("'#{uid}'"), |row| row.name)
}

/// The name of a user, for sentences: `root`, or `uid 61234`.
pub(crate) fn user_name(uid: u32) -> String {
    let row = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    row.map_or_else(|| format!("uid {uid}"), |row| row.name)
}
