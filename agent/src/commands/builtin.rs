//! What the agent does itself where no adapter has the action.

use std::time::{Duration, Instant};

use z4j_protocol::payload::{Command, Event};
use z4j_protocol::{CanonicalText, Value};

use super::adapter::Outcome;
use crate::buffer::{Buffer, NewEvent};
use crate::clock::Clock;

/// How old a process must be before it may end itself: a brain that asks at once would keep it from working.
const MIN_AGE: Duration = Duration::from_secs(60);

/// How long after the result the process begins to stop.
pub(super) const EXIT_IN: Duration = Duration::from_millis(250);

/// An action of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builtin {
    /// `schedule.resync`: there are no schedulers here.
    Resync,
    /// `reconcile_task`: the state of a task, which only its engine knows.
    Reconcile,
    /// `restart_worker`: this process ends, and whatever started it starts it anew.
    Restart,
}

/// What a restart depends on.
pub(super) struct Process<'a> {
    pub(super) buffer: &'a Buffer,
    pub(super) clock: Clock,
    /// Whether something starts it anew.
    pub(super) orchestrated: bool,
    pub(super) started_at: Instant,
}

impl Builtin {
    pub(super) fn of(action: &str) -> Option<Self> {
        match action {
            "schedule.resync" => Some(Self::Resync),
            "reconcile_task" => Some(Self::Reconcile),
            "restart_worker" => Some(Self::Restart),
            _ => None,
        }
    }

    /// Does it. The process is to stop [`EXIT_IN`] after a restart that was done.
    pub(super) async fn run(self, command: &Command, process: &Process<'_>) -> Outcome {
        match self {
            Self::Resync => Outcome::Done(Value::object([("schedulers_drained", 0.into())])),
            Self::Reconcile => Outcome::Done(Value::object([
                ("task_id", first(command, &["task_id"], &["task_id", "id"])),
                ("engine_state", "unknown".into()),
                ("finished_at", Value::Null),
                ("exception", Value::Null),
            ])),
            Self::Restart => restart(command, process).await,
        }
    }
}

async fn restart(command: &Command, process: &Process<'_>) -> Outcome {
    if !process.orchestrated {
        return Outcome::failed(
            "nothing is known to start this agent anew, so it does not end itself: map [engine.NAME.action.\
             restart_worker] in its z4j.toml, or set Z4J_ORCHESTRATED=1 if something starts it anew",
        );
    }
    let age = process.started_at.elapsed();
    if age < MIN_AGE {
        let (age, least) = (age.as_secs(), MIN_AGE.as_secs());
        return Outcome::failed(format!(
            "this agent began {age} s ago and restarts after {least} s at the earliest"
        ));
    }
    let names = ["worker_name", "worker_id", "id"];
    let worker = first(command, &names[..2], &names);
    let Ok(text) = offline(&worker, process.clock) else {
        return Outcome::failed("the worker.offline event cannot be written down");
    };
    if let Err(refused) = process.buffer.append(vec![NewEvent { text }]).await {
        return Outcome::failed(format!("the worker.offline event cannot be stored: {refused}"));
    }
    Outcome::Done(Value::object([
        ("restarted_via", "self_exit".into()),
        ("worker_name", worker),
        ("exit_in_seconds", Value::Float(EXIT_IN.as_secs_f64())),
    ]))
}

fn offline(worker: &Value, clock: Clock) -> Result<CanonicalText, serde_json::Error> {
    CanonicalText::from_serialize(&Event {
        id: uuid::Uuid::new_v4().to_string(),
        kind: "worker.offline".to_owned(),
        engine: String::new(),
        task_id: String::new(),
        occurred_at: clock.now().to_string(),
        data: Value::object([("reason", "restart".into()), ("worker_name", worker.clone())]),
    })
}

/// The first of these that says something: parameters before the target.
fn first(command: &Command, parameters: &[&str], target: &[&str]) -> Value {
    let parameters = parameters.iter().filter_map(|name| command.parameters.get(name));
    let target = target.iter().filter_map(|name| command.target.get(name));
    parameters.chain(target).find(|value| !value.is_null()).cloned().unwrap_or(Value::Null)
}
