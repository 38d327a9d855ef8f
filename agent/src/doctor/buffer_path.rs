//! The buffer probe: whether this user can keep a buffer, and where.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::statvfs::statvfs;
use tokio::sync::oneshot;

use super::evidence::{BufferEvidence, BufferOutcome, Space};
use crate::config::Config;
use crate::environment::Environment;
use crate::mounts::MountTable;
use crate::paths::{
    self, Cause, ClampError, OpenDirectory, Owner, Refusal, Trust, clamp, open_directory, open_temporary,
    real_path,
};
use crate::words::errno_text;

/// What was decided about a path.
struct Choice {
    path: PathBuf,
    home_refusal: Option<Refusal>,
    outcome: BufferOutcome,
    /// Kept until everything has been looked at, then removed where it was made: the deepest comes first.
    _open: Vec<OpenDirectory>,
}

/// Looks, on a thread of its own: a file system that hangs must not hold up the rest.
pub(super) async fn gather(config: &Config, environment: &Environment, bound: Duration) -> BufferEvidence {
    // A directory or file that the trial made must not outlive the process, so signals wait for its end.
    let held = HeldSignals::new();
    let (sender, answer) = oneshot::channel();
    let (theirs, around) = (config.clone(), environment.clone());
    let work = move || {
        // Nobody waits any more if the time was up.
        let _ = sender.send(look(&theirs, &around));
    };
    let why = match std::thread::Builder::new().name("buffer trial".to_owned()).spawn(work) {
        Err(error) => {
            format!("no thread can be started ({}), as TasksMax= or LimitNPROC= makes it", errno_text(&error))
        }
        Ok(_) => match tokio::time::timeout(bound, answer).await {
            Ok(Ok(seen)) => return seen,
            Ok(Err(_)) => "the trial ended without a result".to_owned(),
            Err(_) => format!("writing a trial buffer did not finish in {bound:?}"),
        },
    };
    drop(held);
    unfinished(config, environment, why)
}

/// SIGTERM, SIGINT and SIGHUP, held back until this is dropped; then they do what they always do.
struct HeldSignals(Option<SigSet>);

impl HeldSignals {
    fn new() -> Self {
        let mut held = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            held.add(signal);
        }
        Self(held.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok())
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = before.thread_set_mask();
        }
    }
}

fn unfinished(config: &Config, environment: &Environment, why: String) -> BufferEvidence {
    let home = paths::home_root(environment, config);
    let root = home.clone().unwrap_or_else(|| PathBuf::from("/tmp"));
    let path = config.buffer_path.clone().unwrap_or_else(|| paths::default_buffer(&root, environment));
    BufferEvidence {
        real_dir: root,
        path,
        home,
        home_refusal: None,
        outcome: BufferOutcome::Unfinished(why),
        mounts: None,
        space: None,
    }
}

fn look(config: &Config, environment: &Environment) -> BufferEvidence {
    let home = paths::home_root(environment, config);
    let choice = match &config.buffer_path {
        Some(written) => explicit(written, home.as_deref(), environment),
        None => default(home.as_deref(), environment),
    };
    let real_dir = real_dir(&choice);
    // The directory itself may be missing.
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
    Choice { path, home_refusal, outcome: BufferOutcome::NoRoot(temporary.refusals), _open: Vec::new() }
}

fn writable(open: OpenDirectory, home_refusal: Option<Refusal>, environment: &Environment) -> Choice {
    let outcome = BufferOutcome::Writable { dir: open.path.clone() };
    Choice { path: paths::default_buffer(&open.path, environment), home_refusal, outcome, _open: vec![open] }
}

/// The path that the operator named: it must be where it may be, and free.
fn explicit(written: &Path, home: Option<&Path>, environment: &Environment) -> Choice {
    let temporary = open_temporary(environment);
    let temporary_root =
        temporary.open.as_ref().map_or_else(|| paths::temporary_name(environment), |open| open.path.clone());
    let roots: Vec<PathBuf> = home.map(Path::to_owned).into_iter().chain([temporary_root]).collect();
    let (path, outcome, open) = held_against(written, &roots, &temporary.refusals, environment);
    // What lies below the temporary root goes before that does.
    let open = open.into_iter().chain(temporary.open).collect();
    Choice { path, home_refusal: None, outcome, _open: open }
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
            let refusing = paths::first_unsearchable(&component).unwrap_or(component);
            let owner = paths::owner_of(&refusing);
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
        BufferOutcome::NotABuffer { .. } | BufferOutcome::Foreign(_) | BufferOutcome::Unfinished(_) => {
            choice.path.clone()
        }
    };
    real_path(&dir).unwrap_or(dir)
}
