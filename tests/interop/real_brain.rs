//! Our doctor against PyPI's brain.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::brain::{PROJECT, RealBrain};
use crate::program::{command, eventually, ours, output, venv};
use crate::python_agent;

fn doctor(brain: &RealBrain, variables: &[(String, String)], flags: &[&str]) -> anyhow::Result<(i32, Value)> {
    let mut doctor = command(&ours("z4j")?, brain.folder.path(), variables);
    let printed = output(doctor.args(["doctor", "--json"]).args(flags))?;
    let report = serde_json::from_slice(&printed.stdout)
        .with_context(|| String::from_utf8_lossy(&printed.stderr).into_owned())?;
    Ok((printed.status.code().context("an exit status")?, report))
}

fn probe<'r>(report: &'r Value, name: &str) -> anyhow::Result<&'r Value> {
    let probes = report["probes"].as_array().context("probes")?;
    probes.iter().find(|probe| probe["name"] == name).with_context(|| format!("{name} in {report}"))
}

fn with(variables: &[(String, String)], name: &str, value: &str) -> Vec<(String, String)> {
    let mut changed = variables.to_owned();
    changed.retain(|(known, _)| known != name);
    changed.push((name.to_owned(), value.to_owned()));
    changed
}

#[test]
fn the_doctor_is_right_about_the_real_brain() -> anyhow::Result<()> {
    let brain = RealBrain::start()?;
    let good = brain.mint("doctored")?;
    let (status, report) = doctor(&brain, &good, &[])?;
    assert_eq!((status, &report["ok"]), (0, &json!(true)), "{report:#}");

    let unused = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    for (variable, value, code) in [
        ("Z4J_TOKEN", "no-token-of-this-brain-aaaaaaaaaaaaaaaaaaaa", "ws.token-rejected"),
        ("Z4J_HMAC_SECRET", unused, "ws.hmac-mismatch"),
    ] {
        let (status, report) = doctor(&brain, &with(&good, variable, value), &[])?;
        let websocket = probe(&report, "websocket")?;
        assert_eq!((status, &websocket["status"]), (1, &json!("fail")), "{report:#}");
        assert_eq!(websocket["code"], code, "{report:#}");
        for earlier in ["buffer_path", "dns", "tcp", "tls"] {
            assert_eq!(probe(&report, earlier)?["ok"], true, "one cause, one failure: {report:#}");
        }
        assert!(!report.to_string().contains(value), "the secret is not shown");
    }

    // Over long-poll the same three answers.
    for (variables, expected) in [
        (good.clone(), Value::Null),
        (with(&good, "Z4J_TOKEN", "no-token-of-this-brain"), json!("ws.token-rejected")),
        (with(&good, "Z4J_HMAC_SECRET", unused), json!("ws.hmac-mismatch")),
    ] {
        let (_, report) = doctor(&brain, &variables, &["--transport", "longpoll"])?;
        assert_eq!(probe(&report, "websocket")?["code"], expected, "{report:#}");
    }
    Ok(())
}

#[test]
fn a_live_agent_is_not_disturbed() -> anyhow::Result<()> {
    let brain = RealBrain::start()?;
    let variables = brain.mint("live")?;
    let mut agent = python_agent::start("1.13.0", brain.folder.path(), &variables, 1)?;
    let before = eventually("the agent to come online", || {
        let known = brain.known("live")?;
        Ok((known["engine_adapters"] == json!(["celery"])).then_some(known))
    })?;
    ensure!(before["capabilities"]["celery"].as_array().is_some_and(|list| list.len() > 5), "{before}");

    // Where the doctor sees the agent's Python environment it says the same hello; where it sees none it
    // must not say less.
    let environment = venv("1.13.0")?.display().to_string();
    for (variables, flags) in [
        (with(&variables, "VIRTUAL_ENV", &environment), &["--framework", "bare"][..]),
        (variables.clone(), &["--framework", "django"]),
        (variables.clone(), &[]),
    ] {
        let (status, report) = doctor(&brain, &variables, flags)?;
        assert_eq!(status, 0, "{report:#}");
        assert_eq!(brain.known("live")?, before, "what the brain knows of the agent is the same");
    }
    let workers = brain.client.get(&format!("/api/v1/projects/{PROJECT}/agent-workers"))?;
    let live = workers
        .as_array()
        .context("workers")?
        .iter()
        .find(|worker| worker["worker_id"].as_str().is_some_and(|id| id.starts_with("bare-")));
    assert_eq!(live.context("the live worker")?["state"], "online", "{workers:#}");
    agent.close_stdin();
    agent.line("the agent to stop", |line| line["stopped"] == true)?;
    let doctors = workers
        .as_array()
        .context("workers")?
        .iter()
        .filter(|worker| worker["worker_id"].as_str().is_some_and(|id| id.starts_with("doctor-")));
    assert!(doctors.count() <= 1, "one slot, one row: {workers:#}");
    Ok(())
}
