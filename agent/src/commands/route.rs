//! Who carries a command out: the adapter of an engine, or the agent itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use z4j_protocol::Value;
use z4j_protocol::payload::Command;

use super::adapter::Adapter;
use super::builtin::Builtin;
use crate::words::printable;

/// Adapters by their engines' names.
pub(crate) type Adapters = BTreeMap<String, Arc<dyn Adapter>>;

/// Longest name out of a command that is repeated in an error, in bytes.
const MAX_SHOWN: usize = 100;

/// Who carries it out.
pub(super) enum Route {
    /// An engine's adapter, which has the action.
    Adapter(String, Arc<dyn Adapter>),
    /// The agent.
    Builtin(Builtin),
}

/// Finds out who.
///
/// # Errors
/// Nobody does. The text says what is missing.
pub(super) fn route(adapters: &Adapters, command: &Command) -> Result<Route, String> {
    let action = &command.action;
    let engine = engine(adapters, command)?;
    let adapter = engine.as_ref().and_then(|name| adapters.get(name));
    if let (Some(name), Some(adapter)) = (&engine, adapter.filter(|adapter| adapter.has(action))) {
        return Ok(Route::Adapter(name.clone(), Arc::clone(adapter)));
    }
    if let Some(builtin) = Builtin::of(action) {
        return Ok(Route::Builtin(builtin));
    }
    Err(refusal(adapters, engine.as_deref(), adapter.map(AsRef::as_ref), action))
}

/// The engine that a command is for: its filter's word is final; then what the parameters or the target say,
/// which must agree; then the only engine there is.
fn engine(adapters: &Adapters, command: &Command) -> Result<Option<String>, String> {
    let parameters = &command.parameters;
    let filter = parameters.get("filter").unwrap_or(&Value::Null);
    if let Some(name) = name(filter, "parameters.filter.engine")? {
        return Ok(Some(name));
    }
    match (name(parameters, "parameters.engine")?, name(&command.target, "target.engine")?) {
        (Some(one), Some(other)) if one != other => {
            let (one, other) = (shown(&one), shown(&other));
            Err(format!("parameters.engine is `{one}` and target.engine is `{other}`: they must agree"))
        }
        (Some(name), _) | (None, Some(name)) => Ok(Some(name)),
        (None, None) => Ok(adapters.keys().next().filter(|_| adapters.len() == 1).cloned()),
    }
}

fn name(of: &Value, place: &str) -> Result<Option<String>, String> {
    match of.get("engine") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) if !name.is_empty() => Ok(Some(name.clone())),
        Some(_) => Err(format!("{place} is no name of an engine")),
    }
}

fn refusal(adapters: &Adapters, engine: Option<&str>, adapter: Option<&dyn Adapter>, action: &str) -> String {
    let action = shown(action);
    let plain = action.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if plain { action.clone() } else { format!("\"{action}\"") };
    match (engine, adapter.map(Adapter::kind)) {
        (Some(engine), Some("exec")) => format!(
            "the engine `{engine}` has no program for `{action}`: add [engine.{engine}.action.{key}] with its \
             argv to the agent's z4j.toml"
        ),
        (Some(engine), Some(kind)) => format!(
            "the adapter of the engine `{engine}` is `{kind}`, which carries nothing out: set adapter = \"exec\" \
             in [engine.{engine}] of the agent's z4j.toml, and add [engine.{engine}.action.{key}]"
        ),
        (Some(engine), None) => {
            let engine = shown(engine);
            format!(
                "this agent has no adapter for the engine `{engine}`: add [engine.{engine}] with adapter = \
                 \"exec\" and [engine.{engine}.action.{key}] to its z4j.toml"
            )
        }
        (None, _) if adapters.is_empty() => format!(
            "this agent has no engine to carry `{action}` out: add [engine.NAME] with adapter = \"exec\" and \
             [engine.NAME.action.{key}] to its z4j.toml"
        ),
        (None, _) => {
            let names: Vec<&str> = adapters.keys().map(String::as_str).collect();
            format!("`{action}` names no engine, and this agent has several: {}", names.join(", "))
        }
    }
}

fn shown(name: &str) -> String {
    printable(name.as_bytes(), MAX_SHOWN)
}

#[cfg(test)]
mod tests {
    use super::super::adapter::{Call, NullAdapter, Outcome, Running};
    use super::*;

    struct Retries;

    impl Adapter for Retries {
        fn kind(&self) -> &'static str {
            "exec"
        }

        fn has(&self, action: &str) -> bool {
            action == "retry_task"
        }

        fn run(&self, _: Call) -> Running<'_> {
            Box::pin(std::future::ready(Outcome::failed("not run here")))
        }
    }

    fn adapters(names: &[&str]) -> Adapters {
        let adapter = |name: &str| -> Arc<dyn Adapter> {
            if name == "null" { Arc::new(NullAdapter) } else { Arc::new(Retries) }
        };
        names.iter().map(|name| ((*name).to_owned(), adapter(name))).collect()
    }

    fn routed(names: &[&str], action: &str, parameters: &str, target: &str) -> String {
        let value = |text: &str| Value::parse(text.as_bytes()).unwrap();
        let command = Command {
            action: action.to_owned(),
            target: value(target),
            parameters: value(parameters),
            timeout_seconds: 60,
            issued_by: None,
            delivery_claim_token: None,
        };
        match route(&adapters(names), &command) {
            Ok(Route::Adapter(engine, _)) => engine,
            Ok(Route::Builtin(builtin)) => format!("{builtin:?}"),
            Err(error) => error,
        }
    }

    #[test]
    fn the_engine_is_found_in_the_order_of_the_reference() {
        let two = &["celery", "rq"][..];
        for (names, parameters, target, wanted) in [
            (two, r#"{"filter":{"engine":"rq"},"engine":"celery"}"#, r#"{"engine":"celery"}"#, "rq"),
            (two, r#"{"engine":"rq"}"#, "{}", "rq"),
            (two, r#"{"engine":"rq"}"#, r#"{"engine":"rq"}"#, "rq"),
            (two, r#"{"engine":null}"#, r#"{"engine":"celery"}"#, "celery"),
            (&["rq"], "{}", "{}", "rq"),
            (&["rq"], "null", "[]", "rq"),
            (two, r#"{"engine":"rq"}"#, r#"{"engine":"celery"}"#, "they must agree"),
            (two, r#"{"engine":7}"#, "{}", "parameters.engine is no name"),
            (two, "{}", "{}", "this agent has several: celery, rq"),
            (&[], "{}", "{}", "add [engine.NAME]"),
            (two, r#"{"engine":"huey"}"#, "{}", "[engine.huey.action.retry_task]"),
            (&["null"], "{}", "{}", "set adapter = \"exec\" in [engine.null]"),
        ] {
            let said = routed(names, "retry_task", parameters, target);
            assert!(
                said == wanted || (said.len() > 20 && said.contains(wanted)),
                "{parameters} {target}: {said}"
            );
        }
    }

    #[test]
    fn what_nobody_mapped_is_done_by_the_agent_or_named() {
        assert_eq!(routed(&[], "schedule.resync", "{}", "{}"), "Resync");
        assert_eq!(routed(&["celery"], "reconcile_task", "{}", "{}"), "Reconcile");
        assert_eq!(routed(&["null"], "restart_worker", "{}", "{}"), "Restart");
        let said = routed(&["celery"], "dlq.list", "{}", "{}");
        assert!(said.contains("add [engine.celery.action.\"dlq.list\"]"), "{said}");
    }
}
