//! Where the agent keeps its files: the home root, the temporary root, and the buffer below one of them.
//!
//! Owns which root serves and why another does not, and the clamp of `Z4J_BUFFER_PATH`. What it creates to
//! find out is removed again unless the caller keeps it. Must not log.

mod choice;
mod clamp;
mod directory;
mod lock;
mod trial;

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub(crate) use choice::{BufferOutcome, Choice, choose, outside_sentence};
pub(crate) use clamp::{ClampError, clamp, real_path};
pub(crate) use directory::{OpenDirectory, Trust, open_directory};
pub(crate) use lock::{Mark, lock_of};
pub(crate) use trial::{plain_write, trial};

use crate::config::Config;
use crate::environment::{Environment, user_name};

/// How many names are tried beside `z4j-{uid}` when somebody else made that.
const SIBLINGS: u32 = 8;

/// Owner and mode of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The user.
    pub(crate) uid: u32,
    /// The group.
    pub(crate) gid: u32,
    /// Permission bits.
    pub(crate) mode: u32,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "owned by {}, mode {:04o}", user_name(self.uid), self.mode)
    }
}

impl From<&std::fs::Metadata> for Owner {
    fn from(metadata: &std::fs::Metadata) -> Self {
        Self { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o7777 }
    }
}

/// Owner and mode of a path, links followed, if they can be seen.
pub(crate) fn owner_of(path: &Path) -> Option<Owner> {
    std::fs::metadata(path).ok().as_ref().map(Owner::from)
}

/// The directory above a path that this process may not search.
pub(crate) fn first_unsearchable(path: &Path) -> Option<PathBuf> {
    let mut dirs: Vec<&Path> = path.ancestors().collect();
    dirs.reverse();
    let hidden = dirs.iter().position(|dir| {
        std::fs::symlink_metadata(dir)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    })?;
    dirs.get(hidden.checked_sub(1)?).map(|dir| dir.to_path_buf())
}

/// Why a directory does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The kernel said so.
    Errno(i32),
    /// Something that is no directory is in the way.
    NotADirectory,
    /// A link where a directory of ours must be.
    Link,
    /// It belongs to another user.
    ForeignOwner,
    /// Others may write (or, for the temporary root, look) into it.
    OpenToOthers,
    /// SQLite said so, and plain writes went well.
    Sqlite(String),
}

/// A directory that does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The directory that was wanted.
    pub(crate) wanted: PathBuf,
    /// The path component that refuses.
    pub(crate) component: PathBuf,
    /// The same with links followed.
    pub(crate) real_component: PathBuf,
    /// Why.
    pub(crate) cause: Cause,
    /// The component's owner and mode, where they can be seen.
    pub(crate) owner: Option<Owner>,
}

impl Refusal {
    /// A refusal by a component.
    pub(crate) fn new(wanted: &Path, component: &Path, cause: Cause) -> Self {
        Self {
            wanted: wanted.to_owned(),
            component: component.to_owned(),
            real_component: real_path(component).unwrap_or_else(|_| component.to_owned()),
            cause,
            owner: owner_of(component),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let component = self.component.display();
        match &self.cause {
            Cause::Errno(errno) => write!(f, "{component} refuses with {}", crate::words::errno_name(*errno)),
            Cause::NotADirectory => write!(f, "{component} is no directory"),
            Cause::Link => write!(f, "{component} is a link"),
            Cause::ForeignOwner => write!(f, "{component} is not ours"),
            Cause::OpenToOthers => write!(f, "{component} is open to other users"),
            Cause::Sqlite(text) => write!(f, "SQLite in {component} says {text:?}"),
        }?;
        match self.owner {
            Some(owner) => write!(f, " ({owner})"),
            None => Ok(()),
        }
    }
}

/// The home root: `Z4J_HOME`, else `~/.z4j`; none for a user without a home directory.
pub(crate) fn home_root(environment: &Environment, config: &Config) -> Option<PathBuf> {
    config.home.clone().or_else(|| environment.home_dir().map(|home| home.join(".z4j")))
}

/// The home root as variables alone tell it, for who needs no configuration.
pub(crate) fn home_root_of(environment: &Environment) -> Option<PathBuf> {
    let named = environment.path("Z4J_HOME");
    let home = environment.home_dir();
    match (named, home) {
        (Some(named), Some(home)) => {
            Some(named.strip_prefix("~").map(|rest| home.join(rest)).unwrap_or(named))
        }
        (Some(named), None) => Some(named),
        (None, home) => home.map(|home| home.join(".z4j")),
    }
    .filter(|root| root.is_absolute())
}

/// Every temporary root that is there and ours; none is made.
pub(crate) fn temporary_roots(environment: &Environment) -> Vec<PathBuf> {
    let uid = environment.account.uid;
    let bases = temporary_bases(environment);
    let names = bases.iter().flat_map(|base| temporary_names(base, uid));
    names.filter(|dir| directory::is_trusted(dir, Trust::Temporary, uid)).collect()
}

/// Directories that may hold the temporary root, in order.
fn temporary_bases(environment: &Environment) -> Vec<PathBuf> {
    let named = ["TMPDIR", "TEMP", "TMP"].into_iter().filter_map(|name| environment.path(name));
    let fixed = ["/tmp", "/var/tmp"].into_iter().map(PathBuf::from);
    named.chain(fixed).filter(|base| base.is_absolute() && base.is_dir()).collect()
}

/// The temporary root's first name, where nothing better is known.
pub(crate) fn temporary_name(environment: &Environment) -> PathBuf {
    let base = temporary_bases(environment).into_iter().next().unwrap_or_else(|| PathBuf::from("/tmp"));
    base.join(format!("z4j-{}", environment.account.uid))
}

/// What came of looking for a temporary root.
#[derive(Debug)]
pub(crate) struct Temporary {
    /// The first of its names, in the first of its places, that serves.
    pub(crate) open: Option<OpenDirectory>,
    /// Why those before it do not; at least one where none serves.
    pub(crate) refusals: Vec<Refusal>,
}

/// `z4j-{uid}` in a base, and the names that serve where somebody else made that.
fn temporary_names(base: &Path, uid: u32) -> impl Iterator<Item = PathBuf> {
    (0..=SIBLINGS).map(move |sibling| match sibling {
        0 => base.join(format!("z4j-{uid}")),
        _ => base.join(format!("z4j-{uid}-{sibling}")),
    })
}

/// Every root of ours that exists and is trusted: the home root, and each of the temporary root's names in
/// each of its places. Nothing is made.
pub(crate) fn every_root(environment: &Environment, home: Option<&Path>) -> Vec<PathBuf> {
    let uid = environment.account.uid;
    let temporary = temporary_roots(environment).into_iter();
    let home = home.filter(|home| directory::is_trusted(home, Trust::Home, uid)).map(Path::to_owned);
    let mut roots: Vec<PathBuf> =
        home.into_iter().chain(temporary).filter_map(|dir| std::fs::canonicalize(dir).ok()).collect();
    roots.sort();
    roots.dedup();
    roots
}

/// Opens the temporary root.
pub(crate) fn open_temporary(environment: &Environment) -> Temporary {
    let mut refusals = Vec::new();
    for base in temporary_bases(environment) {
        for name in temporary_names(&base, environment.account.uid) {
            let refusal = match open_directory(&name, Trust::Temporary, environment) {
                Ok(open) => return Temporary { open: Some(open), refusals },
                Err(refusal) => refusal,
            };
            // Only a name that somebody else took has a sibling; a place that refuses, refuses them all.
            let squatted = !matches!(refusal.cause, Cause::Errno(_) | Cause::Sqlite(_));
            refusals.push(refusal);
            if !squatted {
                break;
            }
        }
    }
    if refusals.is_empty() {
        let wanted = temporary_name(environment);
        let base = wanted.parent().unwrap_or(Path::new("/"));
        refusals.push(Refusal::new(&wanted, base, Cause::Errno(nix::libc::ENOENT)));
    }
    Temporary { open: None, refusals }
}

/// The buffer's default name in a root.
pub(crate) fn default_buffer(root: &Path, environment: &Environment) -> PathBuf {
    root.join(format!("buffer-{}.sqlite", environment.pid))
}
