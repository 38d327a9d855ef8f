//! PyPI's z4j-bare against `mock-brain serve`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::program::{Running, command, eventually, ours, output, venv};
use crate::rest::Client;

/// How many events the agent records.
const EVENTS: usize = 25;

/// Starts the published agent, which records that many events.
pub(crate) fn start(home: &Path, variables: &[(String, String)], events: usize) -> anyhow::Result<Running> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/interop/python_agent.py");
    let mut agent: Command = command(&venv()?.join("bin/python"), home, variables);
    Running::start(agent.arg(script).arg(events.to_string()))
}

/// The variables that `mock-brain env` gives.
fn variables(brain: &Path, state: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut env = Command::new(brain);
    let printed = output(env.args(["env", "--format", "json", "--state-dir"]).arg(state))?;
    ensure!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let document: Value = serde_json::from_slice(&printed.stdout)?;
    let pairs = document.as_object().context("an object")?.iter();
    pairs.map(|(name, value)| Ok((name.clone(), value.as_str().context("text")?.to_owned()))).collect()
}

#[test]
fn stays_online_and_delivers_over_tls() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state");
    let program = ours("mock-brain")?;
    let brain = Running::start(
        Command::new(&program)
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--state-dir"])
            .arg(&state),
    )?;
    let listening = brain.line("the brain", |line| line["event"] == "listening")?;
    ensure!(listening["url"].as_str().is_some_and(|url| url.starts_with("https://")), "{listening}");
    let variables = variables(&program, &state)?;
    ensure!(
        variables.iter().any(|(name, _)| name == "SSL_CERT_FILE"),
        "TLS is trusted through SSL_CERT_FILE"
    );

    let mut agent = start(folder.path(), &variables, EVENTS)?;
    agent.line("the events to be recorded", |line| line["recorded"] == EVENTS)?;
    let control: Value = serde_json::from_slice(&std::fs::read(state.join("control.json"))?)?;
    let text = |key: &str| control[key].as_str().context("control.json").map(str::to_owned);
    let control = Client::with_token(&text("url")?, &text("token")?);

    // The first heartbeat comes at once, the second after the interval: it stayed online for both.
    let session = eventually("two heartbeats", || {
        let sessions = control.get("/mock/v1/sessions")?;
        let items = sessions["items"].as_array().context("items")?;
        ensure!(items.len() <= 1, "one session, not several: {sessions}");
        Ok(items.iter().find(|session| session["heartbeats"].as_u64() >= Some(2)).cloned())
    })?;
    ensure!(session["close_code"].is_null(), "{session}");

    eventually("every event to be accepted", || {
        Ok((accepted(&program, &state)?.len() == EVENTS).then_some(()))
    })?;
    let tasks: BTreeSet<_> =
        accepted(&program, &state)?.iter().map(|event| event["task_id"].to_string()).collect();
    assert_eq!(tasks.len(), EVENTS, "each once");
    let events = control.get("/mock/v1/events")?;
    assert_eq!(events["duplicates"].as_u64().unwrap_or(0), 0, "none was refused");
    let violations = control.get("/mock/v1/violations")?;
    assert_eq!(violations["items"], serde_json::json!([]));

    // What the agent was not acked for stays in its buffer; heartbeats pass through it too.
    agent.line("an empty buffer", |line| line["buffer"] == 0)?;
    agent.close_stdin();
    agent.line("the agent to stop", |line| line["stopped"] == true)?;
    Ok(())
}

fn accepted(program: &Path, state: &Path) -> anyhow::Result<Vec<Value>> {
    let printed = output(Command::new(program).args(["events", "--json", "--state-dir"]).arg(state))?;
    ensure!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let document: Value = serde_json::from_slice(&printed.stdout)?;
    Ok(document["items"].as_array().context("items")?.clone())
}
