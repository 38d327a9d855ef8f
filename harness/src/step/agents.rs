//! Agents that go on over several steps: starting, signalling, ending them.
//!
//! Owns when an agent counts as up, and that none ends unasked.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::StepError;
use super::command::{indent, leaks_nothing, rendered};
use crate::scenario::{AgentName, Kill, Loaded, Start, Step, words};
use crate::stage::Stage;

/// How long a start or a stop may take where nobody says.
const LIMIT: Duration = Duration::from_secs(20);

/// How long a killed process may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// The step's own limit, else the unit's, else ours.
fn limit(own: Option<crate::scenario::Duration>, unit: Option<Option<Duration>>) -> Duration {
    own.map(|own| own.0).or(unit.flatten()).unwrap_or(LIMIT)
}

/// Starts an agent; one that says when it is ready is waited for.
pub(super) fn start(
    stage: &mut Stage,
    loaded: &Loaded,
    how: &Start,
    within: Option<crate::scenario::Duration>,
) -> Result<(), StepError> {
    stage.start_agent(&loaded.scenario, how)?;
    if !stage.notifies() {
        return Ok(());
    }
    let limit = limit(within, loaded.scenario.service.timeout_start.map(|span| span.0));
    let name = &how.name;
    let ready = |notices: &[String]| notices.iter().any(|notice| notice == "READY=1");
    let began = Instant::now();
    stage.journal().wait_until(&name.0, limit, |record| ready(&record.notices) || !record.running);
    let seen = stage
        .journal()
        .look(&name.0, |record| (ready(&record.notices), record.status, record.notices.clone()));
    match seen {
        Some((true, ..)) => Ok(()),
        Some((_, Some(status), _)) => {
            Err(StepError::Failed(format!("{name} ended with {status} before it was ready")))
        }
        seen => {
            let said = seen.map(|(_, _, notices)| notices).unwrap_or_default();
            let took = began.elapsed().as_secs_f32();
            Err(StepError::Failed(format!("{name} was not ready after {took:.1} s; it said {said:?}")))
        }
    }
}

/// Ends an agent as the service manager does, and waits for it.
pub(super) fn stop(
    stage: &mut Stage,
    loaded: &Loaded,
    name: &AgentName,
    within: Option<crate::scenario::Duration>,
) -> Result<(), StepError> {
    let service = &loaded.scenario.service;
    let limit = limit(within, service.timeout_stop.map(|span| span.0));
    let signal = service.kill_signal.map_or(Signal::SIGTERM, |signal| signal.0);
    end(stage, name, signal, limit)?;
    if stage.journal().look_at_all(|all| all.values().all(|record| !record.running)) {
        stage.tidy()?;
    }
    Ok(())
}

/// Sends a signal that ends an agent, and waits until it has.
fn end(stage: &mut Stage, name: &AgentName, signal: Signal, limit: Duration) -> Result<(), StepError> {
    runs(stage, name)?;
    stage.journal().may_end(&name.0, true);
    stage.signal(name, signal)?;
    if stage.journal().wait_until(&name.0, limit, |record| !record.running) {
        return Ok(());
    }
    Err(StepError::Failed(format!("{name} still runs {:.1} s after {signal}", limit.as_secs_f32())))
}

fn runs(stage: &Stage, name: &AgentName) -> Result<(), StepError> {
    match stage.journal().look(&name.0, |record| (record.running, record.status)) {
        Some((true, _)) => Ok(()),
        Some((false, status)) => {
            let status = status.map_or_else(String::new, |status| format!(" (exit status {status})"));
            Err(StepError::Failed(format!("{name} does not run: it has ended{status}")))
        }
        None => Err(StepError::Failed(format!("{name} does not run: no step has started it"))),
    }
}

/// Sends a signal. One that ends every process is waited for; what another one does, the agent decides.
pub(super) fn kill(stage: &mut Stage, kill: &Kill) -> Result<(), StepError> {
    let Kill { name, signal } = kill;
    let signal = signal.0;
    if signal == Signal::SIGKILL {
        return end(stage, name, signal, KILL_LIMIT);
    }
    runs(stage, name)?;
    let ends = matches!(
        signal,
        Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT | Signal::SIGABRT | Signal::SIGSEGV
    );
    if ends {
        stage.journal().may_end(&name.0, true);
    }
    Ok(stage.signal(name, signal)?)
}

/// `ExecReload=` of the unit: `kill -HUP $MAINPID`, or a verb of the agent's own; SIGHUP without one.
pub(super) fn reload(stage: &mut Stage, loaded: &Loaded, name: &AgentName) -> Result<(), StepError> {
    runs(stage, name)?;
    let Some(line) = &loaded.scenario.service.exec_reload else {
        return Ok(stage.signal(name, Signal::SIGHUP)?);
    };
    let words = words(line).map_err(|problem| StepError::Failed(format!("ExecReload=: {problem}")))?;
    if let Some(signal) = plain_kill(&words) {
        return Ok(stage.signal(name, signal)?);
    }
    let pid = stage.journal().look(&name.0, |record| record.pid).flatten().unwrap_or_default().to_string();
    let words: Vec<_> =
        words.iter().map(|word| word.replace("${MAINPID}", &pid).replace("$MAINPID", &pid)).collect();
    let words = stage.agent().of_unit(&words, &[]);
    let output = stage.run(&loaded.scenario, words, LIMIT)?;
    leaks_nothing(stage, line, &output)?;
    if output.status == 0 && !output.timed_out {
        return Ok(());
    }
    Err(StepError::Failed(format!("ExecReload={line} failed:\n{}", indent(&rendered(&output)))))
}

/// The signal, if a command is nothing but kill(1) on the main process: a sandbox need not have it.
fn plain_kill(words: &[String]) -> Option<Signal> {
    let [program, signal, target] = words else { return None };
    let is_kill = Path::new(program).file_name().is_some_and(|name| name == "kill");
    let main = matches!(target.as_str(), "$MAINPID" | "${MAINPID}");
    let name = signal.strip_prefix('-').filter(|_| is_kill && main)?;
    crate::scenario::Signal::parse(name).ok().map(|signal| signal.0)
}

/// The machine loses power: agents are killed, what is in memory is gone, and they are started again.
pub(super) fn reboot(
    stage: &mut Stage,
    loaded: &Loaded,
    within: Option<crate::scenario::Duration>,
) -> Result<(), StepError> {
    let running = |stage: &Stage, name: &AgentName| stage.journal().look(&name.0, |record| record.running);
    let up: Vec<_> =
        stage.started.values().filter(|how| running(stage, &how.name) == Some(true)).cloned().collect();
    for how in &up {
        end(stage, &how.name, Signal::SIGKILL, KILL_LIMIT)?;
    }
    stage.lose_power()?;
    up.iter().try_for_each(|how| start(stage, loaded, how, within))
}

/// Which running agent a step means, where there is a choice.
pub(super) fn chosen(stage: &Stage, step: &Step) -> Result<Option<i32>, StepError> {
    let several = stage.journal().look_at_all(|all| all.values().filter(|record| record.running).count()) > 1;
    if step.agent.is_none() && !several {
        return Ok(None);
    }
    let name = step.agent();
    runs(stage, &name)?;
    Ok(stage.journal().look(&name.0, |record| record.pid).flatten())
}

/// No agent has ended, or been silent for too long, that was not asked to.
pub(super) fn all_live(stage: &Stage, loaded: &Loaded) -> Result<(), StepError> {
    let watchdog = loaded.scenario.service.watchdog.and_then(|span| span.0);
    let problem = stage.journal().look_at_all(|all| {
        all.iter().find_map(|(name, record)| {
            if let Some(status) = record.status.filter(|_| !record.running && !record.may_end) {
                return Some(format!("{name} ended with {status}, and nobody asked it to"));
            }
            let silent = record.alive_at.filter(|_| record.running)?.elapsed();
            let overdue = watchdog.is_some_and(|limit| silent > limit);
            overdue.then(|| format!("{name} has not said WATCHDOG=1 for {:.1} s", silent.as_secs_f32()))
        })
    });
    problem.map_or(Ok(()), |problem| Err(StepError::Failed(problem)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_kill_needs_no_program() {
        for (line, signal) in [
            ("/bin/kill -HUP $MAINPID", Some(Signal::SIGHUP)),
            ("kill -SIGUSR1 ${MAINPID}", Some(Signal::SIGUSR1)),
            ("kill -HUP 1", None),
            ("/usr/bin/z4j restart", None),
        ] {
            assert_eq!(plain_kill(&words(line).unwrap()), signal, "{line}");
        }
    }
}
