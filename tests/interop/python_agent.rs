//! Releases of PyPI's z4j-bare against `mock-brain serve`, each with the z4j-core that pip resolves.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::mock::MockBrain;
use crate::program::{Running, command, eventually, venv};

/// How many events the agent records.
const EVENTS: usize = 25;
const NEWEST: &str = "1.13.0";

/// Starts a release of the published agent, which records that many events.
pub(crate) fn start(
    release: &str,
    home: &Path,
    variables: &[(String, String)],
    events: usize,
) -> anyhow::Result<Running> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/interop/python_agent.py");
    let mut agent: Command = command(&venv(release)?.join("bin/python"), home, variables);
    Running::start(agent.arg(script).arg(events.to_string()))
}

/// Runs an agent against a brain until everything has arrived, asks something of it, and lets it stop.
fn delivers(brain: &MockBrain, release: &str, transport: &str) -> anyhow::Result<()> {
    let mut variables = brain.variables()?;
    ensure!(
        variables.iter().any(|(name, _)| name == "SSL_CERT_FILE"),
        "TLS is trusted through SSL_CERT_FILE"
    );
    variables.push(("Z4J_TRANSPORT".to_owned(), transport.to_owned()));
    let mut agent = start(release, brain.home(), &variables, EVENTS)?;
    agent.line("the events to be recorded", |line| line["recorded"] == EVENTS)?;
    // The first heartbeat comes at once, later ones after the interval: it stayed online for several.
    let session = brain.session("two heartbeats", |session| session["heartbeats"].as_u64() >= Some(2))?;
    ensure!(session["close_code"].is_null(), "{session}");
    eventually("every event to be accepted", || Ok((brain.accepted()?.len() == EVENTS).then_some(())))?;
    let tasks: BTreeSet<_> = brain.accepted()?.iter().map(|event| event["task_id"].to_string()).collect();
    assert_eq!(tasks.len(), EVENTS, "each once");
    let duplicates = brain.get("events")?["duplicates"].as_u64().unwrap_or(0);
    assert_eq!(duplicates, 0, "none was refused");
    command_comes_back(brain)?;
    let sessions = brain.get("sessions")?;
    assert_eq!(sessions["items"].as_array().map(Vec::len), Some(1), "one session, not several: {sessions}");
    assert_eq!(brain.get("violations")?["items"], json!([]));
    // What the agent was not acked for stays in its buffer; heartbeats pass through it too.
    agent.line("an empty buffer", |line| line["buffer"] == 0)?;
    agent.close_stdin();
    agent.line("the agent to stop", |line| line["stopped"] == true)?;
    Ok(())
}

/// A command reaches the agent's runtime, and the result of its Celery adapter comes back.
fn command_comes_back(brain: &MockBrain) -> anyhow::Result<()> {
    let sent = brain.document(&[
        "command",
        "send",
        "cancel_task",
        "--target",
        "task:celery:interop-1",
        "--param",
        "engine=celery",
        "--param",
        "task_id=interop-1",
        "--wait",
        "--json",
    ])?;
    ensure!(sent["status"] == "completed", "{sent:#}");
    ensure!(sent["error"].is_null(), "{sent:#}");
    Ok(())
}

/// The close code of the first session that this brain ended.
fn refused_with(brain: &MockBrain, release: &str) -> anyhow::Result<Value> {
    let _agent = start(release, brain.home(), &brain.variables()?, 1)?;
    let session = brain.session("a session that is closed", |session| session["closed_by"] == "brain")?;
    Ok(session["close_code"].clone())
}

#[test]
fn the_newest_delivers_over_a_websocket() -> anyhow::Result<()> {
    delivers(&MockBrain::start(&[])?, NEWEST, "ws")
}

#[test]
fn the_newest_delivers_over_long_poll() -> anyhow::Result<()> {
    let brain = MockBrain::start(&[])?;
    delivers(&brain, NEWEST, "longpoll")?;
    let sessions = brain.get("sessions")?;
    assert_eq!(sessions["items"][0]["transport"], "long-poll", "{sessions}");
    Ok(())
}

#[test]
fn release_1_4_0_delivers() -> anyhow::Result<()> {
    delivers(&MockBrain::start(&[])?, "1.4.0", "ws")?;
    delivers(&MockBrain::start(&["--like-real=1.4"])?, "1.4.0", "ws")
}

#[test]
fn release_1_3_1_delivers() -> anyhow::Result<()> {
    delivers(&MockBrain::start(&[])?, "1.3.1", "ws")?;
    delivers(&MockBrain::start(&["--like-real=1.3.1"])?, "1.3.1", "ws")
}

#[test]
fn release_1_0_7_is_refused_as_by_the_real_brain() -> anyhow::Result<()> {
    let brain = MockBrain::start(&[])?;
    assert_eq!(refused_with(&brain, "1.0.7")?, 4403);
    assert_eq!(brain.accepted()?, Vec::<Value>::new());
    Ok(())
}

#[test]
fn release_1_0_7_delivers_to_a_brain_of_its_time() -> anyhow::Result<()> {
    delivers(&MockBrain::start(&["--like-real=1.0"])?, "1.0.7", "ws")
}

/// z4j-bare 1.0.7 with the z4j-core of its time, whose signatures bear no session at all.
#[test]
fn release_1_0_7_delivers_with_the_core_of_its_time() -> anyhow::Result<()> {
    let brain = MockBrain::start(&["--like-real=1.0"])?;
    let _agent = start("1.0.7-core-1.0.6", brain.home(), &brain.variables()?, EVENTS)?;
    eventually("every event to be accepted", || Ok((brain.accepted()?.len() == EVENTS).then_some(())))?;
    assert_eq!(brain.get("violations")?["items"], json!([]));
    Ok(())
}
