//! The steps of a scenario, one after the other, on its stage.
//!
//! Owns what each verb leads to, and what holds for a whole scenario. Must not put up a stage or print
//! anything.

mod agents;
mod command;
mod emit;
mod log;
mod look;
mod machine;
mod status;

use crate::normalise::Normaliser;
use crate::scenario::{Doctor, Loaded, Snapshot, Step, Verb};
use crate::stage::{Stage, StageError};

/// How a scenario's output is treated.
#[derive(Debug)]
pub(crate) struct Rules<'r> {
    pub(crate) normaliser: &'r Normaliser,
    pub(crate) update: bool,
}

/// What went wrong in a step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// The answer is not the expected one.
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Stage(#[from] StageError),
}

/// What a step did that a reader should know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    /// A snapshot was written anew.
    pub(crate) updated: bool,
}

/// Carries out one step; `index` counts from 1.
///
/// # Errors
/// Something is not as the step says.
pub(crate) fn carry_out(
    stage: &mut Stage,
    loaded: &Loaded,
    index: usize,
    step: &Step,
    rules: &Rules<'_>,
) -> Result<Note, StepError> {
    let Some(verb) = step.verbs().next() else { return Ok(Note::default()) };
    let asks_for_end =
        matches!(verb, Verb::Wait(condition) | Verb::Expect(condition) if condition.ended.is_some());
    if !asks_for_end {
        agents::all_live(stage, loaded)?;
    }
    match verb {
        Verb::Doctor(call) => return doctor(stage, loaded, index, step, call, rules),
        Verb::Run(arguments) => {
            return command::command(stage, loaded, index, step, arguments.to_vec(), rules);
        }
        Verb::Check(call) => {
            let arguments = stage.agent().check(step.snapshot == Snapshot::Json, &call.args);
            return command::command(stage, loaded, index, step, arguments, rules);
        }
        Verb::Restart(call) => {
            let arguments = stage.agent().restart(agents::chosen(stage, step)?, &call.args);
            return command::command(stage, loaded, index, step, arguments, rules);
        }
        Verb::Start(how) => agents::start(stage, loaded, how, step.within)?,
        Verb::Stop(name) => agents::stop(stage, loaded, name, step.within)?,
        Verb::Kill(kill) => agents::kill(stage, kill)?,
        Verb::Reload(name) => agents::reload(stage, loaded, name)?,
        Verb::Reboot => agents::reboot(stage, loaded, step.within)?,
        Verb::Emit(emit) => emit::emit(stage, loaded, step, emit)?,
        Verb::Brain(change) => stage.change_brain(change).map_err(StepError::Failed)?,
        Verb::Status(checks) => status::check(stage, loaded, &step.agent(), checks)?,
        Verb::Wait(condition) => look::wait(stage, loaded, &step.agent(), condition)?,
        Verb::Expect(condition) => look::expect(stage, loaded, &step.agent(), condition)?,
        verb => machine::operate(stage, loaded, verb)?,
    }
    Ok(Note::default())
}

fn doctor(
    stage: &mut Stage,
    loaded: &Loaded,
    index: usize,
    step: &Step,
    call: &Doctor,
    rules: &Rules<'_>,
) -> Result<Note, StepError> {
    let json = step.snapshot == Snapshot::Json;
    let arguments = stage.agent().doctor(call.framework.as_deref(), json, &call.args);
    if stage.journal().look_at_all(|all| all.values().any(|record| record.running)) {
        // A running agent changes the machine all the time: nothing can be told of the doctor.
        return command::command(stage, loaded, index, step, arguments, rules);
    }
    let before = stage.manifest()?;
    let note = command::command(stage, loaded, index, step, arguments, rules)?;
    let after = stage.manifest()?;
    command::unchanged(&before, &after).map(|()| note)
}

/// What must hold at the end, whatever else went well: agents live until they are ended, say no secret, and
/// break no rule of the protocol.
///
/// # Errors
/// Something does not.
pub(crate) fn finish(stage: &Stage, loaded: &Loaded) -> Result<(), StepError> {
    agents::all_live(stage, loaded)?;
    log::leaks_nothing(stage)?;
    no_violations(stage)
}

fn no_violations(stage: &Stage) -> Result<(), StepError> {
    let violations = stage.brain().map(mock_brain::Brain::violations).unwrap_or_default();
    if stage.violations.holds(violations.len() as u64) {
        return Ok(());
    }
    let told = violations.iter().map(|violation| {
        let raw = violation.raw.as_deref().map(|raw| format!(" in {}", cut(raw))).unwrap_or_default();
        format!("{}: {}{raw}", violation.rule, violation.detail)
    });
    let told: Vec<_> = told.collect();
    Err(StepError::Failed(format!("the agent broke rules of the protocol: {}", told.join("; "))))
}

/// The beginning of what broke a rule.
fn cut(raw: &str) -> String {
    const SHOWN: usize = 300;
    raw.chars().take(SHOWN).collect()
}

/// What agents said last, for who looks for the cause of a failure.
pub(crate) fn last_words(stage: &Stage) -> String {
    log::last_words(stage)
}
