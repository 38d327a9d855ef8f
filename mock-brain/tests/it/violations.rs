//! What agents must not do: each rule broken once, and what is kept of it.

use mock_brain::violation::RULES;
use mock_brain::{Brain, NewCommand, Options, Violation};
use serde_json::{Value as Json, json};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use crate::cli::{Serve, told};
use crate::kill::online;
use crate::longpoll::{POLL, PROBE, Poller};
use crate::support::{Agent, Heard, at, closed, event, hello_with, plain, request, start, within};

pub(crate) fn options() -> Options {
    Options { tls: false, strict: true, ..Options::default() }
}

pub(crate) async fn strict() -> Brain {
    start(options()).await
}

pub(crate) fn rules(brain: &Brain) -> Vec<String> {
    brain.violations().into_iter().map(|violation| violation.rule).collect()
}

pub(crate) fn heartbeat() -> Json {
    json!({"v": 2, "type": "heartbeat", "id": "h", "payload": {"buffer_size": 3}})
}

/// An event that breaks nothing, with one member replaced.
fn event_with(key: &str, value: Json) -> Json {
    let mut event = event("t", "task.sent", &at(0));
    event[key] = value;
    event
}

fn batch(events: impl Into<Json>) -> Json {
    let events: Json = events.into();
    json!({"v": 2, "type": "event_batch", "id": "b", "payload": {"events": events}})
}

#[tokio::test]
async fn a_well_behaved_agent_breaks_nothing() {
    let brain = strict().await;
    let mut agent = Agent::online(&brain).await;
    agent.say_signed(&heartbeat()).await;
    agent.batch(json!([event("a", "task.sent", &at(-5)), event("b", "task.sent", &at(-5))])).await;
    let id = brain.send_command(NewCommand::new("x")).unwrap().id;
    agent.hear().await.frame();
    for (kind, payload) in [("command_ack", json!({})), ("command_result", json!({"status": "success"}))] {
        agent.say_signed(&json!({"v": 2, "type": kind, "id": id, "payload": payload})).await;
    }
    agent.batch(json!([])).await;
    assert_eq!(brain.violations(), []);
}

/// Frames that are answered as ever and break one rule each.
fn frames() -> Vec<(&'static str, Json)> {
    let unknown = "11111111-2222-4333-8444-555555555555";
    let mut odd = heartbeat();
    odd["odd"] = json!(1);
    let same = event("s", "task.sent", &at(0));
    let mut double = same.clone();
    double["task_id"] = json!("other");
    vec![
        ("frame.unknown-field", odd),
        ("frame.id", json!({"v": 2, "type": "heartbeat", "payload": {}})),
        (
            "frame.nonce-form",
            json!({"v": 2, "type": "heartbeat", "id": "h", "nonce": "short", "payload": {}}),
        ),
        ("frame.direction", json!({"v": 2, "type": "command", "id": "c", "payload": {"action": "x"}})),
        ("heartbeat.type", json!({"v": 2, "type": "heartbeat", "id": "h", "payload": {"buffer_size": "3"}})),
        ("event_batch.events", batch(json!({}))),
        ("event.id", batch(json!([event_with("id", json!("7"))]))),
        ("event.kind", batch(json!([event_with("kind", json!("odd"))]))),
        ("event.engine", batch(json!([event_with("engine", json!(""))]))),
        ("event.time", batch(json!([event_with("occurred_at", json!("2026-01-01T00:00:00"))]))),
        ("event.unknown-field", batch(json!([event_with("odd", json!(1))]))),
        ("event.repeated", batch(json!([same, double]))),
        (
            "frame.payload-field",
            json!({"v": 2, "type": "event_batch", "id": "b", "payload": {"events": [], "odd": 1}}),
        ),
        ("command.unknown", json!({"v": 2, "type": "command_ack", "id": unknown, "payload": {}})),
        ("hello.again", crate::support::hello()),
    ]
}

#[tokio::test]
async fn each_frame_breaks_its_rule() {
    for (rule, frame) in frames() {
        let brain = strict().await;
        let mut agent = Agent::online(&brain).await;
        if frame["type"] == "hello" {
            agent.say(frame.to_string()).await;
        } else {
            agent.say_signed(&frame).await;
        }
        if frame["type"] == "event_batch" {
            agent.hear().await.frame();
        }
        agent.batch(json!([])).await;
        assert_eq!(rules(&brain), [rule], "{frame}");
        let violation = &brain.violations()[0];
        assert_eq!(violation.agent.as_deref(), Some("demo-agent"));
        assert_eq!(violation.session, brain.sessions()[0].id);
        let raw = violation.raw.as_deref().unwrap();
        assert!(raw.contains(frame["type"].as_str().unwrap()) && raw.len() <= violation.size, "{raw}");
        // Those that the real brain leaves free are nobody's business there.
        let row = RULES.iter().find(|row| row.name == rule).unwrap();
        let lenient = plain().await;
        let mut agent = Agent::online(&lenient).await;
        let text = if frame["type"] == "hello" { frame.to_string() } else { agent.sign(&frame) };
        agent.say(text).await;
        if frame["type"] == "event_batch" {
            agent.hear().await.frame();
        }
        agent.batch(json!([])).await;
        assert_eq!(lenient.violations().is_empty(), row.strict_only, "{rule}");
    }
}

#[tokio::test]
async fn payloads_of_each_type_hold_what_is_known() {
    let known = [
        (
            "heartbeat",
            json!({"buffer_size": 1, "last_flush_at": null, "dropped_events": 0, "telemetry_loss": null, "adapter_health": {"any": "x"}}),
        ),
        (
            "agent_status",
            json!({"telemetry_loss": null, "auth_failure_streak": 0, "protocol_failure_streak": 0,
                "connection_failure_streak": 0, "last_successful_connect_at": null,
                "current_session_age_seconds": 1.5, "buffer_depth": 0, "buffer_oldest_age_seconds": null,
                "agent_version": "1", "protocol_version": "2", "engines": [], "schedulers": []}),
        ),
        ("registry_delta", json!({"engine": "celery", "added": [{"any": 1}], "removed": [], "updated": []})),
        ("error", json!({"code": "x", "message": "y", "fatal": false})),
    ];
    for (kind, mut payload) in known {
        let brain = strict().await;
        let mut agent = Agent::online(&brain).await;
        agent.say_signed(&json!({"v": 2, "type": kind, "id": "x", "payload": payload})).await;
        agent.batch(json!([])).await;
        assert_eq!(rules(&brain), [""; 0], "{kind}");
        payload["odd"] = json!(1);
        agent.say_signed(&json!({"v": 2, "type": kind, "id": "y", "payload": payload})).await;
        agent.batch(json!([])).await;
        assert_eq!(rules(&brain), ["frame.payload-field"], "{kind}");
    }
}

#[tokio::test]
async fn refused_frames_break_rules_also_for_the_real_brain() {
    let mut replayed = heartbeat();
    replayed["seq"] = json!(7);
    let mut naive = heartbeat();
    naive["ts"] = json!("2026-01-01T00:00:00");
    let mut reused = heartbeat();
    reused["nonce"] = json!("AAAAAAAAAAAAAAAAAAAAAA");
    let cases: [(&str, u16, Vec<Json>); 4] = [
        ("frame.seq", 4403, vec![replayed.clone(), replayed]),
        ("frame.stamp", 4403, vec![naive]),
        ("frame.nonce", 4403, vec![reused.clone(), reused]),
        ("frame.malformed", 1011, vec![json!({"v": 2, "type": "odd", "id": "x", "payload": {}})]),
    ];
    for (rule, code, frames) in cases {
        let brain = plain().await;
        let mut agent = Agent::online(&brain).await;
        for frame in &frames {
            agent.say_signed(frame).await;
        }
        assert_eq!(agent.hear().await, closed(code), "{rule}");
        assert_eq!(rules(&brain), [rule]);
    }
    // A wrong secret is the operator's, one wrong signature among right ones the agent's.
    for (good, expected) in [(false, &[][..]), (true, &["frame.signature"])] {
        let brain = plain().await;
        let mut agent = Agent::online(&brain).await;
        if good {
            agent.say_signed(&heartbeat()).await;
        }
        let text = agent.sign(&heartbeat()).replace("\"buffer_size\":3", "\"buffer_size\":4");
        agent.say(text).await;
        assert_eq!(agent.hear().await, closed(4403));
        assert_eq!(rules(&brain), expected);
    }
}

#[tokio::test]
async fn a_hello_and_its_messages_are_judged() {
    let odd = json!({"v": 2, "type": "hello", "id": "x", "payload": {}});
    for (first, code, rule) in
        [(odd, 4400, "hello.malformed"), (hello_with("protocol_version", json!("3")), 4426, "hello.version")]
    {
        let brain = plain().await;
        let mut agent = Agent::connect(&brain).await;
        agent.say(first.to_string()).await;
        assert_eq!(agent.hear().await, closed(code));
        assert_eq!(rules(&brain), [rule]);
    }
    let brain = strict().await;
    let mut agent = Agent::connect(&brain).await;
    agent.greet(&hello_with("odd", json!(1))).await;
    let text = agent.sign(&heartbeat());
    agent.send(Message::text(text)).await;
    let mut gap = heartbeat();
    gap["seq"] = json!(9);
    agent.say_signed(&gap).await;
    agent.send(Message::binary(vec![b' '; (1 << 20) + 1])).await;
    assert_eq!(agent.hear().await, closed(4400));
    assert_eq!(rules(&brain), ["hello.unknown-field", "ws.text", "frame.seq-gap", "ws.too-large"]);
}

#[tokio::test]
async fn what_is_too_large_is_said_with_its_size() {
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    let message = format!("{{\"odd\":\"{}\"}}", "x".repeat(1 << 20));
    agent.send(Message::binary(message.clone())).await;
    assert_eq!(agent.hear().await, closed(4400));
    // By its header only: a frame of 17 MiB, of which nothing comes.
    let mut agent = Agent::online(&brain).await;
    let length = 17_u64 << 20;
    let head = [&[0x82, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
    AsyncWriteExt::write_all(agent.socket.get_mut(), &head).await.unwrap();
    assert!(matches!(agent.hear().await, Heard::Close(1009, _)));
    let violations = brain.violations();
    assert_eq!(rules(&brain), ["ws.too-large"; 2]);
    let (first, second) = (&violations[0], &violations[1]);
    assert!(
        first.detail.contains(&message.len().to_string()) && first.detail.contains("1048576"),
        "{first:?}"
    );
    assert_eq!(first.size, message.len());
    assert!(first.raw.as_deref().unwrap().starts_with("{\"odd\""), "{first:?}");
    assert!(second.detail.contains(&length.to_string()) && second.detail.contains("16777216"), "{second:?}");
}

#[tokio::test]
async fn what_breaks_the_websocket_without_an_error_is_noticed() {
    // A pong whose length is written in two bytes; a close frame with a reserved code.
    let pong = [0x8a, 0xfe, 0, 0, 0, 0, 0, 0];
    let close = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xec];
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    AsyncWriteExt::write_all(agent.socket.get_mut(), &pong).await.unwrap();
    agent.batch(json!([])).await;
    assert_eq!(rules(&brain), ["ws.protocol"]);
    AsyncWriteExt::write_all(agent.socket.get_mut(), &close).await.unwrap();
    assert!(matches!(agent.hear().await, Heard::Close(1002, _)));
    let details: Vec<_> = brain.violations().into_iter().map(|violation| violation.detail).collect();
    assert_eq!(rules(&brain), ["ws.protocol"; 2]);
    assert!(details[0].contains("written in 2 bytes") && details[1].contains("code 1004"), "{details:?}");
}

#[tokio::test]
async fn a_result_comes_after_its_acknowledgement() {
    let brain = strict().await;
    let mut agent = Agent::online(&brain).await;
    let id = brain.send_command(NewCommand::new("x")).unwrap().id;
    agent.hear().await.frame();
    let result =
        json!({"v": 2, "type": "command_result", "id": id, "payload": {"status": "failed", "error": 5}});
    agent.say_signed(&result).await;
    agent.batch(json!([])).await;
    assert_eq!(rules(&brain), ["command.result-error", "command.result-unacked"]);
}

#[tokio::test]
async fn long_poll_requests_are_judged() {
    let brain = strict().await;
    let mut silent = Poller::new(&brain, "");
    assert_eq!(silent.get(POLL).await.0, 200);
    assert_eq!(Poller::new(&brain, "unprobed").get(POLL).await.0, 200);
    assert_eq!(silent.get("GET /api/v1/agent/commands?wait=99").await.0, 422);
    assert_eq!(silent.get(&format!("{POLL}&token=secret-token")).await.0, 200);
    let expected =
        ["longpoll.nonce-missing", "longpoll.probe-first", "longpoll.request", "http.token-in-query"];
    assert_eq!(rules(&brain), expected);
    assert!(!format!("{:?}", brain.violations()).contains("secret-token"));
    let raw: Vec<_> =
        brain.violations().into_iter().map(|violation| violation.raw.unwrap_or_default()).collect();
    assert_eq!(raw[2..], ["GET /api/v1/agent/commands?wait=99", "GET /api/v1/agent/commands?wait=0&…"]);
    let bad = silent.frame(&heartbeat()).replace("\"buffer_size\":3", "\"buffer_size\":4");
    assert_eq!(silent.post(&[bad]).await.0, 409);
    for _ in 0..4 {
        assert_eq!(silent.get(POLL).await.0, 409);
    }
    assert_eq!(rules(&brain)[4..], ["longpoll.dead-nonce"]);
    let mut poller = Poller::new(&brain, "n");
    assert_eq!(poller.get(PROBE).await.0, 200);
    let large = "x".repeat(9_000);
    for length in [9_000, 8_999, 8_192 + 500] {
        let line = "POST /api/v1/agent/events";
        let headers = poller.headers() + "Content-Type: application/json\r\n";
        assert_eq!(request(&brain, line, &headers, &large[..length]).await.0, 413);
    }
    assert_eq!(rules(&brain)[5..], [""; 0]);
    let headers = poller.headers() + "Content-Type: application/json\r\n";
    request(&brain, "POST /api/v1/agent/events", &headers, &large).await;
    assert_eq!(rules(&brain)[5..], ["longpoll.too-large-again"]);
    let good = poller.heartbeat();
    assert_eq!(poller.post(&[good, "garbage".to_owned()]).await.0, 200);
    assert_eq!(rules(&brain)[6..], ["frame.malformed"]);
}

#[tokio::test]
async fn workers_of_one_token_are_not_to_blame_for_each_other() {
    let brain = strict().await;
    let (refused, other) = (Poller::new(&brain, "refused"), Poller::new(&brain, "other"));
    for poller in [&refused, &other] {
        assert_eq!(poller.get(PROBE).await.0, 200);
    }
    brain.set_fault("http.status(code=429, retry_after=30) at poll first 1".parse().unwrap()).unwrap();
    assert_eq!(refused.get(POLL).await.0, 429);
    assert_eq!(other.get(POLL).await.0, 200);
    let large = "x".repeat(9_000);
    for poller in [&refused, &other] {
        let headers = poller.headers() + "Content-Type: application/json\r\n";
        assert_eq!(request(&brain, "POST /api/v1/agent/events", &headers, &large).await.0, 413);
    }
    assert_eq!(rules(&brain), [""; 0]);
    assert_eq!(refused.get(POLL).await.0, 200);
    assert_eq!(rules(&brain), ["longpoll.retry-after"]);
}

#[tokio::test]
async fn what_is_kept_is_bounded_and_bears_no_secret() {
    let brain = strict().await;
    let credentials = brain.credentials();
    let mut agent = Agent::online(&brain).await;
    let secrets = [&credentials.token, &credentials.hmac_secret];
    for secret in secrets {
        // Also where a secret lies across the place at which it is cut.
        for before in 1_900..2_070 {
            if before % 17 == 0 {
                let mut frame = heartbeat();
                frame["aa"] = json!(format!("{}{secret}", "x".repeat(before)));
                agent.say_signed(&frame).await;
            }
        }
    }
    let mut named = heartbeat();
    named[credentials.token.as_str()] = json!(1);
    agent.say_signed(&named).await;
    agent.batch(json!([])).await;
    let violations = brain.violations();
    assert_eq!(violations.len(), 21, "{violations:?}");
    let text = format!("{violations:?}");
    assert!(
        !text.contains(&credentials.token[..8]) && !text.contains(&credentials.hmac_secret[..8]),
        "{text}"
    );
    assert!(text.contains("<redacted>"));
    assert!(violations.iter().all(|violation| violation.raw.as_ref().unwrap().len() <= 2 << 10));
}

#[test]
fn a_violation_of_an_older_journal_is_read() {
    let old: Violation = serde_json::from_value(json!({"session": "s", "rule": "r", "detail": "d"})).unwrap();
    assert_eq!((old.agent, old.raw, old.size), (None, None, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_lists_them() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &["--no-tls", "--strict"]);
    assert_eq!(told(dir.path(), &["violations", "--fail"]).0, 0);
    let mut agent = online(dir.path(), &serve).await;
    let mut odd = heartbeat();
    odd["odd"] = json!(1);
    agent.say_signed(&odd).await;
    agent.batch(json!([])).await;
    assert_eq!(told(dir.path(), &["violations"]).0, 0);
    let (code, text, _) = told(dir.path(), &["violations", "--fail"]);
    assert_eq!(code, 1);
    assert!(text.contains("frame.unknown-field") && text.contains("\\\"odd\\\":1"), "{text}");
    let (code, text, _) =
        told(dir.path(), &["violations", "--fail", "--json", "--rule", "frame.unknown-field"]);
    let listed: Json = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &listed["items"][0]["agent"]), (1, &json!("demo-agent")));
    assert_eq!(told(dir.path(), &["violations", "--fail", "--rule", "frame.seq"]).0, 0);
    assert_eq!(told(dir.path(), &["violations", "--rule", "nothing"]).0, 2);
    let (_, explained, _) = told(dir.path(), &["violations", "--rules"]);
    assert_eq!(explained.lines().count(), RULES.len());
    within(tokio::task::spawn_blocking(move || serve.signal("-TERM"))).await.unwrap();
}
