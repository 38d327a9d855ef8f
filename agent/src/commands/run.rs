//! One command from its turn to its stored result. Whatever an adapter does, a result comes of it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use z4j_protocol::Value;
use z4j_protocol::payload::Command;

use super::adapter::{Adapter, Call, Outcome, stopped};
use super::builtin::{Builtin, EXIT_IN, Process};
use super::fires::{Fires, Known};
use super::route::{Route, route};
use super::{AT_ONCE, MOST_OPEN, Open, Redact, Shared, bound};
use crate::buffer::{CLOSED, StoredResult};

/// Longest time of a command, in seconds.
pub(super) const MAX_SECONDS: u64 = 3_600;
/// How long an adapter may take to end what ran out of time, before it is dropped.
const SLACK: Duration = Duration::from_secs(6);

/// Waits for the command's turn, has it carried out, and stores the result.
pub(super) async fn carry_out(shared: Arc<Shared>, open: Open, command: Command) {
    let claim = command.delivery_claim_token.clone();
    let seconds = command.timeout_seconds.clamp(1, MAX_SECONDS);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let under_way = shared.open.borrow().len();
    if under_way > MOST_OPEN {
        let error = format!("{MOST_OPEN} commands are under way already; this one was not run");
        return shared.conclude(open, Outcome::failed(error), claim.as_deref()).await;
    }
    let mut stopping = shared.stopping.subscribe();
    let turn = tokio::select! {
        turn = timeout_at(deadline, shared.slots.acquire()) => turn.ok().and_then(Result::ok),
        () = stopped(&mut stopping) => {
            let error = "the agent stopped before the command's turn; it was not run";
            return shared.conclude(open, Outcome::failed(error), claim.as_deref()).await;
        }
    };
    let Some(turn) = turn else {
        let error = format!("{AT_ONCE} commands ran for {seconds} s before this one's turn; it was not run");
        return shared.conclude(open, Outcome::failed(error), claim.as_deref()).await;
    };
    let (outcome, restarts) = shared.execute(&open.id, command, deadline).await;
    // A result that waits for a full disk must not keep others from running.
    drop(turn);
    shared.conclude(open, outcome, claim.as_deref()).await;
    if restarts {
        sleep(EXIT_IN).await;
        shared.parts.commander.stop();
    }
}

impl Shared {
    /// Carries a command out; the second part says whether the process is to end.
    async fn execute(&self, id: &str, command: Command, deadline: Instant) -> (Outcome, bool) {
        let Some(fire) = Fires::id(&command) else { return self.dispatch(id, command, deadline).await };
        match self.fires().begin(&fire, std::time::Instant::now()) {
            Known::New => {}
            Known::Running => {
                return (
                    Outcome::failed("another command with this fire_id runs; this one was not run"),
                    false,
                );
            }
            Known::Done => {
                let key = format!("fire:{fire}");
                let members = [("deduplicated", Value::Bool(true)), ("dedup_key", key.as_str().into())];
                return (Outcome::Done(Value::object(members)), false);
            }
        }
        let (outcome, restarts) = self.dispatch(id, command, deadline).await;
        let succeeded = matches!(outcome, Outcome::Done(_));
        self.fires().end(&fire, succeeded, std::time::Instant::now());
        (outcome, restarts)
    }

    fn fires(&self) -> std::sync::MutexGuard<'_, Fires> {
        self.fires.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn dispatch(&self, id: &str, command: Command, deadline: Instant) -> (Outcome, bool) {
        match route(&self.parts.adapters, &command) {
            Err(error) => (Outcome::failed(error), false),
            Ok(Route::Builtin(builtin)) => {
                let parts = &self.parts;
                let process = Process {
                    buffer: &parts.buffer,
                    clock: parts.clock,
                    orchestrated: parts.orchestrated,
                    started_at: parts.started_at,
                };
                let outcome = builtin.run(&command, &process).await;
                let restarts = builtin == Builtin::Restart && matches!(outcome, Outcome::Done(_));
                (outcome, restarts)
            }
            Ok(Route::Adapter(engine, adapter)) => {
                let time_left = deadline.saturating_duration_since(Instant::now());
                let stopping = self.stopping.subscribe();
                let call = Call { id: id.to_owned(), command, time_left, stopping };
                let redact = Arc::clone(&self.parts.redact);
                (watched(&engine, adapter, call, redact, deadline + SLACK).await, false)
            }
        }
    }

    /// Stores a result. One that cannot be stored now is kept by the buffer, and is sent all the same.
    pub(super) async fn conclude(&self, open: Open, outcome: Outcome, claim: Option<&str>) {
        let result = StoredResult { command_id: open.id.clone(), payload: bound::payload(outcome, claim) };
        match self.parts.buffer.finish_command(result).await {
            Ok(()) => {}
            Err(refused) if refused.code == CLOSED => {
                tracing::warn!("the result of command {} is lost: {refused}", open.id);
                return;
            }
            Err(refused) => {
                tracing::warn!("the result of command {} is in memory only: {refused}", open.id);
            }
        }
        // First: whoever is told of the result may send the command again at once, and is to get it.
        drop(open);
        self.finished.send_modify(|finished| *finished = finished.wrapping_add(1));
    }
}

/// Runs an adapter in a task of its own: its panic is a result like any other.
async fn watched(
    engine: &str,
    adapter: Arc<dyn Adapter>,
    call: Call,
    redact: Redact,
    latest: Instant,
) -> Outcome {
    let mut task = tokio::spawn(async move { redacted(adapter.run(call).await, &redact) });
    match timeout_at(latest, &mut task).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Outcome::indeterminate(format!("the adapter of the engine `{engine}` broke down")),
        Err(_) => {
            task.abort();
            Outcome::indeterminate(format!(
                "timed out: the adapter of the engine `{engine}` did not come back"
            ))
        }
    }
}

fn redacted(outcome: Outcome, redact: &Redact) -> Outcome {
    match outcome {
        Outcome::Done(mut value) => {
            redact(&mut value);
            Outcome::Done(value)
        }
        Outcome::Failed { error, mut result } => {
            let mut error = Value::String(error);
            redact(&mut error);
            if let Some(result) = &mut result {
                redact(result);
            }
            let error = error.as_str().unwrap_or("the error cannot be shown").to_owned();
            Outcome::Failed { error, result }
        }
    }
}
