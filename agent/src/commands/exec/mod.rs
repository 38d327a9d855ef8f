//! The adapter `exec`: each action is a program that the operator named.
//!
//! No shell stands between: what a command says is data in an argument, and the whole command is on the
//! program's standard input. Owns how long it runs and what its output means.

mod named;
mod output;
mod process;
mod tail;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use z4j_protocol::payload::Command;
use z4j_protocol::{CanonicalText, Value};

use self::output::Output;
use self::process::{Ended, Program};
use super::Redact;
use super::adapter::{Adapter, Call, Outcome, Running};
use super::run::MAX_SECONDS;
use super::template::Values;
use crate::config::ActionSettings;
use crate::environment::Environment;
use crate::words::errno_text;

/// Where programs are looked for that the action's program starts, if the agent was not told.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Carries actions out by programs.
pub(crate) struct ExecAdapter {
    actions: BTreeMap<String, ActionSettings>,
    base: BTreeMap<OsString, OsString>,
    redact: Redact,
    running: AtomicU64,
    failed: AtomicU64,
}

impl ExecAdapter {
    /// An adapter for these actions. Of the agent's own variables, programs get PATH, HOME and LANG.
    /// What they complain about passes `redact`.
    pub(crate) fn new(
        actions: BTreeMap<String, ActionSettings>,
        environment: &Environment,
        redact: Redact,
    ) -> Self {
        let path = environment.get("PATH").map_or_else(|| DEFAULT_PATH.into(), OsString::from);
        let mut base = BTreeMap::from([("PATH".into(), path)]);
        if let Some(home) = environment.home_dir() {
            base.insert("HOME".into(), home.into());
        }
        if let Some(lang) = environment.get("LANG") {
            base.insert("LANG".into(), lang.to_owned());
        }
        Self { actions, base, redact, running: AtomicU64::new(0), failed: AtomicU64::new(0) }
    }

    fn program(&self, action: &ActionSettings, call: &Call) -> Result<Program, String> {
        let Command { action: name, target, parameters, .. } = &call.command;
        let values = Values { id: &call.id, action: name, parameters, target };
        let mut arguments = Vec::new();
        for template in &action.arguments {
            arguments.extend(template.fill(&values)?);
        }
        let mut variables = self.base.clone();
        variables.extend(action.env.iter().map(|(name, value)| (name.into(), value.into())));
        Ok(Program {
            path: action.program.clone(),
            arguments,
            variables,
            input: document(call).map_err(|error| format!("the command cannot be written down: {error}"))?,
            output_bytes: action.output_bytes,
        })
    }

    async fn carry_out(&self, call: Call) -> Outcome {
        let Some(action) = self.actions.get(&call.command.action) else {
            return Outcome::failed(format!("`{}` has no program", call.command.action));
        };
        let program = match self.program(action, &call) {
            Ok(program) => program,
            Err(error) => return Outcome::failed(error),
        };
        let limit = action.timeout.unwrap_or(Duration::MAX).min(call.time_left);
        let said = said_limit(action.timeout, &call);
        match program.run(limit, call.stopping).await {
            Ok((Ended::Exited(status), output)) => self.judge(status, &output),
            Ok((Ended::TimedOut, output)) => {
                let error = format!("timed out after {said} s, and the program was ended");
                Outcome::indeterminate(self.with_tail(error, &output))
            }
            Ok((Ended::Stopped, output)) => {
                let error = "the agent stopped, and the program was ended".to_owned();
                Outcome::indeterminate(self.with_tail(error, &output))
            }
            Err(error) => {
                let path = program.path.display();
                Outcome::failed(format!("{path} cannot be run: {}", errno_text(&error)))
            }
        }
    }
}

impl ExecAdapter {
    /// A program that exits with 0 has succeeded.
    fn judge(&self, status: ExitStatus, output: &Output) -> Outcome {
        use std::os::unix::process::ExitStatusExt;
        if status.success() {
            return Outcome::Done(output.result(Some(0)));
        }
        let error = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("killed by {}", signal_name(signal)),
            (None, None) => status.to_string(),
        };
        let result = output.result(status.code());
        Outcome::Failed { error: self.with_tail(error, output), result: Some(result) }
    }

    fn with_tail(&self, error: String, output: &Output) -> String {
        let tail = tail::shown(output, &self.redact);
        if tail.is_empty() { error } else { format!("{error}: {tail}") }
    }
}

impl Adapter for ExecAdapter {
    fn kind(&self) -> &'static str {
        "exec"
    }

    fn has(&self, action: &str) -> bool {
        self.actions.contains_key(action)
    }

    fn run(&self, call: Call) -> Running<'_> {
        Box::pin(async move {
            let _running = Counted::new(&self.running);
            let outcome = self.carry_out(call).await;
            if matches!(outcome, Outcome::Failed { .. }) {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
            outcome
        })
    }

    fn health(&self) -> BTreeMap<&'static str, String> {
        let text = |counter: &AtomicU64| counter.load(Ordering::Relaxed).to_string();
        BTreeMap::from([("running", text(&self.running)), ("failed", text(&self.failed))])
    }
}

/// The limit that holds, in seconds, as it was set: what is left of it is another odd number each time.
fn said_limit(own: Option<Duration>, call: &Call) -> f64 {
    let whole = Duration::from_secs(call.command.timeout_seconds.clamp(1, MAX_SECONDS));
    own.filter(|own| *own < call.time_left).unwrap_or(whole).as_secs_f64()
}

/// One more while it lives.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The command for the program's standard input. The claim token is between the brain and the agent.
fn document(call: &Call) -> Result<String, z4j_protocol::CanonicalError> {
    let Command { action, target, parameters, timeout_seconds, issued_by, .. } = &call.command;
    let document = Value::object([
        ("id", call.id.as_str().into()),
        ("action", action.as_str().into()),
        ("target", target.clone()),
        ("parameters", parameters.clone()),
        ("timeout_seconds", (*timeout_seconds).into()),
        ("issued_by", issued_by.as_deref().map_or(Value::Null, Value::from)),
    ]);
    CanonicalText::of(&document).map(CanonicalText::into_string)
}

fn signal_name(signal: i32) -> String {
    let known = nix::sys::signal::Signal::try_from(signal);
    known.map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
