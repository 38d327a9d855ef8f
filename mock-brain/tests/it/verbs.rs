//! Verbs that ask a running brain: sessions, violations, reset, clock, login, project.

use serde_json::{Value as Json, json};

use crate::cli::{Serve, told};
use crate::kill::{listed, online};
use crate::support::{at, event};

fn document(dir: &std::path::Path, arguments: &[&str]) -> Json {
    let (code, text, error) = told(dir, arguments);
    assert_eq!(code, 0, "{arguments:?}: {error}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn a_reset_forgets_what_was_seen() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path();
    for flags in [&["--no-tls", "--strict"][..], &["--no-tls", "--strict", "--memory"]] {
        let serve = Serve::start(dir, flags);
        drop(online(dir, &serve).await);
        assert_eq!(told(dir, &["wait", "--disconnected", "--timeout", "20s"]).0, 0);
        let mut agent = online(dir, &serve).await;
        let batch = json!([event("a", "task.sent", &at(-1)), event("b", "task.sent", &at(-1))]);
        assert_eq!(agent.batch(batch.clone()).await, (2, 2, 0));
        agent
            .say_signed(&json!({ "v": 2, "type": "heartbeat", "id": "h", "payload": { "buffer_size": "x" } }))
            .await;
        assert_eq!(told(dir, &["wait", "--violation", "--timeout", "20s"]).0, 0);
        assert_eq!(told(dir, &["violations", "--fail"]).0, 1);
        assert_eq!(told(dir, &["command", "send", "cancel_task"]).0, 0);
        assert_eq!(told(dir, &["fault", "set", "ack.drop", "first", "1"]).0, 0);
        assert_eq!(told(dir, &["clock", "+1m"]).0, 0);
        assert_eq!(document(dir, &["sessions", "--json"])["items"].as_array().unwrap().len(), 2);

        assert_eq!(document(dir, &["reset", "--json"]), json!({ "sessions": 1 }));
        assert_eq!(listed(dir), Vec::<Json>::new());
        let sessions = document(dir, &["sessions", "--live", "--agent", "demo-agent", "--json"]);
        assert_eq!(sessions["items"].as_array().unwrap().len(), 1, "it lives on");
        assert_eq!(document(dir, &["sessions", "--json"]), sessions);
        assert_eq!(document(dir, &["command", "list", "--json"]), json!({ "items": [] }));
        assert_eq!(document(dir, &["clock", "--json"])["offset_ms"], 0);
        assert_eq!(told(dir, &["violations", "--fail"]), (0, String::new(), String::new()));
        assert_eq!(told(dir, &["wait", "--events", "1", "--timeout", "0s"]).0, 1);
        // The command's frame, and then the acknowledgement: the fault is gone, and nothing is a duplicate.
        agent.hear().await.frame();
        assert_eq!(agent.batch(batch).await, (2, 2, 0));
        assert_eq!(told(dir, &["wait", "--events", "2", "--agent", "demo-agent", "--timeout", "0s"]).0, 0);
        if flags.len() == 2 {
            serve.signal("-TERM");
            let _serve = Serve::start(dir, flags);
            assert_eq!(listed(dir).len(), 2, "and so after a restart");
            assert_eq!(document(dir, &["violations", "--json"]), json!({ "items": [] }));
        }
    }
}

#[tokio::test]
async fn violations_are_listed_and_cleared() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path();
    let serve = Serve::start(dir, &["--no-tls", "--strict"]);
    let mut agent = online(dir, &serve).await;
    agent
        .say_signed(&json!({ "v": 2, "type": "heartbeat", "id": "h", "payload": { "buffer_size": "x" } }))
        .await;
    assert_eq!(told(dir, &["wait", "--violation", "--timeout", "20s"]).0, 0);
    let (code, text, _) = told(dir, &["violations", "--fail"]);
    assert!(code == 1 && text.contains("buffer_size is not a count"), "{text}");
    assert_eq!(document(dir, &["reset", "--json"])["sessions"], 1);
    assert_eq!(told(dir, &["violations", "--fail"]).0, 0);
}

#[test]
fn the_clock_is_set() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path();
    let _serve = Serve::start(dir, &[]);
    assert!(told(dir, &["clock"]).1.ends_with("Z  as the machine's\n"));
    assert!(told(dir, &["clock", "-90s"]).1.ends_with("Z  90s behind\n"));
    assert!(told(dir, &["clock", "+5m"]).1.ends_with("Z  5m ahead\n"));
    assert_eq!(document(dir, &["clock", "--json"])["offset_ms"], 300_000);
    let (code, _, error) = told(dir, &["clock", "5"]);
    assert!(code == 2 && error.contains("a time up to 24h is expected"), "{error}");
}

#[test]
fn projects_and_the_login() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path();
    let serve = Serve::start(dir, &["--no-tls"]);
    let password = document(dir, &["login", "--json"])["password"].clone();
    assert_eq!(told(dir, &["project", "add", "shop"]).0, 0);
    let (code, _, error) = told(dir, &["project", "add", "shop"]);
    assert!(code == 1 && error.contains("is there already"), "{error}");
    assert_eq!(told(dir, &["project", "archive", "shop"]).1, "archived: shop\n");
    let (code, _, error) = told(dir, &["project", "archive", "demo"]);
    assert!(code == 1 && error.contains("the last one that is not archived"), "{error}");
    let (code, _, error) = told(dir, &["agent", "add", "w", "--project", "shop"]);
    assert!(code == 1 && error.contains("`project restore` brings it back"), "{error}");
    let (_, log) = serve.signal("-TERM");
    assert!(!log.contains(password.as_str().unwrap()), "{log}");
    let _serve = Serve::start(dir, &["--no-tls"]);
    assert_eq!(document(dir, &["login", "--json"])["password"], password);
    let items = document(dir, &["project", "list", "--json"])["items"].clone();
    assert_eq!((&items[1]["slug"], &items[1]["archived"]), (&json!("shop"), &json!(true)));
    assert_eq!(told(dir, &["project", "restore", "shop"]).1, "restored: shop\n");
    assert_eq!(told(dir, &["agent", "add", "w", "--project", "shop"]).0, 0);
    let (code, text, _) = told(dir, &["login"]);
    assert!(
        code == 0 && text.starts_with("Cookie: z4j_session=") && text.contains("\nX-CSRF-Token: "),
        "{text}"
    );
}

/// What is asked of nobody is no good news.
#[test]
fn an_agent_that_is_not_there_is_told() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path();
    let _serve = Serve::start(dir, &["--no-tls"]);
    for arguments in [
        &["violations", "--fail"][..],
        &["sessions"],
        &["journal", "export"],
        &["tail"],
        &["env"],
        &["command", "send", "cancel_task"],
    ] {
        let (code, text, error) = told(dir, &[arguments, &["--agent", "nope"]].concat());
        assert_eq!((code, text.as_str()), (1, ""), "{arguments:?}");
        assert_eq!(error, "mock-brain: no agent \"nope\"; there are: demo-agent\n", "{arguments:?}");
    }
    assert_eq!(told(dir, &["violations", "--fail", "--agent", "demo-agent"]).0, 0);
}

#[test]
fn what_changes_something_tells_it_in_json() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path();
    let _serve = Serve::start(dir, &[]);
    let out = dir.join("out").display().to_string();
    assert_eq!(document(dir, &["agent", "add", "w", "--json"])["Z4J_AGENT_NAME"], "w");
    assert_eq!(document(dir, &["agent", "token", "w", "--json"])["Z4J_AGENT_NAME"], "w");
    assert_eq!(document(dir, &["env", "--agent", "w", "--json"])["Z4J_AGENT_NAME"], "w");
    assert_eq!(document(dir, &["agent", "revoke", "w", "--json"])["items"][1]["revoked"], true);
    let set = document(dir, &["fault", "set", "ack.drop", "first", "1", "--json"]);
    assert_eq!(set["items"].as_array().unwrap().len(), 1, "{set}");
    assert_eq!(document(dir, &["fault", "clear", "--json"]), json!({ "items": [] }));
    assert_eq!(document(dir, &["project", "add", "shop", "--json"]), json!({ "slug": "shop" }));
    assert!(document(dir, &["dashboard", "--json"])["url"].as_str().unwrap().starts_with("http://"));
    let rotated = document(dir, &["cert", "rotate", "expired", "--json"]);
    assert!(rotated["profile"] == "expired" && rotated["chain"].is_array(), "{rotated}");
    let issued = document(dir, &["cert", "issue", "a.example.com", "--out", &out, "--json"]);
    let files = issued["files"].as_array().unwrap();
    assert_eq!(files.len(), 3, "{issued}");
    assert!(files.iter().all(|file| std::path::Path::new(file.as_str().unwrap()).is_file()), "{issued}");
}

#[test]
fn usage_is_told_with_a_way_out() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path();
    for verb in ["agent", "cert", "command", "fault", "frame", "journal", "project"] {
        let (code, text, _) = told(dir, &[verb, "--help"]);
        assert!(
            code == 0 && text.contains("Example") && text.contains(&format!("mock-brain {verb} ")),
            "{text}"
        );
    }
    for bytes in ["1", "4095", "16777217"] {
        let (code, _, error) = told(dir, &["serve", "--max-frame", bytes]);
        assert!(code == 2 && error.contains("is not from 4096 to 16777216"), "{error}");
    }
    for flag in ["--max-body", "--max-frame", "--journal-max"] {
        let (code, _, error) = told(dir, &["serve", flag, "0"]);
        assert!(code == 2 && error.contains("from 1 to 18446744073709551615"), "{error}");
    }
    let _serve = Serve::start(dir, &[]);
    for arguments in [&["cert", "issue", ""][..], &["command", "send", ""]] {
        let (code, text, error) = told(dir, arguments);
        assert!(code == 2 && text.is_empty() && error.contains("a value is required"), "{code} {error}");
    }
}
