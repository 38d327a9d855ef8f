//! `wait` and `expect`: a condition against brain, agents and files, and what is seen instead.
//!
//! Owns judging, and how often it is done. Must not change anything.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mock_brain::Brain;
use serde_json::Value;

use super::{StepError, agents, log, status};
use crate::sandbox::Manifest;
use crate::scenario::{AgentName, Condition, Count, FileExpectation, Loaded};
use crate::stage::{Stage, StageError};

/// How long a `wait` waits where nobody says.
const LIMIT: Duration = Duration::from_secs(20);

/// How often is looked at what does not say that it has changed.
const POLL: Duration = Duration::from_millis(5);

/// How many ids are shown.
const SHOWN_IDS: usize = 3;

/// Waits until a condition holds.
pub(super) fn wait(
    stage: &mut Stage,
    loaded: &Loaded,
    name: &AgentName,
    condition: &Condition,
) -> Result<(), StepError> {
    let limit = condition.within.map_or(LIMIT, |within| within.0);
    until(stage, loaded, name, &condition.clone().or_more(), limit)
}

/// A condition that holds now, or within its time.
pub(super) fn expect(
    stage: &mut Stage,
    loaded: &Loaded,
    name: &AgentName,
    condition: &Condition,
) -> Result<(), StepError> {
    if let Some(violations) = condition.violations {
        stage.violations = violations;
    }
    until(stage, loaded, name, condition, condition.within.map_or(Duration::ZERO, |within| within.0))
}

fn until(
    stage: &mut Stage,
    loaded: &Loaded,
    name: &AgentName,
    condition: &Condition,
    limit: Duration,
) -> Result<(), StepError> {
    let deadline = Instant::now() + limit;
    if condition.ended.is_some() {
        stage.journal().may_end(&name.0, true);
    }
    loop {
        let began = Instant::now();
        let problems = problems(stage, loaded, name, condition)?;
        if problems.is_empty() {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let after = if limit.is_zero() { String::new() } else { format!("after {limit:?}: ") };
            return Err(StepError::Failed(format!("{after}{}", problems.join("; "))));
        }
        agents::all_live(stage, loaded)?;
        // What is dear to look at is looked at less often.
        stage.journal().wait(POLL.max(began.elapsed()).min(left));
    }
}

/// Where things are not as wanted.
fn problems(
    stage: &mut Stage,
    loaded: &Loaded,
    name: &AgentName,
    condition: &Condition,
) -> Result<Vec<String>, StepError> {
    let mut problems = Vec::new();
    if let Some(brain) = stage.brain() {
        problems.extend(brain_problems(brain, condition));
        if condition.delivered {
            problems.extend(undelivered(stage, brain));
        }
    }
    problems.extend(agent_problems(stage, name, condition));
    if !condition.files.is_empty() {
        let now = stage.manifest()?;
        for file in &condition.files {
            problems.extend(file_problems(stage, file, &now)?);
        }
    }
    // It is a command of its own: only once the rest holds.
    let asks = !condition.status.0.is_empty() || condition.loss.is_some();
    if problems.is_empty() && asks {
        match status::read(stage, loaded, name)? {
            Ok(document) => problems.extend(status_problems(&document, condition)),
            Err(problem) => problems.push(problem),
        }
    }
    Ok(problems)
}

fn number(what: &str, seen: u64, wanted: Option<Count>) -> Option<String> {
    let wanted = wanted.filter(|wanted| !wanted.holds(seen))?;
    Some(format!("{seen} {what} instead of {wanted}"))
}

fn brain_problems(brain: &Brain, condition: &Condition) -> Vec<String> {
    let mut problems = Vec::new();
    problems.extend(number("events were accepted", brain.accepted_events(), condition.events));
    problems.extend(number("events came again", brain.duplicates(), condition.duplicates));
    if condition.sessions.is_some() || condition.online.is_some() || condition.close_codes.is_some() {
        let sessions = brain.sessions();
        let accepted = sessions.iter().filter(|session| session.accepted);
        problems.extend(number("sessions", accepted.clone().count() as u64, condition.sessions));
        let live = accepted.filter(|session| session.ended_at.is_none()).count();
        problems.extend(number("sessions are online", live as u64, condition.online));
        let codes: Vec<_> = sessions.iter().filter_map(|session| session.close_code).collect();
        if condition.close_codes.as_ref().is_some_and(|wanted| *wanted != codes) {
            problems.push(format!("sessions were closed with {codes:?}"));
        }
    }
    if condition.violations.is_some() {
        let seen = brain.violation_count() as u64;
        problems.extend(number("rules of the protocol were broken", seen, condition.violations));
    }
    if let Some(wanted) = &condition.commands {
        let word = |status: mock_brain::CommandState| match serde_json::to_value(status) {
            Ok(Value::String(word)) => word,
            _ => String::new(),
        };
        let seen: Vec<_> = brain.commands().into_iter().map(|command| word(command.status)).collect();
        if *wanted != seen {
            problems.push(format!("commands are {seen:?} instead of {wanted:?}"));
        }
    }
    problems
}

/// What an agent took and the brain does not have, or has twice, or has from nowhere.
fn undelivered(stage: &Stage, brain: &Brain) -> Option<String> {
    let mut seen = BTreeMap::<String, u64>::new();
    for event in brain.events() {
        *seen.entry(event.event_id.unwrap_or_default()).or_default() += 1;
    }
    let accepted = &stage.emitted.accepted;
    let missing: Vec<_> = accepted.iter().filter(|id| !seen.contains_key(*id)).collect();
    let twice: Vec<_> = accepted.iter().filter(|id| seen.get(*id).is_some_and(|times| *times > 1)).collect();
    let told = |what: &str, ids: &[&String]| {
        let shown: Vec<_> = ids.iter().take(SHOWN_IDS).map(|id| id.as_str()).collect();
        let more = if ids.len() > SHOWN_IDS { ", …" } else { "" };
        format!("{} of {} events {what}: {}{more}", ids.len(), accepted.len(), shown.join(", "))
    };
    match (missing.as_slice(), twice.as_slice()) {
        ([], []) => None,
        ([], twice) => Some(told("are at the brain twice", twice)),
        (missing, _) => Some(told("are not at the brain", missing)),
    }
}

fn agent_problems(stage: &Stage, name: &AgentName, condition: &Condition) -> Vec<String> {
    let mut problems = Vec::new();
    if condition.log.is_empty() && condition.ended.is_none() && condition.notify.is_empty() {
        return problems;
    }
    let looked = stage.journal().look(&name.0, |record| {
        problems.extend(condition.log.iter().filter_map(|wanted| log::problem(&record.lines, wanted)));
        match (condition.ended, record.status.filter(|_| !record.running)) {
            (Some(wanted), Some(status)) if wanted != status => {
                problems.push(format!("{name} ended with {status} instead of {wanted}"));
            }
            (Some(_), None) => problems.push(format!("{name} still runs")),
            _ => {}
        }
        let mut notices = record.notices.iter();
        let missing = condition.notify.iter().find(|wanted| !notices.any(|notice| wanted.0.is_match(notice)));
        if let Some(wanted) = missing {
            problems
                .push(format!("{name} did not say `{}` in its turn; it said {:?}", wanted.0, record.notices));
        }
    });
    if looked.is_none() {
        problems.push(format!("{name} was not started"));
    }
    problems
}

fn status_problems(document: &Value, condition: &Condition) -> Vec<String> {
    let mut problems = status::problems(document, &condition.status);
    if let Some(wanted) = condition.loss {
        match status::loss(document) {
            Some(lost) => problems.extend(number("events were lost", lost, Some(wanted))),
            None => problems.push("its status does not say what was lost".to_owned()),
        }
    }
    problems
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
