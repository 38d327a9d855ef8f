//! A strict brain is odd, and still speaks the protocol.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use mock_brain::{Brain, NewCommand, Options};
use serde_json::{Value as Json, json};
use tokio_tungstenite::tungstenite::Message;

use crate::longpoll::{POLL, PROBE, Poller};
use crate::support::{Agent, at, event, hello, request, start, within};

async fn odd(seed: u64) -> Brain {
    start(Options { tls: false, strict: true, seed, ..Options::default() }).await
}

/// A session with a batch, a command and its result; what the brain said in it.
async fn talk(brain: &Brain) -> Vec<Json> {
    let mut agent = Agent::connect(brain).await;
    let mut heard = vec![agent.greet(&hello()).await];
    agent
        .say_signed(&json!({"v": 2, "type": "event_batch", "id": "b", "payload": {"events": [event("t", "task.sent", &at(0))]}}))
        .await;
    heard.push(agent.hear().await.frame());
    assert_eq!(heard[1]["payload"]["acked_id"], "b");
    let command = NewCommand::new("purge_queue").with("queue", "grün/😀");
    let id = brain.send_command(command).unwrap().id;
    heard.push(agent.hear().await.frame());
    assert_eq!(
        (&heard[2]["id"], &heard[2]["payload"]["parameters"]["queue"]),
        (&json!(id), &json!("grün/😀"))
    );
    agent.say_signed(&json!({"v": 2, "type": "command_ack", "id": id, "payload": {}})).await;
    agent
        .say_signed(&json!({"v": 2, "type": "command_result", "id": id, "payload": {"status": "success"}}))
        .await;
    let done = mock_brain::Condition::Command { id };
    assert!(brain.wait_for(&done, Duration::from_secs(20)).await);
    heard
}

fn members(frame: &Json) -> impl Iterator<Item = &String> {
    frame.as_object().unwrap().keys()
}

#[tokio::test]
async fn an_agent_that_keeps_to_the_protocol_does_not_mind() {
    let (mut heard, mut sequences) = (Vec::new(), BTreeSet::new());
    for seed in 0..12 {
        let brain = odd(seed).await;
        let frames = talk(&brain).await;
        sequences.insert([frames[1]["seq"].as_u64().unwrap(), frames[2]["seq"].as_u64().unwrap()]);
        heard.extend(frames);
        assert_eq!(brain.violations(), []);
    }
    let acks: Vec<_> =
        heard.iter().filter(|frame| frame["type"] == "hello_ack").map(|ack| &ack["payload"]).collect();
    assert!(acks.iter().all(|ack| uuid::Uuid::try_parse(ack["agent_id"].as_str().unwrap()).is_ok()));
    assert!(acks.iter().any(|ack| ack["session_id"].as_str().unwrap().len() != 36));
    assert!(acks.iter().all(|ack| (5..10).contains(&ack["heartbeat_interval_seconds"].as_u64().unwrap())));
    assert!(acks.iter().all(|ack| ack["max_frame_size_bytes"].as_u64().unwrap() >= 512 << 10));
    let has_odd = |frame: &Json| members(frame).any(|key| key.starts_with("odd_"));
    assert!(heard.iter().any(has_odd) && acks.iter().copied().any(has_odd));
    assert!(heard.iter().any(|frame| !frame["ts"].as_str().unwrap().ends_with('Z')));
    assert!(sequences.iter().any(|[_, second]| *second > 2), "{sequences:?}");
}

#[tokio::test]
async fn messages_come_in_both_kinds_and_with_odd_control_frames() {
    let brain = odd(3).await;
    let mut kinds = BTreeSet::new();
    let mut agent = Agent::online(&brain).await;
    let mut verifier = agent.take_verifier();
    let mut acks = 0;
    while acks < 40 {
        agent.say_signed(&json!({"v": 2, "type": "event_batch", "id": "b", "payload": {"events": []}})).await;
        loop {
            let message = within(agent.socket.next()).await.unwrap().unwrap();
            let kind = match &message {
                Message::Text(_) => "text",
                Message::Binary(_) => "binary",
                Message::Ping(_) => "ping",
                Message::Pong(_) => "pong",
                other => panic!("{other:?}"),
            };
            kinds.insert(kind);
            if message.is_text() || message.is_binary() {
                verifier.verify(&message.into_data(), crate::support::now()).unwrap();
                acks += 1;
                break;
            }
        }
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["binary", "ping", "pong", "text"]);
}

#[tokio::test]
async fn headers_come_in_either_case() {
    let brain = odd(5).await;
    let mut cases = BTreeSet::new();
    for _ in 0..20 {
        let (status, answer) = request(&brain, "GET /api/v1/health", "", "").await;
        assert_eq!(status, 200);
        cases.insert(["Content-Type: ", "content-type: "].iter().position(|name| answer.contains(name)));
    }
    assert_eq!(cases.into_iter().collect::<Vec<_>>(), [Some(0), Some(1)]);
}

#[tokio::test]
async fn commands_over_long_poll_are_odd_too() {
    let brain = odd(7).await;
    let poller = Poller::new(&brain, "n");
    assert_eq!(poller.get(PROBE).await.0, 200);
    let binding = z4j_protocol::Binding {
        agent_id: brain.credentials().agent_id,
        project_id: brain.credentials().project_uuid,
        session_id: "n".to_owned(),
    };
    let secret = z4j_protocol::HmacSecret::parse(&brain.credentials().hmac_secret).unwrap();
    let mut verifier = z4j_protocol::Verifier::new(&secret, binding);
    let mut white = false;
    for _ in 0..8 {
        brain.send_command(NewCommand::new("rate_limit")).unwrap();
        let (_, body) = crate::longpoll::parsed(poller.get(POLL).await);
        let text = body["frames"][0].as_str().unwrap();
        verifier.verify(text.as_bytes(), crate::support::now()).unwrap();
        white |= text.contains(": ") || text.contains('\n') || text.contains('\t');
    }
    assert!(white);
}

#[tokio::test]
async fn the_real_brain_is_never_odd() {
    let brain = crate::support::plain().await;
    let frames = talk(&brain).await;
    let ack = &frames[0];
    assert!(ack["id"].as_str().unwrap().starts_with("hack_"));
    assert_eq!(ack["payload"]["heartbeat_interval_seconds"], 10);
    assert_eq!(frames[1]["id"], "eba_b");
    assert_eq!([frames[1]["seq"].as_u64(), frames[2]["seq"].as_u64()], [Some(1), Some(2)]);
    assert!(frames.iter().all(|frame| members(frame).all(|key| !key.starts_with("odd_"))));
}
