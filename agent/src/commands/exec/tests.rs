//! Small programs as actions: what they are given, and what becomes of what they say.

use std::time::Instant;

use tokio::sync::watch;

use super::super::template::Template;
use super::*;
use crate::config::resolve_environment as environment;

const PATIENCE: Duration = Duration::from_secs(20);

fn action(program: &str, arguments: &[&str]) -> ActionSettings {
    ActionSettings {
        program: program.into(),
        arguments: arguments.iter().map(|text| Template::parse(text).unwrap()).collect(),
        timeout: None,
        output_bytes: 65_536,
        env: BTreeMap::new(),
    }
}

fn command(parameters: &str) -> Command {
    Command {
        action: "act".to_owned(),
        target: Value::parse(br#"{"id":"celery:7","type":"task"}"#).unwrap(),
        parameters: Value::parse(parameters.as_bytes()).unwrap(),
        timeout_seconds: 60,
        issued_by: None,
        delivery_claim_token: Some("between brain and agent".to_owned()),
    }
}

fn adapter(action: ActionSettings) -> ExecAdapter {
    let environment = environment(&[("LANG", "C"), ("PATH", "/usr/bin:/bin")]);
    let redactor = crate::redaction::Redactor::new(&[], &[], 8_192).unwrap();
    let redact: Redact = std::sync::Arc::new(move |value| redactor.redact(value));
    ExecAdapter::new(BTreeMap::from([("act".to_owned(), action)]), &environment, redact)
}

fn call(parameters: &str, stopping: watch::Receiver<bool>) -> Call {
    Call { id: "c-1".to_owned(), command: command(parameters), time_left: PATIENCE, stopping }
}

async fn run_with(action: ActionSettings, parameters: &str, stopping: watch::Receiver<bool>) -> Outcome {
    adapter(action).run(call(parameters, stopping)).await
}

async fn run(action: ActionSettings, parameters: &str) -> Outcome {
    let (_keep, stopping) = watch::channel(false);
    run_with(action, parameters, stopping).await
}

fn text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(value) => value.to_canonical().unwrap(),
        Outcome::Failed { error, result } => {
            let result = result.as_ref().map(|result| result.to_canonical().unwrap()).unwrap_or_default();
            format!("{error} | {result}")
        }
    }
}

#[tokio::test]
async fn output_becomes_the_result() {
    let limited = |mut action: ActionSettings, bytes| {
        action.output_bytes = bytes;
        action
    };
    let rows = [
        (
            action("/bin/echo", &["{a}", "{b?}"]),
            r#"{"a":"x;  $HOME 'y"}"#,
            r#"{"exit_status":0,"stdout":"x;  $HOME 'y"}"#,
        ),
        (action("/bin/echo", &["{a}"]), r#"{"a":{"k":1.0}}"#, r#"{"k":1.0}"#),
        (action("/bin/echo", &["[1]"]), "{}", r#"{"exit_status":0,"stdout":"[1]"}"#),
        (
            action("/bin/cat", &[]),
            r#"{"a":1}"#,
            r#"{"action":"act","id":"c-1","issued_by":null,"parameters":{"a":1},"target":{"id":"celery:7","type":"task"},"timeout_seconds":60}"#,
        ),
        (
            limited(action("/bin/echo", &["abcdef"]), 3),
            "{}",
            r#"{"exit_status":0,"stdout":"abc[...4 more bytes truncated]","truncated":true}"#,
        ),
        (action("/bin/echo", &["{a}"]), "{}", "the command has no `a`, which the action's argv asks for | "),
        (
            action("/bin/echo", &["{a}"]),
            r#"{"a":"-n"}"#,
            "`a` begins with a hyphen, so the program could take it for an option; write it behind a text, as in --a={a}, or allow it with {a!} | ",
        ),
        (action("/bin/false", &[]), "{}", r#"exit status 1 | {"exit_status":1,"stdout":""}"#),
        (
            action("/nonexistent/program", &[]),
            "{}",
            "/nonexistent/program cannot be run: ENOENT: No such file or directory | ",
        ),
    ];
    for (action, parameters, wanted) in rows {
        let said = tokio::time::timeout(PATIENCE, run(action.clone(), parameters)).await.unwrap();
        assert_eq!(text(&said), wanted, "{action:?}");
    }
    let said = text(&run(action("/bin/cat", &["/nonexistent/file"]), "{}").await);
    assert!(said.starts_with("exit status 1: ") && said.contains("/nonexistent/file"), "{said}");
}

#[tokio::test]
async fn a_program_gets_no_variable_of_the_agents() {
    let mut env = action("/usr/bin/env", &[]);
    env.env.insert("GREETING".to_owned(), "hello".to_owned());
    let Outcome::Done(value) = run(env, "{}").await else { panic!("env failed") };
    let mut lines: Vec<_> = value.get("stdout").and_then(Value::as_str).unwrap().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["GREETING=hello", "LANG=C", "PATH=/usr/bin:/bin"]);
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_ended_with_all_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let script = format!("sleep 300 & echo $$ $! > {}; wait", pids.display());
    let mut sleeper = action("/bin/sh", &["-c", &script]);
    sleeper.timeout = Some(Duration::from_millis(500));
    let began = Instant::now();
    let said = text(&run(sleeper, "{}").await);
    assert!(said.starts_with("timed out after 0.5 s"), "{said}");
    assert!(said.ends_with(r#"| {"indeterminate":true}"#), "{said}");
    assert!(began.elapsed() < PATIENCE);
    let written = std::fs::read_to_string(&pids).unwrap();
    let lives = || written.split_whitespace().any(runs);
    assert_eq!(written.split_whitespace().count(), 2);
    while lives() {
        assert!(began.elapsed() < PATIENCE, "{written} live on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a process is there that has not ended (proc_pid_stat(5)).
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[tokio::test]
async fn a_timeout_names_the_limit_that_was_set() {
    let (_stop, stopping) = watch::channel(false);
    let time_left = Duration::from_micros(999_962);
    for (own, wanted) in [(None, 5.0), (Some(9), 5.0), (Some(0), 0.0)] {
        let mut command = command("{}");
        command.timeout_seconds = 5;
        let call = Call { id: "c-1".to_owned(), command, time_left, stopping: stopping.clone() };
        assert!((said_limit(own.map(Duration::from_secs), &call) - wanted).abs() < 1e-9);
    }
}

#[tokio::test]
async fn a_stop_of_the_agent_ends_what_runs() {
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn(run_with(action("/bin/sleep", &["300"]), "{}", stopping));
    stop.send_replace(true);
    let said = text(&tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap());
    assert!(said.starts_with("the agent stopped"), "{said}");
}

#[tokio::test]
async fn endless_output_is_bounded() {
    let mut yes = action("/usr/bin/yes", &[]);
    yes.output_bytes = 10;
    let (_keep, stopping) = watch::channel(false);
    let program = adapter(yes.clone()).program(&yes, &call("{}", stopping.clone())).unwrap();
    let ran =
        tokio::time::timeout(PATIENCE, program.run(Duration::from_millis(300), stopping)).await.unwrap();
    let (ended, output) = ran.unwrap();
    assert!(matches!(ended, Ended::TimedOut));
    assert_eq!(output.stdout, b"y\ny\ny\ny\ny\n");
    assert!(output.stdout_cut > 10_000, "{}", output.stdout_cut);
}

#[tokio::test]
async fn what_a_program_complains_about_is_redacted() {
    let said = text(&run(action("/bin/sh", &["-c", "echo token=abc123 is no good >&2; exit 3"]), "{}").await);
    assert!(said.starts_with("exit status 3: token=[REDACTED] is no good"), "{said}");
}

/// Processes that left the group and hold the pipes are not waited for.
#[tokio::test]
async fn a_grandchild_in_a_session_of_its_own_does_not_hold_a_command_up() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let fork = format!("setsid sh -c 'echo $$ >> {}; exec sleep 300' & ", pids.display());
    for (rest, limit, wanted) in [
        ("wait", Some(Duration::from_millis(500)), "timed out after 0.5 s"),
        ("exit 0", None, "{\"exit_status\":0"),
    ] {
        let mut action = action("/bin/sh", &["-c", &format!("{fork}{rest}")]);
        action.timeout = limit;
        let said = text(&tokio::time::timeout(PATIENCE, run(action, "{}")).await.unwrap());
        assert!(said.starts_with(wanted), "{said}");
    }
    for pid in std::fs::read_to_string(&pids).unwrap_or_default().lines() {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid.parse().unwrap()),
            nix::sys::signal::SIGKILL,
        );
    }
}
