//! What agents must not do too late, too often or not at all.

use std::time::Duration;

use mock_brain::{Brain, Limits};
use serde_json::json;

use crate::support::{Agent, Heard, at, closed, hello_with, listener, plain, within};
use crate::violations::{heartbeat, options, rules, strict};

#[tokio::test]
async fn heartbeats_that_stop_are_noticed_at_the_next_frame() {
    let brain = strict().await;
    let mut agent = Agent::online(&brain).await;
    let mut frame = heartbeat();
    frame["ts"] = json!(at(-50));
    agent.say_signed(&frame).await;
    for _ in 0..2 {
        agent.batch(json!([])).await;
    }
    assert_eq!(rules(&brain), ["heartbeat.late"]);
}

#[tokio::test]
async fn heartbeats_that_never_come_are_noticed_at_the_end() {
    let limits = Limits { ping: Duration::from_millis(200), heartbeat_seconds: 1, ..Limits::default() };
    let brain = Brain::start_with(options(), listener(), limits).unwrap();
    let mut agent = Agent::online(&brain).await;
    // Pings are answered for longer than twice the interval and 5 s.
    let _ = tokio::time::timeout(Duration::from_secs(8), agent.hear()).await;
    assert_eq!(rules(&brain), [""; 0]);
    drop(agent);
    within(async {
        while rules(&brain) != ["heartbeat.late"] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_only_answers_pings_is_idle() {
    let limits =
        Limits { ping: Duration::from_millis(50), idle: Duration::from_millis(400), ..Limits::default() };
    let brain = Brain::start_with(options(), listener(), limits).unwrap();
    let mut agent = Agent::online(&brain).await;
    assert_eq!(agent.hear().await, closed(4408));
    assert_eq!(rules(&brain), ["ws.idle"]);
}

#[tokio::test]
async fn who_hammers_is_noticed() {
    let brain = plain().await;
    let token = format!("Bearer {}", brain.credentials().token);
    brain.revoke_agent("demo-agent").unwrap();
    let refused = async || {
        let mut agent = Agent::connect_with(&brain, &token).await;
        assert_eq!(agent.hear().await, closed(4401));
    };
    // 64 workers may come at once, with a poll and a post each.
    for _ in 0..128 {
        refused().await;
    }
    assert_eq!(rules(&brain), [""; 0]);
    for _ in 0..1_000 {
        if rules(&brain).is_empty() {
            refused().await;
        }
    }
    assert_eq!(rules(&brain), ["connect.too-fast"]);
    assert_eq!(brain.violations()[0].agent.as_deref(), Some("demo-agent"));
}

#[tokio::test]
async fn each_worker_waits_for_itself() {
    let brain = plain().await;
    let refused = async |worker: &str| {
        let mut agent = Agent::connect(&brain).await;
        let mut hello = hello_with("worker_id", json!(worker));
        hello["payload"]["project_id"] = json!("other");
        agent.say(hello.to_string()).await;
        assert_eq!(agent.hear().await, Heard::Close(4403, "project_mismatch".to_owned()));
        while agent.hear().await != Heard::Ended {}
    };
    for number in 0..8 {
        refused(&format!("w{number}")).await;
    }
    assert_eq!(rules(&brain), [""; 0]);
    for _ in 0..5 {
        refused("w0").await;
    }
    assert_eq!(rules(&brain), ["connect.too-fast"]);
    assert_eq!(brain.violations()[0].agent.as_deref(), Some("demo-agent"));
}
