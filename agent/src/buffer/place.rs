//! Where a buffer lies, and the lock that makes it ours.
//!
//! Owns names: the one that is wanted, and its siblings where that is taken. What stands at a name without a
//! lock of ours beside it is never opened, moved or written (design.md, Files and settings). Must not open
//! databases or log: what an operator should know comes back as warnings.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::lock::{Blocked, Lock};
use crate::config::{Config, Signing};
use crate::environment::Environment;
use crate::paths::{self, BufferOutcome, Refusal, Trust};

/// How many names are tried beside the one that is wanted.
const SIBLINGS: u32 = 256;
/// How often one name is tried whose lock comes and goes.
const TRIES: u32 = 8;

/// What decides where a buffer lies. Kept, because a directory can vanish under a running agent.
#[derive(Clone, Debug)]
pub(super) struct Chooser {
    pub(super) environment: Environment,
    /// The home root.
    pub(super) home: Option<PathBuf>,
    /// `Z4J_BUFFER_PATH`
    pub(super) written: Option<PathBuf>,
    /// Whose events these are ([`z4j_protocol::HmacSecret::deployment`]).
    pub(super) deployment: String,
    /// Where orphans may lie: [`paths::every_root`].
    pub(super) every_root: fn(&Environment, Option<&Path>) -> Vec<PathBuf>,
}

/// A place for a buffer. Its lock is held.
#[derive(Debug)]
pub(crate) struct Place {
    /// The buffer's file; it may hold an earlier process's events.
    pub(crate) path: PathBuf,
    /// What an operator should know: one sentence each.
    pub(crate) warnings: Vec<String>,
    pub(super) lock: Lock,
    pub(super) chooser: Chooser,
}

/// Why there is no place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// `Z4J_BUFFER_PATH` leads out of the roots.
    #[error("{sentence}: {way_out}")]
    Outside {
        /// What is wrong.
        sentence: String,
        /// What to set instead.
        way_out: String,
    },
    /// Something that is not ours is there.
    #[error("{} is {what}: it is left alone; name another file in Z4J_BUFFER_PATH, or none", path.display())]
    Foreign {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// The directory refuses.
    #[error("no buffer can be kept in {}; z4j doctor says more", .0.iter().map(told).collect::<Vec<_>>().join("; "))]
    Refused(Vec<Refusal>),
    /// The kernel refuses the lock.
    #[error("{}: {error}; the buffer needs a file system with locks", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// Every name is taken.
    #[error("{} and its {SIBLINGS} siblings are all taken; remove those that nobody needs", .0.display())]
    Taken(PathBuf),
}

fn told(refusal: &Refusal) -> String {
    format!("{}: {refusal}", refusal.wanted.display())
}

/// Which names serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// A free one, or one of a dead process.
    Any,
    /// The same, and who named it is told where another one is taken.
    Explicit,
    /// One that nothing bears.
    New,
}

/// Chooses a place, makes its directory, and takes its lock.
///
/// # Errors
/// Nothing serves, or `Z4J_BUFFER_PATH` may not be used.
pub(crate) fn choose(environment: &Environment, config: &Config) -> Result<Place, PlaceError> {
    let chooser = Chooser {
        environment: environment.clone(),
        home: paths::home_root(environment, config),
        written: config.buffer_path.clone(),
        deployment: deployment(config),
        every_root: paths::every_root,
    };
    chooser.choose()
}

fn deployment(config: &Config) -> String {
    match &config.signing {
        Signing::Ready(secret) => secret.deployment(),
        // An agent without a secret does not run.
        Signing::Missing | Signing::Invalid(..) => String::new(),
    }
}

impl Chooser {
    /// The place by the rules of the start.
    pub(super) fn choose(&self) -> Result<Place, PlaceError> {
        let wish = if self.written.is_some() { Wish::Explicit } else { Wish::Any };
        self.chosen(wish)
    }

    fn chosen(&self, wish: Wish) -> Result<Place, PlaceError> {
        let choice = paths::choose(self.written.as_deref(), self.home.as_deref(), &self.environment);
        let dir = match choice.outcome {
            BufferOutcome::Writable { dir } => dir,
            other => return Err(refuse(other, &choice.path, choice.home_refusal)),
        };
        for open in choice.open {
            // The temporary root is opened even where the path lies in the other one: it is not kept then.
            if dir.starts_with(&open.path) || same(&dir, &open.path) {
                open.keep();
            }
        }
        let mut warnings = Vec::new();
        if let Some(refusal) = &choice.home_refusal {
            let wanted = paths::default_buffer(&refusal.wanted, &self.environment);
            let passed_over: String = choice.passed_over.iter().map(passed).collect();
            warnings.push(format!(
                "the buffer is {} and not {}: {refusal}{passed_over}",
                choice.path.display(),
                wanted.display(),
            ));
        } else if self.home.is_none() {
            let passed_over: String = choice.passed_over.iter().map(passed).collect();
            warnings.push(format!(
                "the buffer is {}: this user has no home directory{passed_over}",
                choice.path.display()
            ));
        }
        self.claim(&choice.path, wish, warnings)
    }

    /// A new place in the directory of an earlier one, which may have to be made again; else wherever the rules
    /// lead. Nothing lies there: not even what a dead process left.
    pub(super) fn again(&self, path: &Path) -> Result<Place, PlaceError> {
        let Some(dir) = path.parent() else { return self.chosen(Wish::New) };
        let below = |home: &Path| paths::real_path(home).is_ok_and(|home| dir.starts_with(home));
        let at_home = self.written.is_some()
            || self.home.as_deref().is_some_and(|home| dir.starts_with(home) || below(home));
        let trust = if at_home { Trust::Home } else { Trust::Temporary };
        match paths::open_directory(dir, trust, &self.environment) {
            Ok(open) => {
                open.keep();
                self.claim(path, Wish::New, Vec::new())
            }
            Err(_) => self.chosen(Wish::New),
        }
    }

    /// The next free name beside one that is held.
    pub(super) fn beside(&self, path: &Path) -> Result<Place, PlaceError> {
        self.claim(path, Wish::Any, Vec::new())
    }

    /// Where orphans are looked for: every root of ours, and the directory of our own file.
    pub(super) fn roots(&self, own: &Path) -> Vec<PathBuf> {
        let mut roots = (self.every_root)(&self.environment, self.home.as_deref());
        let own = own.parent().and_then(|dir| fs::canonicalize(dir).ok());
        roots.extend(own.filter(|own| !roots.contains(own)));
        roots
    }

    /// The user.
    pub(super) fn uid(&self) -> u32 {
        self.environment.account.uid
    }

    /// Takes a name, or the first of its siblings that is free.
    fn claim(&self, wanted: &Path, wish: Wish, mut warnings: Vec<String>) -> Result<Place, PlaceError> {
        let mut holder = "another live agent holds that";
        for sibling in 0..=SIBLINGS {
            let path = sibling_name(wanted, sibling);
            let claimed = match wish {
                Wish::New => make(&path, &self.deployment),
                Wish::Any | Wish::Explicit => claim(&path, self.uid(), &self.deployment),
            };
            match claimed {
                Ok(lock) => {
                    if sibling > 0 && wish == Wish::Explicit {
                        let (path, wanted) = (path.display(), wanted.display());
                        warnings.push(format!("the buffer is {path} and not {wanted}: {holder}"));
                    }
                    return Ok(Place { path, warnings, lock, chooser: self.clone() });
                }
                Err(Blocked::Foreign(what)) if wish == Wish::Explicit && sibling == 0 => {
                    return Err(PlaceError::Foreign { path, what: what.to_owned() });
                }
                Err(Blocked::Others) if sibling == 0 => {
                    holder = "that holds the events of an agent with another signing secret";
                }
                Err(Blocked::Held | Blocked::Foreign(_) | Blocked::Gone | Blocked::Others) => {}
                Err(Blocked::Io(error)) => {
                    return Err(PlaceError::Lock { path: paths::lock_of(&path), error });
                }
            }
        }
        Err(PlaceError::Taken(wanted.to_owned()))
    }
}

fn same(one: &Path, other: &Path) -> bool {
    paths::real_path(other).is_ok_and(|other| one.starts_with(other))
}

fn passed(refusal: &Refusal) -> String {
    format!("; {} was passed over: {refusal}", refusal.wanted.display())
}

fn refuse(outcome: BufferOutcome, path: &Path, home: Option<Refusal>) -> PlaceError {
    match outcome {
        BufferOutcome::Outside { written, resolved, roots, serves } => PlaceError::Outside {
            sentence: paths::outside_sentence(&written, &resolved, &roots),
            way_out: match serves {
                Some(dir) => format!("set Z4J_HOME={}", crate::words::word(&dir)),
                None => "unset Z4J_BUFFER_PATH, or name a file below one of them".to_owned(),
            },
        },
        BufferOutcome::NotABuffer { what } => {
            PlaceError::Foreign { path: path.to_owned(), what: what.to_owned() }
        }
        BufferOutcome::Foreign(owner) => {
            PlaceError::Foreign { path: path.to_owned(), what: owner.to_string() }
        }
        BufferOutcome::Explicit(refusal) => PlaceError::Refused(vec![refusal]),
        BufferOutcome::NoRoot(refusals) => PlaceError::Refused(home.into_iter().chain(refusals).collect()),
        // The first is no refusal, and the second only the doctor's.
        BufferOutcome::Writable { .. } | BufferOutcome::Unfinished(_) => PlaceError::Refused(Vec::new()),
    }
}

/// `NAME-{n}` with the extension kept; `NAME` itself for 0.
fn sibling_name(path: &Path, sibling: u32) -> PathBuf {
    if sibling == 0 {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{sibling}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Takes one name: a free one, or a buffer of ours whose process is dead.
fn claim(path: &Path, uid: u32, deployment: &str) -> Result<Lock, Blocked> {
    for _ in 0..TRIES {
        match Lock::take(path, uid, deployment) {
            Ok(lock) => return if beside(path, uid)? { lock.marked(deployment) } else { Err(FOREIGN) },
            Err(Blocked::Gone) => {}
            Err(blocked) => return Err(blocked),
        }
        match make(path, deployment) {
            // One that looks for orphans may hold a lock for the moment in which it is being made.
            Err(Blocked::Gone | Blocked::Held) => {}
            other => return other,
        }
    }
    Err(Blocked::Held)
}

/// Takes a name that nothing bears.
fn make(path: &Path, deployment: &str) -> Result<Lock, Blocked> {
    // Without its lock, whatever bears one of a buffer's names is somebody else's.
    if super::files::of(path).iter().any(|file| fs::symlink_metadata(file).is_ok()) {
        return Err(FOREIGN);
    }
    Lock::create(path, deployment)
}

const FOREIGN: Blocked = Blocked::Foreign("a file without the lock of an agent");

/// Whether what lies beside a lock of ours can be a buffer of ours: nothing yet, or regular files.
pub(super) fn beside(path: &Path, uid: u32) -> std::io::Result<bool> {
    for file in super::files::of(path) {
        match fs::symlink_metadata(&file) {
            Ok(found) if found.is_file() && found.uid() == uid => {}
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
