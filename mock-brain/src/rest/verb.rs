//! What each `commands/…` endpoint makes of its body: an action, a target and parameters.
//!
//! Owns that table. Must not send anything.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::body::Fields;

/// The endpoints.
const KNOWN: [&str; 9] = [
    "retry-task",
    "cancel-task",
    "requeue-dead-letter",
    "purge-queue",
    "restart-worker",
    "pool-resize",
    "add-consumer",
    "cancel-consumer",
    "rate-limit",
];
/// Longest name of a task, queue or worker.
const MAX_NAME: usize = 200;
/// Longest name of an engine.
const MAX_ENGINE: usize = 40;

pub(super) fn is_known(verb: &str) -> bool {
    KNOWN.contains(&verb)
}

/// A command as a request says it.
#[derive(Clone, PartialEq)]
pub(super) struct Wish {
    pub(super) agent: Uuid,
    pub(super) action: &'static str,
    pub(super) target: Value,
    pub(super) parameters: Map<String, Value>,
    /// The engine that must be there.
    pub(super) engine: Option<String>,
    pub(super) idempotency_key: Option<String>,
}

/// Reads the body of an endpoint; what is wrong with it is among the complaints of the fields.
pub(super) fn wish(verb: &str, fields: &mut Fields) -> Wish {
    let agent = fields.uuid("agent_id");
    let (action, target, parameters) = match verb {
        "retry-task" | "cancel-task" | "requeue-dead-letter" => task(verb, fields),
        "purge-queue" => purge(fields),
        "rate-limit" => rate_limit(fields),
        _ => worker(verb, fields),
    };
    let parameters = match parameters {
        Value::Object(parameters) => parameters,
        _ => Map::new(),
    };
    let engine = parameters.get("engine").and_then(Value::as_str).map(str::to_owned);
    let idempotency_key = fields.optional("idempotency_key", 1..=MAX_NAME);
    Wish { agent, action, target, parameters, engine, idempotency_key }
}

type Parts = (&'static str, Value, Value);

fn task(verb: &str, fields: &mut Fields) -> Parts {
    let (engine, task) = (fields.text("engine", 1..=MAX_ENGINE), fields.text("task_id", 1..=MAX_NAME));
    let target = json!({ "type": "task", "id": format!("{engine}:{task}") });
    let short = json!({ "engine": engine, "task_id": task });
    match verb {
        "cancel-task" => ("cancel_task", target, short),
        "requeue-dead-letter" => ("requeue_dead_letter", target, short),
        _ => {
            let eta = fields.number("eta_seconds", 0..=86_400);
            let parameters = json!({
                "engine": engine, "task_id": task, "task_name": null, "args": null, "kwargs": null,
                "override_args": fields.any("override_args"), "override_kwargs": fields.any("override_kwargs"),
                "original_had_args": false, "eta": null, "eta_seconds": eta, "priority": "normal",
            });
            ("retry_task", target, parameters)
        }
    }
}

fn purge(fields: &mut Fields) -> Parts {
    let queue = fields.text("queue", 1..=MAX_NAME);
    let confirm = fields.optional("confirm_token", 1..=128);
    fields.number("observed_depth", 0..=i64::MAX);
    let force = fields.flag("force");
    let target = json!({ "type": "queue", "id": queue });
    ("purge_queue", target, json!({ "queue": queue, "confirm_token": confirm, "force": force }))
}

fn rate_limit(fields: &mut Fields) -> Parts {
    let (task, rate) = (fields.text("task_name", 1..=MAX_NAME), fields.text("rate", 1..=20));
    let worker = fields.optional("worker_name", 1..=MAX_NAME);
    let target = json!({ "type": "task", "id": task });
    ("rate_limit", target, json!({ "task_name": task, "rate": rate, "worker_name": worker }))
}

fn worker(verb: &str, fields: &mut Fields) -> Parts {
    let name = fields.text("worker_name", 1..=MAX_NAME);
    let engine = fields.optional("engine", 1..=MAX_ENGINE);
    let mut parameters = json!({ "worker_name": name, "engine": engine });
    let action = match verb {
        "restart-worker" => "restart_worker",
        "pool-resize" => {
            let delta = fields.needed_number("delta", -100..=100);
            parameters["delta"] = delta.unsigned_abs().into();
            if delta < 0 { "pool_shrink" } else { "pool_grow" }
        }
        _ => {
            parameters["queue"] = fields.text("queue", 1..=MAX_NAME).into();
            if verb == "add-consumer" { "add_consumer" } else { "cancel_consumer" }
        }
    };
    (action, json!({ "type": "worker", "id": name }), parameters)
}
