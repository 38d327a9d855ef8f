//! `status`: how a running agent says it is.
//!
//! Owns reading its document. Must not judge what is in it.

use std::time::Duration;

use serde_json::Value;

use super::StepError;
use super::command::leaks_nothing;
use crate::scenario::{AgentName, Checks, Loaded};
use crate::stage::Stage;

/// How long an agent may take to say how it is.
const LIMIT: Duration = Duration::from_secs(10);

/// Asks once and compares.
pub(super) fn check(
    stage: &mut Stage,
    loaded: &Loaded,
    name: &AgentName,
    checks: &Checks,
) -> Result<(), StepError> {
    let problems = match read(stage, loaded, name)? {
        Ok(document) => problems(&document, checks),
        Err(problem) => vec![problem],
    };
    if problems.is_empty() { Ok(()) } else { Err(StepError::Failed(problems.join("; "))) }
}

/// What an agent says of itself, or why it does not.
pub(super) fn read(
    stage: &mut Stage,
    loaded: &Loaded,
    name: &AgentName,
) -> Result<Result<Value, String>, StepError> {
    let Some(pid) = stage.journal().look(&name.0, |record| record.pid).flatten() else {
        return Ok(Err(format!("{name} does not run")));
    };
    let arguments = stage.agent().status();
    let line = arguments.join(" ");
    let output = stage.run(&loaded.scenario, arguments, LIMIT)?;
    leaks_nothing(stage, &line, &output)?;
    let Ok(document) = serde_json::from_str::<Value>(&output.stdout) else {
        let said = format!("{}{}", output.stdout, output.stderr);
        return Ok(Err(format!("`{line}` exited {} and said no JSON: {}", output.status, said.trim())));
    };
    let agents = document.get("agents").and_then(Value::as_array).cloned().unwrap_or_default();
    let ours = agents.into_iter().find(|agent| agent.get("pid").and_then(Value::as_i64) == Some(pid.into()));
    Ok(ours.ok_or_else(|| format!("`{line}` does not know {name} (pid {pid}): {document}")))
}

/// Where a document is not as wanted.
pub(super) fn problems(document: &Value, checks: &Checks) -> Vec<String> {
    let wrong = checks.0.iter().filter_map(|(path, check)| {
        let value = field(document, path);
        (!check.holds(value)).then(|| format!("status {path} is {value} instead of {check}"))
    });
    wrong.collect()
}

/// A field by its dotted path; null if there is none.
fn field<'d>(document: &'d Value, path: &str) -> &'d Value {
    path.split('.').fold(document, |value, key| match key.parse::<usize>() {
        Ok(index) if value.is_array() => &value[index],
        _ => &value[key],
    })
}

/// The sum of all the counters of what an agent has lost.
pub(super) fn loss(document: &Value) -> Option<u64> {
    fn sum(value: &Value) -> u64 {
        match value {
            Value::Object(fields) => fields.values().map(sum).sum(),
            other => other.as_u64().unwrap_or(0),
        }
    }
    Some(field(document, "buffer.loss")).filter(|loss| !loss.is_null()).map(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_losses_are_found() {
        let document = serde_json::json!({
            "link": { "state": "online" },
            "buffer": { "loss": { "evicted": 2, "by_kind": { "task.sent": 1 } } },
            "list": [{ "name": "x" }],
        });
        assert_eq!(field(&document, "link.state"), "online");
        assert_eq!(field(&document, "list.0.name"), "x");
        assert_eq!(*field(&document, "link.no.where"), Value::Null);
        assert_eq!(loss(&document), Some(3));
        assert_eq!(loss(&Value::Null), None);
    }
}
