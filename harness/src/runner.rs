//! Runs scenarios in parallel, each on a stage and thread of its own.
//!
//! Owns outcomes and their order. Must not print: a listener is told of each outcome as it comes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::agent::AgentProgram;
use crate::normalise::Normaliser;
use crate::scenario::{Backend, Loaded};
use crate::stage::{Stage, StageError};
use crate::step::{self, Rules, StepError};

/// How scenarios are run.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) agent: AgentProgram,
    /// Below which scratch directories may be made.
    pub(crate) temporary: PathBuf,
    /// The strongest sandbox there is.
    pub(crate) strongest: Backend,
    pub(crate) jobs: usize,
    pub(crate) update: bool,
    pub(crate) keep: bool,
    pub(crate) fail_fast: bool,
}

/// What came of one scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All steps went as they say. `updated`: how many snapshots were written anew.
    Passed { updated: usize },
    /// A step did not: which, and how.
    Failed { reason: String },
    /// This machine cannot show it: why.
    Skipped { reason: String },
    /// It was not started: another one failed, or the run was interrupted.
    NotRun,
}

/// One scenario's outcome.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
    /// Where the sandbox's files were left, if they were.
    pub(crate) kept: Option<PathBuf>,
}

/// Runs all scenarios; outcomes come back in the order of the scenarios, and `listener` hears of them as they
/// happen. Nothing new is started once `stop` is set.
pub(crate) fn run(
    scenarios: &[Loaded],
    settings: &Settings,
    normaliser: &Normaliser,
    stop: &AtomicBool,
    listener: &(dyn Fn(&Finished) + Sync),
) -> Vec<Finished> {
    let next = AtomicUsize::new(0);
    let finished = Mutex::new(Vec::new());
    let work = || {
        while let Some(index) = take(&next, scenarios.len()) {
            let done = run_unless_stopped(&scenarios[index], settings, normaliser, stop);
            if settings.fail_fast && matches!(done.outcome, Outcome::Failed { .. }) {
                stop.store(true, Ordering::Relaxed);
            }
            listener(&done);
            finished.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, done));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..settings.jobs.clamp(1, scenarios.len().max(1)) {
            scope.spawn(work);
        }
    });
    let mut finished = finished.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    finished.sort_by_key(|(index, _)| *index);
    finished.into_iter().map(|(_, done)| done).collect()
}

fn take(next: &AtomicUsize, count: usize) -> Option<usize> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    (index < count).then_some(index)
}

fn run_unless_stopped(
    loaded: &Loaded,
    settings: &Settings,
    normaliser: &Normaliser,
    stop: &AtomicBool,
) -> Finished {
    let started = Instant::now();
    let mut kept = None;
    let outcome = if stop.load(Ordering::Relaxed) {
        Outcome::NotRun
    } else {
        // One scenario that brings the harness down must not take the others' outcomes with it.
        let run = AssertUnwindSafe(|| run_one(loaded, settings, normaliser, &mut kept));
        catch_unwind(run).unwrap_or_else(|_| Outcome::Failed {
            reason: "the harness failed on it (see stderr): please report this".to_owned(),
        })
    };
    Finished { name: loaded.id.name.clone(), outcome, took: started.elapsed(), kept }
}

fn run_one(
    loaded: &Loaded,
    settings: &Settings,
    normaliser: &Normaliser,
    kept: &mut Option<PathBuf>,
) -> Outcome {
    let needs = loaded.scenario.needs;
    if needs > settings.strongest {
        let needs = needs.word();
        return Outcome::Skipped {
            reason: format!("it needs the {needs} sandbox, which does not exist yet"),
        };
    }
    let mut stage = match Stage::new(loaded, &settings.agent, &settings.temporary) {
        Ok(stage) => stage,
        Err(StageError::Unavailable(reason)) => return Outcome::Skipped { reason },
        Err(error) => return Outcome::Failed { reason: error.to_string() },
    };
    if settings.keep {
        *kept = Some(stage.keep());
    }
    let rules = Rules { normaliser, update: settings.update };
    let mut updated = 0;
    for (index, step) in loaded.scenario.steps.iter().enumerate() {
        match step::carry_out(&mut stage, loaded, index + 1, step, &rules) {
            Ok(note) => updated += usize::from(note.updated),
            Err(StepError::Stage(StageError::Unavailable(reason))) => return Outcome::Skipped { reason },
            Err(error) => {
                let reason = format!("step {}: {error}{}", index + 1, step::last_words(&stage));
                return Outcome::Failed { reason };
            }
        }
    }
    if let Err(error) = step::finish(&stage, loaded) {
        return Outcome::Failed { reason: format!("{error}{}", step::last_words(&stage)) };
    }
    Outcome::Passed { updated }
}
