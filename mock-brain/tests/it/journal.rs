//! The journal: what it keeps, for how long, and how it is read.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use mock_brain::{Brain, ClosedBy, CommandState, NewCommand, Options, StoredEvent};
use serde_json::{Value as Json, json};

use crate::cli::{Serve, program, told};
use crate::kill::{listed, online};
use crate::longpoll::{PROBE, Poller};
use crate::support::{Agent, at, closed, event, hello_with, listener, plain, start, within};

fn options(dir: &Path, bytes: u64) -> Options {
    Options {
        tls: false,
        strict: true,
        state_dir: Some(dir.to_owned()),
        journal_bytes: Some(bytes),
        ..Options::default()
    }
}

/// An event without what differs from brain to brain.
fn bare(event: StoredEvent) -> (Option<String>, String, String, String, String, Json, u64) {
    // Without a time of its own it is that of its receipt.
    let own = event.occurred_at[..19] != event.received_at[..19];
    let occurred_at = if own { event.occurred_at } else { String::new() };
    let payload = serde_json::to_value(event.payload).unwrap();
    (event.event_id, event.engine, event.task_id, event.kind, occurred_at, payload, event.duplicates)
}

#[tokio::test]
async fn events_are_the_same_on_disk_and_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let disk = start(options(dir.path(), 1 << 30)).await;
    let memory = plain().await;
    let time = at(-5);
    let batches = [
        json!([event("a", "task.sent", &time), event("b", "odd", &time), {}, event("a", "task.sent", &time)]),
        json!([event("", "worker.online", &time), {"kind": " task.sent", "engine": 5, "task_id": "c", "data": []}]),
        json!([event("a", "task.sent", &time), event("s", "schedule.created", &time)]),
        json!([event("d", "task.failed", &time)]),
    ];
    let mut lists = Vec::new();
    for brain in [&disk, &memory] {
        let mut agent = Agent::online(brain).await;
        for events in &batches {
            agent
                .say_signed(&json!({"v": 2, "type": "event_batch", "id": "b", "payload": {"events": events}}))
                .await;
            agent.hear().await.frame();
        }
        assert_eq!((brain.accepted_events(), brain.duplicates()), (5, 2));
        let events = brain.events();
        assert_eq!(events[0].agent_id, brain.credentials().agent_id);
        assert_eq!(events[0].project_id, brain.credentials().project_uuid);
        lists.push(events.into_iter().map(bare).collect::<Vec<_>>());
    }
    assert_eq!(lists[0], lists[1]);
}

#[tokio::test]
async fn a_restart_keeps_what_was_seen() {
    let dir = tempfile::tempdir().unwrap();
    let brain = start(options(dir.path(), 1 << 30)).await;
    let mut agent = Agent::online(&brain).await;
    let batch = json!([
        event("a", "task.sent", &at(-5)),
        event("", "worker.online", &at(-4)),
        event("b", "odd", &at(-3))
    ]);
    assert_eq!(agent.batch(batch.clone()).await, (3, 3, 0));
    assert_eq!(agent.batch(json!([batch[0]])).await, (1, 0, 1));
    let done = brain.send_command(NewCommand::new("cancel_task").with("engine", "celery")).unwrap();
    let frame = agent.hear().await.frame();
    assert_eq!(frame["id"], done.id);
    let result = json!({"v": 2, "type": "command_result", "id": done.id, "payload": {"status": "success", "result": {"n": 1.5}}});
    agent.say_signed(&result).await;
    let condition = mock_brain::Condition::Command { id: done.id.clone() };
    assert!(brain.wait_for(&condition, std::time::Duration::from_secs(20)).await);
    let waiting = brain.send_command(NewCommand::new("retry_task").to("demo-agent")).unwrap();
    agent.hear().await.frame();
    brain.add_agent("away", None).unwrap();
    let pending = brain.send_command(NewCommand::new("purge_queue").to("away")).unwrap();
    let seen = |brain: &Brain| (brain.events(), brain.violations(), brain.commands(), brain.duplicates());
    let before = seen(&brain);
    assert!(before.1.iter().any(|violation| violation.rule == "event.kind"), "{:?}", before.1);
    let token = brain.credentials().token;
    within(brain.stop()).await;

    let brain = start(options(dir.path(), 1 << 30)).await;
    assert_eq!(seen(&brain), before);
    assert_eq!(brain.credentials().token, token);
    let sessions = brain.sessions();
    assert_eq!((sessions.len(), sessions[0].close_code, brain.live_sessions()), (1, Some(1012), 0));
    let states = [&done, &waiting, &pending].map(|command| brain.command(&command.id).unwrap().status);
    assert_eq!(states, [CommandState::Completed, CommandState::Dispatched, CommandState::Pending]);
    let mut agent = Agent::online(&brain).await;
    assert_eq!(agent.hear().await.frame()["id"], waiting.id, "a strict brain sends it again");
    assert_eq!(agent.batch(batch).await, (3, 0, 3), "it knows what it accepted");
    let away = brain.credentials_of("away").unwrap();
    let mut other = Agent::connect_with(&brain, &format!("Bearer {}", away.token)).await;
    other.greet(&hello_with("worker_id", json!("w2"))).await;
    assert_eq!(other.hear().await.frame()["id"], pending.id, "it still waits for its agent");
    assert_eq!(brain.sessions().len(), 3);
    within(brain.stop()).await;
}

#[tokio::test]
async fn a_brain_that_stops_ends_its_long_poll_sessions() {
    for is_dropped in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let brain = start(options(dir.path(), 1 << 30)).await;
        let mut poller = Poller::new(&brain, "n");
        assert_eq!(poller.get(PROBE).await.0, 200);
        let frames = [poller.heartbeat(), poller.heartbeat()];
        assert_eq!(poller.post(&frames).await.0, 200);
        assert_eq!(brain.live_sessions(), 1);
        if is_dropped {
            drop(brain);
        } else {
            within(brain.stop()).await;
        }
        let brain = start(options(dir.path(), 1 << 30)).await;
        let sessions = brain.sessions();
        let session = &sessions[0];
        assert_eq!((sessions.len(), session.frames, session.heartbeats), (1, 2, 2));
        assert_eq!((session.closed_by, &session.detail), (Some(ClosedBy::Brain), &None));
    }
}

#[tokio::test]
async fn a_brain_that_was_dropped_leaves_its_journal() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let brain = start(options(dir.path(), 1 << 30)).await;
        let mut agent = Agent::online(&brain).await;
        agent.batch(json!([event(&format!("t{round}"), "task.sent", &at(0))])).await;
        drop(brain);
    }
    assert_eq!(start(options(dir.path(), 1 << 30)).await.events().len(), 3);
}

#[tokio::test]
async fn the_oldest_goes_and_is_accepted_anew() {
    const BOUND: u64 = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let brain = start(options(dir.path(), BOUND)).await;
    let mut agent = Agent::online(&brain).await;
    let time = at(-60);
    let task = |n: usize| {
        let mut event = event(&format!("t{n}"), "task.sent", &time);
        event["data"]["filler"] = "x".repeat(5_000).into();
        event
    };
    for n in 0..100 {
        assert_eq!(agent.batch(json!([task(n)])).await, (1, 1, 0), "{n}");
    }
    let kept: Vec<_> = brain.events().into_iter().map(|event| event.task_id).collect();
    assert!((5..20).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.last().unwrap(), "t99");
    assert_eq!(brain.accepted_events(), 100);
    assert_eq!(agent.batch(json!([task(99)])).await, (1, 0, 1));
    assert_eq!(agent.batch(json!([task(0)])).await, (1, 1, 0), "it went");
    within(brain.stop()).await;
    let size = dir.path().join("journal.sqlite").metadata().unwrap().len();
    assert!(size < BOUND * 3, "{size}");
    // With less room, more goes at the next start's first write.
    let brain = start(options(dir.path(), BOUND / 2)).await;
    let mut agent = Agent::online(&brain).await;
    assert_eq!(agent.batch(json!([task(99)])).await, (1, 0, 1));
    assert_eq!(brain.accepted_events(), 101);
    agent.batch(json!([task(200)])).await;
    assert!(brain.events().len() < 10);
}

#[tokio::test]
async fn the_file_keeps_the_bound_at_rest() {
    const BOUND: u64 = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let brain = start(options(dir.path(), BOUND)).await;
    let mut agent = Agent::online(&brain).await;
    for batch in 0..25 {
        let task = |n: usize| {
            let mut event = event(&format!("t{batch}-{n}"), "task.sent", &at(-60));
            event["data"]["filler"] = "x".repeat(600).into();
            event
        };
        assert_eq!(agent.batch((0..200).map(task).collect()).await, (200, 200, 0));
    }
    within(brain.stop()).await;
    let size = dir.path().join("journal.sqlite").metadata().unwrap().len();
    assert!(size <= BOUND, "{size}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_is_refused_with_is_journaled() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &["--no-tls"]);
    let address =
        serve.announced["url"].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/');
    let (_, env, _) = told(dir.path(), &["env", "--format", "json"]);
    let env: Json = serde_json::from_str(&env).unwrap();
    let [token, secret] = ["Z4J_TOKEN", "Z4J_HMAC_SECRET"].map(|name| env[name].as_str().unwrap());
    let encoded: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let requests = [
        ("GET /api/v1/agent/commands?wait=0&token=hidden", 401, ""),
        ("GET /api/v1/agent/commands?max_frames=hidden&hidden", 422, ""),
        (&format!("GET /api/v1/agent/commands?bearer={token}"), 401, ""),
        (&format!("GET /ws/agent?key={secret}"), 404, ""),
        (&format!("GET /ws/agent?%74oken={secret}"), 404, ""),
        (&format!("GET /api/v1/agent/commands/{token}?wait={token}"), 404, ""),
        (&format!("GET /{encoded}/{secret}/ws"), 403, upgrade),
    ];
    for (line, status, headers) in requests {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let text = format!(
            "{line} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer nope\r\n{headers}{}\r\n",
            if headers.is_empty() { "Connection: close\r\n" } else { "" }
        );
        tokio::io::AsyncWriteExt::write_all(&mut socket, text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(tokio::io::AsyncReadExt::read_to_string(&mut socket, &mut answer)).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {answer}");
    }
    let (_, all, _) = told(dir.path(), &["journal", "export"]);
    for expected in [
        "\"http\"",
        "/api/v1/agent/commands?wait=0&…",
        ": 401",
        "/commands/<redacted>",
        "/<redacted>/<redacted>",
    ] {
        assert!(all.contains(expected), "{expected}: {all}");
    }
    let (_, violations, _) = told(dir.path(), &["violations", "--json"]);
    assert_eq!(violations.matches("http.token-in-query").count(), 4, "{violations}");
    for text in [all, violations] {
        for hidden in ["hidden", token, secret.trim_end_matches('='), &encoded] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
    }
}

#[tokio::test]
async fn files_that_do_not_serve() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join(".local/state/mock-brain");
    drop(Serve::start(dir.path(), &[]));
    let file = state.join("journal.sqlite");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let pragma = |sql: &str| rusqlite::Connection::open(&file).unwrap().execute_batch(sql).unwrap();
    let cases: [(&dyn Fn(), &str); 3] = [
        (&|| pragma("PRAGMA user_version = 99"), "layout 99"),
        (&|| pragma("PRAGMA application_id = 1"), "another program wrote it"),
        (&|| std::fs::write(&file, "no database at all ".repeat(500)).unwrap(), "not a database"),
    ];
    for (spoil, complaint) in cases {
        spoil();
        let (code, _, error) = told(dir.path(), &["serve", "--listen", "127.0.0.1:0"]);
        assert_eq!((code, error.matches('\n').count()), (2, 1), "{error}");
        assert!(error.contains(complaint) && error.contains("--memory"), "{error}");
        drop(Serve::start(dir.path(), &["--memory"]));
    }
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(state.join("elsewhere"), &file).unwrap();
    let brain = Brain::start(options(&state, 1 << 20), listener()).await;
    let error = brain.err().expect("refused").to_string();
    assert!(error.contains("journal.sqlite") && !state.join("elsewhere").exists(), "{error}");
}

/// Kind, type and number of the lines of the session below.
const SEEN: [(&str, &str, usize); 16] = [
    ("connection", "tcp", 1),
    ("handshake", "hello", 1),
    ("session", "accepted", 1),
    ("session", "ended", 1),
    ("frame-in", "event_batch", 2),
    ("frame-in", "heartbeat", 1),
    ("frame-out", "hello_ack", 1),
    ("frame-out", "event_batch_ack", 2),
    ("frame-out", "command", 1),
    ("event", "task.sent", 1),
    ("event", "task.failed", 2),
    ("command", "pending", 1),
    ("command", "dispatched", 1),
    ("violation", "frame.unknown-field", 1),
    ("fault", "ws.close", 1),
    ("fault", "ws.frame-fragmented", 1),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_is_exported() {
    for arguments in [&["--no-tls", "--strict"][..], &["--no-tls", "--strict", "--memory"]] {
        let dir = tempfile::tempdir().unwrap();
        let serve = Serve::start(dir.path(), arguments);
        let on_disk = dir.path().join(".local/state/mock-brain/journal.sqlite").exists();
        assert_eq!(on_disk, !arguments.contains(&"--memory"));
        told(dir.path(), &["fault", "set", "ws.close(code=4401) at frame 3"]);
        told(dir.path(), &["fault", "set", "ws.frame-fragmented first 1"]);
        let mut agent = online(dir.path(), &serve).await;
        let batch = json!([event("a", "task.sent", &at(-5)), event("b", "task.failed", &at(-5))]);
        agent.batch(batch.clone()).await;
        agent.batch(json!([batch[1]])).await;
        told(dir.path(), &["command", "send", "cancel_task"]);
        agent.hear().await.frame();
        agent.say_signed(&json!({"v": 2, "type": "heartbeat", "id": "h", "odd": 1, "payload": {}})).await;
        assert_eq!(agent.hear().await, closed(4401));
        let (code, all, error) = told(dir.path(), &["journal", "export"]);
        assert_eq!(code, 0, "{error}");
        let lines: Vec<Json> = all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |kind: &str, type_: &str| -> Vec<&Json> {
            lines.iter().filter(|line| line["kind"] == kind && line["type"] == type_).collect()
        };
        for (kind, type_, count) in SEEN {
            assert_eq!(of(kind, type_).len(), count, "{kind} {type_}: {all}");
        }
        let outcomes: Vec<_> = of("event", "task.failed").iter().map(|line| &line["detail"]).collect();
        assert_eq!(outcomes, ["accepted", "duplicate"]);
        assert_eq!(of("event", "task.sent")[0]["event"], listed(dir.path())[0]);
        assert!(of("frame-in", "heartbeat")[0]["raw"].as_str().unwrap().contains("\"odd\""));
        let (_, some, _) =
            told(dir.path(), &["journal", "export", "--kind", "event", "--type", "task.failed"]);
        assert_eq!(some.lines().count(), 2, "{some}");
        assert_eq!(told(dir.path(), &["journal", "export", "--agent", "nobody"]).1, "");
        let (_, own, _) =
            told(dir.path(), &["journal", "export", "--agent", "demo-agent", "--kind", "frame-in"]);
        assert_eq!(own.lines().count(), 3, "{own}");
        let (_, sessions, _) =
            told(dir.path(), &["journal", "export", "--agent", "demo-agent", "--kind", "session"]);
        assert_eq!(sessions.lines().count(), 2, "{sessions}");
        assert_eq!(told(dir.path(), &["journal", "export", "--kind", "nothing"]).0, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_seen_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &["--no-tls"]);
    let mut agent = online(dir.path(), &serve).await;
    let mut tail = program(dir.path())
        .args(["tail", "--json", "--kind", "event", "--type", "task.failed", "--agent", "demo-agent"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let line = tokio::task::spawn_blocking(move || lines.next().unwrap().unwrap());
    // It begins with what comes once it runs.
    for n in 0.. {
        let time = at(0);
        agent
            .batch(json!([
                event(&format!("s{n}"), "task.sent", &time),
                event(&format!("f{n}"), "task.failed", &time)
            ]))
            .await;
        if line.is_finished() {
            break;
        }
    }
    let line: Json = serde_json::from_str(&within(line).await.unwrap()).unwrap();
    assert_eq!((&line["detail"], &line["event"]["kind"]), (&json!("accepted"), &json!("task.failed")));
    tail.kill().unwrap();
    tail.wait().unwrap();
    serve.signal("-TERM");
}
