//! Steps that are one command: run to its end, its output held against a snapshot.
//!
//! Owns what such a command may not do: print a secret, leave something behind. Must not know verbs.

use std::fmt::Write;

use super::{Note, Rules, StepError};
use crate::sandbox::{Manifest, Output};
use crate::scenario::{Loaded, Snapshot, Step};
use crate::snapshot::{SnapshotFile, Verdict};
use crate::stage::Stage;

/// Runs a command to its end and holds what it says against the step.
///
/// # Errors
/// It says something else, or a secret.
pub(super) fn command(
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
pub(super) fn rendered(output: &Output) -> String {
    let Output { status, stdout, stderr, .. } = output;
    format!("exit: {status}\n----- stdout -----\n{stdout}\n----- stderr -----\n{stderr}")
}

pub(super) fn leaks_nothing(stage: &Stage, line: &str, output: &Output) -> Result<(), StepError> {
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

pub(super) fn indent(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

/// A diagnosis has no side effects: the doctor leaves the machine as it was.
pub(super) fn unchanged(before: &Manifest, after: &Manifest) -> Result<(), StepError> {
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
