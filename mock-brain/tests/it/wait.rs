//! Waiting for what a running brain sees, and ending it, by API and command line.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::{Value as Json, json};

use crate::cli::{Serve, program, told};
use crate::kill::online;
use crate::support::{at, event};

/// A `wait` that runs meanwhile.
fn waiting(dir: &Path, arguments: &[&str]) -> Child {
    let mut command = program(dir);
    command.arg("wait").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(mut child: Child) -> (i32, String) {
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (child.wait().unwrap().code().unwrap(), text)
}

#[tokio::test]
async fn a_wait_ends_when_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &["--no-tls"]);
    let connected = waiting(dir.path(), &["--session", "w1", "--agent", "demo-agent", "--timeout", "1m"]);
    let events =
        waiting(dir.path(), &["--events", "3", "--agent", "demo-agent", "--timeout", "1m", "--json"]);
    let again = waiting(dir.path(), &["--duplicates", "1", "--timeout", "1m"]);
    let mut agent = online(dir.path(), &serve).await;
    assert_eq!(
        ended(connected),
        (0, "a session with worker \"w1\" of agent \"demo-agent\": 1 sessions live\n".to_owned())
    );
    for task in ["a", "b", "a", "c"] {
        agent.batch(json!([event(task, "task.sent", "2026-01-01T00:00:00Z")])).await;
    }
    let (code, answer) = ended(events);
    let answer: Json = serde_json::from_str(&answer).unwrap();
    assert_eq!((code, &answer["seen"]), (0, &json!("3 accepted")), "{answer}");
    assert_eq!(ended(again).0, 0);
    let gone = waiting(dir.path(), &["--disconnected", "--timeout", "1m"]);
    drop(agent);
    assert_eq!(ended(gone).0, 0);
    let (code, _, error) = told(dir.path(), &["wait", "--events", "4", "--timeout", "50ms"]);
    assert_eq!((code, error.as_str()), (1, "mock-brain: 4 events did not come within 50ms: 3 accepted\n"));
}

#[tokio::test]
async fn events_are_counted_by_agent_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &["--no-tls"]);
    assert_eq!(told(dir.path(), &["agent", "add", "other"]).0, 0);
    online(dir.path(), &serve)
        .await
        .batch(json!([event("a", "task.sent", &at(0)), event("b", "task.sent", &at(0))]))
        .await;
    assert_eq!(serve.signal("-TERM").0, Some(0));
    let serve = Serve::start(dir.path(), &["--no-tls"]);
    let wait = |agent: &str, count: &str| {
        told(dir.path(), &["wait", "--events", count, "--agent", agent, "--timeout", "0s"])
    };
    assert_eq!((wait("demo-agent", "2").0, wait("demo-agent", "3").0, wait("other", "1").0), (0, 1, 1));
    online(dir.path(), &serve).await.batch(json!([event("c", "task.sent", &at(0))])).await;
    assert_eq!((wait("demo-agent", "3").0, wait("other", "0").0), (0, 0));
}

#[test]
fn what_cannot_be_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, error) = told(dir.path(), &["wait", "--events", "1"]);
    assert!(code == 1 && error.contains("no mock-brain is running"), "{error}");
    let _serve = Serve::start(dir.path(), &[]);
    for (arguments, exit, part) in [
        (&["--events", "1", "--agent", "nobody"][..], 1, "no agent \"nobody\"; there are: demo-agent"),
        (&["--command", "no-uuid"], 1, "no command \"no-uuid\""),
        (&["--violation", "--timeout", "0s"], 1, "1 violations did not come within 0ms: 0 were found"),
        (&["--events", "1", "--timeout", "5"], 2, "--timeout \"5\": a time is expected"),
        (&["--events", "1", "--connected"], 2, "cannot be used with"),
        (&["--violation", "--agent", "a"], 2, "cannot be used with"),
        (&[], 2, "required"),
    ] {
        let (code, _, error) = told(dir.path(), &[&["wait"], arguments].concat());
        assert!(code == exit && error.contains(part), "{arguments:?}: {code} {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_brain_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &[]);
    let waits = waiting(dir.path(), &["--connected", "--timeout", "1h"]);
    let (code, text, error) = told(dir.path(), &["stop"]);
    assert_eq!((code, text.as_str()), (0, "stopped\n"), "{error}");
    assert!(!dir.path().join(".local/state/mock-brain/control.json").exists());
    let (code, why) = ended(waits);
    assert_eq!(code, 1, "{why}");
    let (code, _, error) = told(dir.path(), &["stop"]);
    assert!(code == 1 && error.contains("no mock-brain is running"), "{error}");
    assert_eq!(serve.signal("-0").0, Some(0), "it ended by itself, with 0");
}
