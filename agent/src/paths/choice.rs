//! Where the buffer belongs: the first root that serves, or the path that the operator named.
//!
//! Owns the decision and what speaks against a path. The doctor reports it, and the running agent acts on it:
//! both must decide alike. Nothing that stands at a path is opened here.

use std::fs;
use std::path::{Path, PathBuf};

use super::lock::is_an_agents;
use super::{Cause, ClampError, OpenDirectory, Owner, Refusal, Trust, clamp, open_directory, open_temporary};
use crate::environment::Environment;

/// What was found where the buffer would be.
#[derive(Debug)]
pub(crate) enum BufferOutcome {
    /// The directory takes a buffer.
    Writable {
        /// Which.
        dir: PathBuf,
    },
    /// Both roots refuse. Here is why each name of the temporary one does.
    NoRoot(Vec<Refusal>),
    /// The explicit path's directory refuses.
    Explicit(Refusal),
    /// The explicit path lies outside both roots.
    Outside {
        /// As it was written.
        written: PathBuf,
        /// As it leads.
        resolved: PathBuf,
        /// The two roots.
        roots: Vec<PathBuf>,
        /// Its directory, where that would do as a home root.
        serves: Option<PathBuf>,
    },
    /// The explicit path holds something that no agent of ours made.
    NotABuffer {
        /// What.
        what: &'static str,
    },
    /// It was not looked at to the end. Here is why.
    Unfinished(String),
    /// The explicit path's file belongs to somebody else.
    Foreign(Owner),
}

/// What was decided about the buffer's path.
#[derive(Debug)]
pub(crate) struct Choice {
    /// The path: the one that serves, or the one that was tried.
    pub(crate) path: PathBuf,
    /// Why the home root does not serve.
    pub(crate) home_refusal: Option<Refusal>,
    /// Why names of the temporary root were passed over.
    pub(crate) passed_over: Vec<Refusal>,
    /// What came of it.
    pub(crate) outcome: BufferOutcome,
    /// Directories that were opened; where they were made they are removed again, unless they are kept. The
    /// deepest comes first.
    pub(crate) open: Vec<OpenDirectory>,
}

/// Decides: the path that the operator named, or the default name in the first root that serves.
pub(crate) fn choose(written: Option<&Path>, home: Option<&Path>, environment: &Environment) -> Choice {
    match written {
        Some(written) => explicit(written, home, environment),
        None => default(home, environment),
    }
}

/// That a path is outside the roots, in words.
pub(crate) fn outside_sentence(written: &Path, resolved: &Path, roots: &[PathBuf]) -> String {
    let leads =
        if resolved == written { String::new() } else { format!(" (it leads to {})", resolved.display()) };
    let named: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
    match named.as_slice() {
        [only] => format!("Z4J_BUFFER_PATH={}{leads} is outside the one root, {only}", written.display()),
        _ => format!(
            "Z4J_BUFFER_PATH={}{leads} is outside both roots, {}",
            written.display(),
            crate::words::join_words(&named)
        ),
    }
}

/// The first root that serves.
fn default(home: Option<&Path>, environment: &Environment) -> Choice {
    let mut home_refusal = None;
    if let Some(home) = home {
        match open_directory(home, Trust::Home, environment) {
            Ok(open) => return writable(open, None, Vec::new(), environment),
            Err(refusal) => home_refusal = Some(refusal),
        }
    }
    let temporary = open_temporary(environment);
    if let Some(open) = temporary.open {
        return writable(open, home_refusal, temporary.refusals, environment);
    }
    let root = home.map_or_else(|| super::temporary_name(environment), Path::to_owned);
    let path = super::default_buffer(&root, environment);
    let outcome = BufferOutcome::NoRoot(temporary.refusals);
    Choice { path, home_refusal, passed_over: Vec::new(), outcome, open: Vec::new() }
}

fn writable(
    open: OpenDirectory,
    home_refusal: Option<Refusal>,
    passed_over: Vec<Refusal>,
    environment: &Environment,
) -> Choice {
    let outcome = BufferOutcome::Writable { dir: open.path.clone() };
    let path = super::default_buffer(&open.path, environment);
    Choice { path, home_refusal, passed_over, outcome, open: vec![open] }
}

/// The path that the operator named: it must be where it may be, and free.
fn explicit(written: &Path, home: Option<&Path>, environment: &Environment) -> Choice {
    let temporary = open_temporary(environment);
    let temporary_root =
        temporary.open.as_ref().map_or_else(|| super::temporary_name(environment), |open| open.path.clone());
    let roots: Vec<PathBuf> = home.map(Path::to_owned).into_iter().chain([temporary_root]).collect();
    let (path, outcome, open) = held_against(written, &roots, &temporary.refusals, environment);
    // What lies below the temporary root goes before that does.
    let open = open.into_iter().chain(temporary.open).collect();
    Choice { path, home_refusal: None, passed_over: temporary.refusals, outcome, open }
}

fn held_against(
    written: &Path,
    roots: &[PathBuf],
    passed_over: &[Refusal],
    environment: &Environment,
) -> (PathBuf, BufferOutcome, Option<OpenDirectory>) {
    let resolved = match clamp(written, roots) {
        Ok(resolved) => resolved,
        Err(error) => {
            let outcome = clamped(written, error, roots, passed_over, environment);
            return (written.to_owned(), outcome, None);
        }
    };
    if let Some(outcome) = occupied(&resolved, environment) {
        return (resolved, outcome, None);
    }
    let dir = resolved.parent().unwrap_or(Path::new("/")).to_owned();
    match open_directory(&dir, Trust::Home, environment) {
        Ok(open) => (resolved, BufferOutcome::Writable { dir }, Some(open)),
        Err(refusal) => (resolved, BufferOutcome::Explicit(refusal), None),
    }
}

/// Why a path is not allowed, by the cause that lies behind it.
fn clamped(
    written: &Path,
    error: ClampError,
    roots: &[PathBuf],
    passed_over: &[Refusal],
    environment: &Environment,
) -> BufferOutcome {
    match error {
        ClampError::Outside { resolved, roots } => {
            // Below a temporary root that would do, had it not refused: that is what is wrong.
            let below = |refusal: &&Refusal| clamp(written, std::slice::from_ref(&refusal.wanted)).is_ok();
            if let Some(refusal) = passed_over.iter().find(below) {
                return BufferOutcome::Explicit(refusal.clone());
            }
            let serves = serving_home(&resolved, environment);
            BufferOutcome::Outside { written: written.to_owned(), resolved, roots, serves }
        }
        ClampError::Unresolved { component, errno } => {
            let refusing = super::first_unsearchable(&component).unwrap_or(component);
            let owner = super::owner_of(&refusing);
            let foreign = owner.is_some_and(|owner| owner.uid != environment.account.uid)
                && roots
                    .iter()
                    .chain(passed_over.iter().map(|refusal| &refusal.wanted))
                    .any(|root| refusing.starts_with(root));
            let cause = if foreign { Cause::ForeignOwner } else { Cause::Errno(errno) };
            let whole = roots.first().map_or_else(|| written.to_owned(), |root| root.join(written));
            BufferOutcome::Explicit(Refusal::new(whole.parent().unwrap_or(&whole), &refusing, cause))
        }
    }
}

/// What stands at a path already, if that is not a buffer of ours. It is never opened.
fn occupied(path: &Path, environment: &Environment) -> Option<BufferOutcome> {
    let found = fs::symlink_metadata(path).ok()?;
    if found.is_dir() {
        return Some(BufferOutcome::NotABuffer { what: "a directory" });
    }
    if !found.is_file() {
        return Some(BufferOutcome::NotABuffer { what: "no regular file" });
    }
    let owner = Owner::from(&found);
    if owner.uid != environment.account.uid {
        return Some(BufferOutcome::Foreign(owner));
    }
    let has_lock = is_an_agents(path, environment);
    (!has_lock).then_some(BufferOutcome::NotABuffer { what: "a file without the lock of an agent" })
}

/// The directory of a path outside both roots, if the agent could live there with `Z4J_HOME`.
fn serving_home(resolved: &Path, environment: &Environment) -> Option<PathBuf> {
    let dir = resolved.parent()?;
    // A directory right below / belongs to the system, even where root could write it.
    if dir.components().count() <= 2 || occupied(resolved, environment).is_some() || !dir.is_dir() {
        return None;
    }
    open_directory(dir, Trust::Home, environment).ok().map(|open| open.path.clone())
}
