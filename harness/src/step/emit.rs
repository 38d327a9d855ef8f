//! `emit`: events into an agent, and what it says to them.
//!
//! Owns when they count as taken.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::command::{indent, leaks_nothing, rendered};
use super::{StepError, agents};
use crate::emitted::Lines;
use crate::sandbox::{Input, Output};
use crate::scenario::{Emit, Loaded, Step, Verdict};
use crate::stage::Stage;

/// How long an agent may take to take events where nobody says.
const LIMIT: Duration = Duration::from_secs(30);

/// How long to wait before events are offered again to an agent that is not up yet.
const AGAIN: Duration = Duration::from_millis(10);

/// Largest file of events.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Hands events to an agent.
pub(super) fn emit(stage: &mut Stage, loaded: &Loaded, step: &Step, emit: &Emit) -> Result<(), StepError> {
    let lines = match &emit.file {
        Some(file) => from_file(loaded, file)?,
        None => stage.emitted.make(emit, loaded.scenario.seed, OffsetDateTime::now_utc()),
    };
    let count = lines.text.lines().count() as u64;
    let deadline = Instant::now() + step.within.map_or(LIMIT, |within| within.0);
    loop {
        let arguments = stage.agent().emit(agents::chosen(stage, step)?);
        let line = arguments.join(" ");
        let left = deadline.saturating_duration_since(Instant::now());
        let input = Input { text: lines.text.clone(), lines_per_second: emit.rate };
        let output = stage.run_with(&loaded.scenario, arguments, input, left)?;
        leaks_nothing(stage, &line, &output)?;
        let counts = counts(&output.stdout);
        // Nothing was taken: it may not be up yet.
        let again = emit.expect == Verdict::Accepted && counts.is_none() && output.status != 0;
        if again && Instant::now() < deadline && !output.timed_out {
            agents::all_live(stage, loaded)?;
            stage.journal().wait(AGAIN);
            continue;
        }
        return judge(stage, emit, count, &lines, &line, &output);
    }
}

fn judge(
    stage: &mut Stage,
    emit: &Emit,
    count: u64,
    lines: &Lines,
    line: &str,
    output: &Output,
) -> Result<(), StepError> {
    let (accepted, refused) = counts(&output.stdout).unwrap_or((0, 0));
    let all = output.status == 0 && !output.timed_out && (accepted, refused) == (count, 0);
    let wrong = match emit.expect {
        Verdict::Any => None,
        Verdict::Accepted => (!all).then(|| format!("not all of {count} events were taken")),
        Verdict::Refused if output.timed_out => Some("nothing was refused in time".to_owned()),
        Verdict::Refused => {
            (accepted > 0 || output.status == 0).then(|| format!("{accepted} events were taken"))
        }
    };
    if let Some(wrong) = wrong {
        return Err(StepError::Failed(format!("{wrong}; `{line}` said:\n{}", indent(&rendered(output)))));
    }
    if all {
        stage.emitted.accepted.extend(lines.ids.iter().cloned());
    }
    Ok(())
}

fn from_file(loaded: &Loaded, file: &std::path::Path) -> Result<Lines, StepError> {
    let path = loaded.id.file.with_file_name("").join(file);
    let failed = |reason: String| StepError::Failed(format!("{}: {reason}", path.display()));
    let size = std::fs::metadata(&path).map_err(|error| failed(error.to_string()))?.len();
    if size > MAX_FILE_BYTES {
        return Err(failed(format!("larger than {MAX_FILE_BYTES} bytes")));
    }
    std::fs::read_to_string(&path).map(Lines::of_file).map_err(|error| failed(error.to_string()))
}

/// The numbers of `N accepted, M refused`.
fn counts(stdout: &str) -> Option<(u64, u64)> {
    stdout.lines().rev().find_map(|line| {
        let (accepted, rest) = line.split_once(" accepted, ")?;
        let refused = rest.split(' ').next()?;
        Some((accepted.trim().parse().ok()?, refused.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_found() {
        for (text, expected) in [
            ("200 accepted, 0 refused\n", Some((200, 0))),
            ("line 3: not JSON\n2 accepted, 1 refused (see above)\n", Some((2, 1))),
            ("no agent runs\n", None),
            ("", None),
        ] {
            assert_eq!(counts(text), expected, "{text}");
        }
    }
}
