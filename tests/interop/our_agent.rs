//! Our agent against PyPI's brain: events, commands, a token that is revoked.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::brain::{PROJECT, RealBrain};
use crate::program::{Running, command, eventually, ours, output};

/// Tasks that events are emitted for.
const TASKS: usize = 12;

/// What the operator lets the brain do.
const SETTINGS: &str = r#"
[engine.celery]
adapter = "exec"

[engine.celery.action.cancel_task]
argv = ["/bin/echo", "cancelled", "{task_id}"]
"#;

/// A running agent of ours, in a folder of its own.
struct Agent {
    home: PathBuf,
    variables: Vec<(String, String)>,
    _process: Running,
}

impl Agent {
    /// The token comes from a file, so that it can be replaced.
    fn start(
        brain: &RealBrain,
        name: &str,
        minted: &[(String, String)],
        transport: &str,
    ) -> anyhow::Result<Self> {
        let home = brain.folder.path().join(format!("{name}-home"));
        std::fs::create_dir(&home)?;
        let (config, token) = (home.join("z4j.toml"), home.join("token"));
        std::fs::write(&config, SETTINGS)?;
        let mut variables: Vec<(String, String)> = minted.to_vec();
        let secret = |(name, _): &(String, String)| name == "Z4J_TOKEN";
        let (_, text) = variables.iter().find(|pair| secret(pair)).context("a token")?;
        std::fs::write(&token, text)?;
        variables.retain(|pair| !secret(pair));
        for (name, value) in [
            ("Z4J_TOKEN_FILE", token.display().to_string()),
            ("Z4J_CONFIG", config.display().to_string()),
            ("Z4J_TRANSPORT", transport.to_owned()),
        ] {
            variables.push((name.to_owned(), value));
        }
        let process = Running::start(command(&ours("z4j")?, &home, &variables).arg("run"))?;
        let agent = Self { home, variables, _process: process };
        agent.wait_for("an agent that is online", |status| status["link"]["state"] == "online")?;
        Ok(agent)
    }

    fn verb(&self, arguments: &[&str]) -> anyhow::Result<std::process::Command> {
        let mut verb = command(&ours("z4j")?, &self.home, &self.variables);
        verb.args(arguments);
        Ok(verb)
    }

    fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        eventually(what, || {
            let printed = output(&mut self.verb(&["status", "--json"])?)?;
            let Ok(document) = serde_json::from_slice::<Value>(&printed.stdout) else { return Ok(None) };
            Ok(document["agents"].get(0).filter(|status| wanted(status)).cloned())
        })
    }

    fn emit(&self, lines: &str) -> anyhow::Result<()> {
        let mut emit = self.verb(&["emit"])?;
        let mut child = emit.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        child.stdin.take().context("a pipe")?.write_all(lines.as_bytes())?;
        let done = child.wait_with_output()?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        Ok(())
    }
}

/// Three events of each task, the last a success.
fn events(name: &str) -> String {
    let kinds = ["task.received", "task.started", "task.succeeded"];
    let lines = (0..TASKS).flat_map(|task| {
        kinds.map(|kind| {
            let data = json!({ "task_name": "picker.tasks.add", "queue": "default", "password": "hunter2" });
            let event = json!({ "kind": kind, "engine": "celery", "task_id": format!("{name}-{task}"), "data": data });
            format!("{event}\n")
        })
    });
    lines.collect()
}

/// How often each kind of a task's events is there.
fn kinds(brain: &RealBrain, task: &str) -> anyhow::Result<BTreeMap<String, usize>> {
    let path = format!("/api/v1/projects/{PROJECT}/events?engine=celery&task_id={task}");
    let answer = brain.client.get(&path)?;
    ensure!(!answer.to_string().contains("hunter2"), "what is sensitive does not leave the agent");
    let mut kinds = BTreeMap::new();
    for event in answer["items"].as_array().context("items")? {
        *kinds.entry(event["kind"].as_str().context("a kind")?.to_owned()).or_default() += 1;
    }
    Ok(kinds)
}

fn command_result(brain: &RealBrain, verb: &str, body: &Value) -> anyhow::Result<Value> {
    let base = format!("/api/v1/projects/{PROJECT}/commands");
    let issued = brain.client.post(&format!("{base}/{verb}"), body)?;
    let id = issued["id"].as_str().context("a command's id")?.to_owned();
    eventually("a result", || {
        let command = brain.client.get(&format!("{base}/{id}"))?;
        let is_over = matches!(command["status"].as_str(), Some("completed" | "failed" | "timeout"));
        Ok(is_over.then_some(command))
    })
}

fn id_of(minted: &[(String, String)]) -> anyhow::Result<&str> {
    let found = minted.iter().find(|(name, _)| name == "Z4J_AGENT_ID");
    Ok(&found.context("an id")?.1)
}

#[test]
fn events_arrive_once_and_commands_come_back_with_results() -> anyhow::Result<()> {
    let brain = RealBrain::start()?;
    for transport in ["ws", "longpoll"] {
        let name = format!("ours-{transport}");
        let minted = brain.mint(&name)?;
        let agent = Agent::start(&brain, &name, &minted, transport)?;
        agent.emit(&events(&name))?;
        agent.wait_for("an empty buffer", |status| status["buffer"]["events"] == 0)?;
        for task in 0..TASKS {
            let seen = kinds(&brain, &format!("{name}-{task}"))?;
            assert_eq!((seen.len(), seen.values().sum::<usize>()), (3, 3), "{name}-{task}: {seen:?}");
        }
        let body = json!({ "agent_id": id_of(&minted)?, "engine": "celery", "task_id": "t-1; rm -rf /" });
        if transport == "ws" {
            let done = command_result(&brain, "cancel-task", &body)?;
            assert_eq!(done["status"], "completed", "{done:#}");
            assert!(done["result"].to_string().contains("cancelled t-1; rm -rf /"), "{done:#}");
            let purge = json!({ "agent_id": id_of(&minted)?, "queue": "default", "force": true });
            // The brain looks at capabilities only where a command names an engine.
            let refused = command_result(&brain, "purge-queue", &purge)?;
            assert_eq!(refused["status"], "failed", "{refused:#}");
            assert!(refused["error"].to_string().contains("purge_queue"), "{refused:#}");
        } else {
            let done = command_result(&brain, "cancel-task", &body)?;
            assert_eq!(done["status"], "completed", "{done:#}");
        }
    }
    Ok(())
}

#[test]
fn a_revoked_token_parks_on_the_auth_schedule_until_there_is_a_new_one() -> anyhow::Result<()> {
    let brain = RealBrain::start()?;
    let minted = brain.mint("revoked")?;
    let agent = Agent::start(&brain, "revoked", &minted, "ws")?;
    brain.client.delete(&format!("/api/v1/projects/{PROJECT}/agents/{}", id_of(&minted)?))?;
    let parked = agent.wait_for("a refusal", |status| {
        status["link"]["state"] == "backing-off" && status["link"]["streaks"]["auth"].as_u64() >= Some(1)
    })?;
    assert_eq!(parked["link"]["last_failure"]["class"], "auth", "{parked:#}");
    agent.emit(&events("parked"))?;
    let token =
        brain.mint("revoked")?.into_iter().find(|(name, _)| name == "Z4J_TOKEN").context("a token")?.1;
    replace(&agent.home.join("token"), &token)?;
    ensure!(output(&mut agent.verb(&["restart"])?)?.status.success(), "z4j restart");
    agent.wait_for("a session and an empty buffer", |status| {
        status["link"]["state"] == "online" && status["buffer"]["events"] == 0
    })?;
    assert_eq!(kinds(&brain, "parked-0")?.len(), 3);
    Ok(())
}

fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let next = path.with_extension("next");
    std::fs::write(&next, text)?;
    Ok(std::fs::rename(next, path)?)
}
