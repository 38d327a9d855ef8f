//! The steps of a scenario, one after the other, on its stage.
//!
//! Owns what each verb means and when it fails. Must not put up a stage or print anything.

use std::fmt::Write;

use crate::normalise::Normaliser;
use crate::sandbox::{Manifest, Output};
use crate::scenario::{BrainStep, Doctor, Expect, FileExpectation, Loaded, Snapshot, Step};
use crate::snapshot::{SnapshotFile, Verdict};
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
    if let Some(doctor) = &step.doctor {
        let arguments = doctor_words(stage, doctor, step.snapshot);
        let before = stage.manifest()?;
        let note = command(stage, loaded, index, step, arguments, rules)?;
        let after = stage.manifest()?;
        return unchanged(&before, &after).map(|()| note);
    }
    if let Some(arguments) = &step.run {
        return command(stage, loaded, index, step, arguments.clone(), rules);
    }
    if let Some(change) = &step.brain {
        change_brain(stage, change)?;
    }
    if let Some(expected) = &step.expect {
        expect(stage, expected)?;
    }
    Ok(Note::default())
}

fn doctor_words(stage: &Stage, doctor: &Doctor, snapshot: Snapshot) -> Vec<String> {
    let mut words = stage.agent_words();
    words.push("doctor".to_owned());
    if let Some(framework) = &doctor.framework {
        words.extend(["--framework".to_owned(), framework.clone()]);
    }
    if snapshot == Snapshot::Json {
        words.push("--json".to_owned());
    }
    words.extend(doctor.args.iter().cloned());
    words
}

fn command(
    stage: &mut Stage,
    loaded: &Loaded,
    index: usize,
    step: &Step,
    arguments: Vec<String>,
    rules: &Rules<'_>,
) -> Result<Note, StepError> {
    let line = arguments.join(" ");
    let limit = step.within.unwrap_or_default().0;
    let output = stage.run(&loaded.scenario, arguments, limit)?;
    leaks_nothing(stage, &line, &output)?;
    if output.timed_out {
        let seen = indent(&rendered(&output));
        return Err(StepError::Failed(format!("`{line}` did not end within {limit:?}; it said:\n{seen}")));
    }
    let text = rules.normaliser.apply(&stage.stand_ins().undo(&rendered(&output)));
    let mut note = Note::default();
    if step.snapshot != Snapshot::No {
        let name = step.name.as_ref().map_or_else(|| index.to_string(), |name| name.0.clone());
        let file = SnapshotFile::new(&loaded.id.file, &name, &line);
        let checked = file.check(&text, rules.update);
        let verdict = checked.map_err(|error| StepError::Failed(format!("snapshot {file}: {error}")))?;
        note.updated = judge(verdict)?;
    }
    match step.exit {
        Some(expected) if i32::from(expected) != output.status => {
            let seen = indent(&text);
            let status = output.status;
            Err(StepError::Failed(format!("`{line}` exited {status} instead of {expected}:\n{seen}")))
        }
        _ => Ok(note),
    }
}

/// Exit status, stdout and stderr in one text.
fn rendered(output: &Output) -> String {
    let Output { status, stdout, stderr, .. } = output;
    format!("exit: {status}\n----- stdout -----\n{stdout}\n----- stderr -----\n{stderr}")
}

fn leaks_nothing(stage: &Stage, line: &str, output: &Output) -> Result<(), StepError> {
    let leaked = stage
        .secrets()
        .iter()
        .any(|secret| output.stdout.contains(*secret) || output.stderr.contains(*secret));
    if leaked { Err(StepError::Failed(format!("`{line}` printed a secret"))) } else { Ok(()) }
}

fn judge(verdict: Verdict) -> Result<bool, StepError> {
    match verdict {
        Verdict::Same => Ok(false),
        Verdict::Updated => Ok(true),
        Verdict::Missing { file, text } => Err(StepError::Failed(format!(
            "there is no snapshot {} yet (accept it with --update or `cargo insta review`):\n{}",
            file.display(),
            indent(&text)
        ))),
        Verdict::Different { file, diff } => Err(StepError::Failed(format!(
            "differs from {} (- expected, + seen; accept it with --update or `cargo insta review`):\n{}",
            file.display(),
            indent(&diff)
        ))),
    }
}

fn indent(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

/// A diagnosis has no side effects: the doctor leaves the machine as it was.
fn unchanged(before: &Manifest, after: &Manifest) -> Result<(), StepError> {
    let mut changes = String::new();
    for (path, state) in after {
        match before.get(path) {
            None => _ = writeln!(changes, "    + {path}"),
            Some(earlier) if earlier != state => _ = writeln!(changes, "    ~ {path}"),
            Some(_) => {}
        }
    }
    for path in before.keys().filter(|path| !after.contains_key(*path)) {
        let _ = writeln!(changes, "    - {path}");
    }
    if changes.is_empty() {
        return Ok(());
    }
    Err(StepError::Failed(format!("the doctor changed the machine:\n{}", changes.trim_end())))
}

fn change_brain(stage: &Stage, change: &BrainStep) -> Result<(), StepError> {
    let Some(brain) = stage.brain() else {
        return Err(StepError::Failed("there is no brain".to_owned()));
    };
    for fault in &change.set {
        brain.set_fault(fault.clone()).map_err(|error| StepError::Failed(error.to_string()))?;
    }
    for name in &change.clear {
        if !brain.clear_fault(&name.0) {
            return Err(StepError::Failed(format!("the fault `{}` is not active", name.0)));
        }
    }
    Ok(())
}

/// What the agent did wrong fails a scenario, whatever else went well.
///
/// # Errors
/// The brain has noted a violation.
pub(crate) fn no_violations(stage: &Stage) -> Result<(), StepError> {
    let violations = stage.brain().map(mock_brain::Brain::violations).unwrap_or_default();
    let told = violations.iter().map(|violation| format!("{}: {}", violation.rule, violation.detail));
    let told: Vec<_> = told.collect();
    if told.is_empty() {
        return Ok(());
    }
    Err(StepError::Failed(format!("the agent broke rules of the protocol: {}", told.join("; "))))
}

fn expect(stage: &mut Stage, expected: &Expect) -> Result<(), StepError> {
    let mut problems = Vec::new();
    if let Some(brain) = stage.brain() {
        let events = brain.events().len();
        if expected.events.is_some_and(|wanted| wanted != events) {
            problems.push(format!("{events} events were accepted"));
        }
        let codes: Vec<_> = brain.sessions().iter().filter_map(|session| session.close_code).collect();
        if expected.close_codes.as_ref().is_some_and(|wanted| *wanted != codes) {
            problems.push(format!("sessions were closed with {codes:?}"));
        }
    }
    if !expected.files.is_empty() {
        let now = stage.manifest()?;
        for file in &expected.files {
            problems.extend(file_problems(stage, file, &now)?);
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(StepError::Failed(problems.join("; "))) }
}

fn file_problems(
    stage: &Stage,
    expected: &FileExpectation,
    now: &Manifest,
) -> Result<Vec<String>, StepError> {
    let path = expected.path.0.to_string_lossy().into_owned();
    let Some(state) = now.get(&path) else {
        return Ok(if expected.exists { vec![format!("{path} is not there")] } else { Vec::new() });
    };
    if !expected.exists {
        return Ok(vec![format!("{path} is there: {} of {}", state.kind, stage.user_name(state.uid))]);
    }
    if expected.owner.is_some() && !stage.shows_owners() {
        let reason = format!("the owner of {path} can only be checked as root");
        return Err(StageError::Unavailable(reason).into());
    }
    let mode = stage.stand_ins().true_mode(&expected.path.0, state.mode);
    let mut problems = Vec::new();
    let owner = stage.user_name(state.uid);
    if expected.owner.as_ref().is_some_and(|wanted| *wanted != owner) {
        problems.push(format!("{path} belongs to {owner}"));
    }
    if expected.mode.is_some_and(|wanted| wanted.0 != mode) {
        problems.push(format!("{path} has mode {mode:04o}"));
    }
    if expected.unchanged && stage.start.get(&path) != Some(state) {
        problems.push(format!("{path} was changed"));
    }
    Ok(problems)
}
