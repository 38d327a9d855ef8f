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

/// What a rate is, as the complaint tells it.
const RATE: &str = r"^(?:0|[1-9]\d*(?:/[smh])?)$";

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
    /// How many messages a queue that is to be purged was seen with.
    pub(super) observed_depth: Option<i64>,
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
    let observed_depth =
        if verb == "purge-queue" { fields.number("observed_depth", 0..=i64::MAX) } else { None };
    let idempotency_key = fields.optional("idempotency_key", 1..=MAX_NAME);
    Wish { agent, action, target, parameters, engine, observed_depth, idempotency_key }
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
            let overrides = [fields.list("override_args"), fields.object("override_kwargs")];
            both_or_neither(fields, &overrides);
            let [args, kwargs] = overrides;
            let parameters = json!({
                "engine": engine, "task_id": task, "task_name": null, "args": null, "kwargs": null,
                "override_args": args, "override_kwargs": kwargs,
                "original_had_args": false, "eta": null, "eta_seconds": eta, "priority": null,
            });
            ("retry_task", target, parameters)
        }
    }
}

/// New inputs of a task are told whole.
fn both_or_neither(fields: &mut Fields, overrides: &[Value; 2]) {
    let missing = match overrides {
        [args, kwargs] if args.is_null() == kwargs.is_null() => return,
        [args, _] if args.is_null() => "override_args",
        _ => "override_kwargs",
    };
    fields.complain_together(format!(
        "a retry takes both override_args and override_kwargs, or neither: {missing} is missing"
    ));
}

fn purge(fields: &mut Fields) -> Parts {
    let queue = fields.text("queue", 1..=MAX_NAME);
    let confirm = fields.optional("confirm_token", 1..=128);
    let force = fields.flag("force");
    let target = json!({ "type": "queue", "id": queue });
    ("purge_queue", target, json!({ "queue": queue, "confirm_token": confirm, "force": force }))
}

/// Whether a rate is `0`, or a count without leading zeros, by itself or a second, minute or hour.
fn is_rate(text: &str) -> bool {
    let count = ["/s", "/m", "/h"].iter().find_map(|unit| text.strip_suffix(unit)).unwrap_or(text);
    text == "0"
        || (!count.starts_with('0') && !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()))
}

fn rate_limit(fields: &mut Fields) -> Parts {
    let (task, rate) = (fields.text("task_name", 1..=MAX_NAME), fields.text("rate", 1..=20));
    if (1..=20).contains(&rate.chars().count()) && !is_rate(&rate) {
        let message = format!("String should match pattern '{RATE}'");
        fields.complain_with("string_pattern_mismatch", "rate", &message, json!({ "pattern": RATE }));
    }
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
            if delta == 0 && fields.any("delta") == 0 {
                let message = "Value error, delta is not 0: above it the pool grows, below it shrinks";
                fields.complain_with("value_error", "delta", message, json!({ "error": {} }));
            }
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
