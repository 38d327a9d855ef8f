//! The buffer probe: whether this user can keep a buffer, and where.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::evidence::{BufferEvidence, BufferOutcome, Space};
use crate::config::Config;
use crate::environment::Environment;
use crate::mounts::MountTable;
use crate::paths::{
    self, Cause, ClampError, OpenDirectory, Owner, Refusal, Trust, clamp, open_directory, open_temporary,
    real_path,
};

/// What was decided about a path.
struct Choice {
    path: PathBuf,
    home_refusal: Option<Refusal>,
    outcome: BufferOutcome,
    /// Kept until everything has been looked at, then removed where it was made.
    _open: Option<OpenDirectory>,
}

/// Looks.
pub(super) fn gather(config: &Config, environment: &Environment) -> BufferEvidence {
    let home = paths::home_root(environment, config);
    let choice = match &config.buffer_path {
        Some(written) => explicit(written, home.as_deref(), environment),
        None => default(home.as_deref(), environment),
    };
    let real_dir = real_dir(&choice);
    // The directory itself may have been made for the probe, and be gone again.
    // The directory itself may have been made for the probe, and be gone again.
    let space = real_dir.ancestors().find_map(|dir| statvfs(dir).ok()).map(|space| Space {
        bytes: space.blocks_available() * space.fragment_size(),
        // btrfs and others have no fixed number of inodes, and say 0.
        inodes: (space.files() > 0).then(|| space.files_available()),
    });
    BufferEvidence {
        home,
        home_refusal: choice.home_refusal,
        outcome: choice.outcome,
        mounts: MountTable::read(&environment.mountinfo),
        space,
        real_dir,
        path: choice.path,
    }
}

/// The first root that serves.
fn default(home: Option<&Path>, environment: &Environment) -> Choice {
    let mut home_refusal = None;
    if let Some(home) = home {
        match open_directory(home, Trust::Home, environment) {
            Ok(open) => return writable(open, None, environment),
            Err(refusal) => home_refusal = Some(refusal),
        }
    }
    let temporary = open_temporary(environment);
    if let Some(open) = temporary.open {
        return writable(open, home_refusal, environment);
    }
    let root = home.map_or_else(|| paths::temporary_name(environment), Path::to_owned);
    let path = paths::default_buffer(&root, environment);
    Choice { path, home_refusal, outcome: BufferOutcome::NoRoot(temporary.refusals), _open: None }
}

fn writable(open: OpenDirectory, home_refusal: Option<Refusal>, environment: &Environment) -> Choice {
    let outcome = BufferOutcome::Writable { dir: open.path.clone() };
    Choice { path: paths::default_buffer(&open.path, environment), home_refusal, outcome, _open: Some(open) }
}

/// The path that the operator named: it must be where it may be, and free.
fn explicit(written: &Path, home: Option<&Path>, environment: &Environment) -> Choice {
    let temporary = open_temporary(environment);
    let temporary_root =
        temporary.open.as_ref().map_or_else(|| paths::temporary_name(environment), |open| open.path.clone());
    let roots: Vec<PathBuf> = home.map(Path::to_owned).into_iter().chain([temporary_root]).collect();
    let choice = |path: &Path, outcome, open| Choice {
        path: path.to_owned(),
        home_refusal: None,
        outcome,
        _open: open,
    };
    let resolved = match clamp(written, &roots) {
        Ok(resolved) => resolved,
        Err(error) => {
            let outcome = clamped(written, error, &roots, &temporary.refusals, environment);
            return choice(written, outcome, None);
        }
    };
    if let Some(outcome) = occupied(&resolved, environment) {
        return choice(&resolved, outcome, None);
    }
    let dir = resolved.parent().unwrap_or(Path::new("/")).to_owned();
    match open_directory(&dir, Trust::Home, environment) {
        Ok(open) => choice(&resolved, BufferOutcome::Writable { dir }, Some(open)),
        Err(refusal) => choice(&resolved, BufferOutcome::Explicit(refusal), None),
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
            let refusing = paths::first_unsearchable(&component).unwrap_or(component);
            let owner = paths::owner_of(&refusing);
            let foreign = owner.is_some_and(|owner| owner.uid != environment.account.uid)
                && roots
                    .iter()
                    .chain(passed_over.iter().map(|refusal| &refusal.wanted))
                    .any(|root| refusing.starts_with(root));
            let cause = if foreign { Cause::ForeignOwner } else { Cause::Errno(errno) };
            BufferOutcome::Explicit(Refusal::new(written.parent().unwrap_or(written), &refusing, cause))
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
    let has_lock = lock_is_ours(path, environment);
    (!has_lock).then_some(BufferOutcome::NotABuffer { what: "a file without the lock of an agent" })
}

/// A buffer is an agent's if its lock lies beside it: a file of ours that nobody else may touch.
fn lock_is_ours(path: &Path, environment: &Environment) -> bool {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    fs::symlink_metadata(lock).is_ok_and(|found| {
        let owner = Owner::from(&found);
        found.is_file() && owner.uid == environment.account.uid && owner.mode & 0o077 == 0
    })
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

/// The directory that the verdict is about, resolved as far as it exists.
fn real_dir(choice: &Choice) -> PathBuf {
    let dir = match &choice.outcome {
        BufferOutcome::Writable { dir } => dir.clone(),
        BufferOutcome::NoRoot(temporary) => {
            let refusal = choice.home_refusal.as_ref().or(temporary.first());
            refusal.map_or_else(|| choice.path.clone(), |refusal| refusal.component.clone())
        }
        BufferOutcome::Explicit(refusal) => refusal.component.clone(),
        BufferOutcome::Outside { resolved, .. } => resolved.clone(),
        BufferOutcome::NotABuffer { .. } | BufferOutcome::Foreign(_) => choice.path.clone(),
    };
    real_path(&dir).unwrap_or(dir)
}
