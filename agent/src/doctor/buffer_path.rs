//! The buffer probe: whether this user can keep a buffer, and where.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::statvfs::statvfs;
use tokio::sync::oneshot;

use super::evidence::{BufferEvidence, BufferOutcome, Space};
use crate::config::Config;
use crate::environment::Environment;
use crate::mounts::MountTable;
use crate::paths::{self, Choice, real_path};
use crate::words::errno_text;

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
    let choice = paths::choose(config.buffer_path.as_deref(), home.as_deref(), environment);
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
