//! Sessions on `/ws/agent`: who gets in, and what ends them.

use std::time::Duration;

use mock_brain::{ClosedBy, Limits, Options};
use serde_json::{Value as Json, json};
use tokio_tungstenite::tungstenite::Message;
use z4j_protocol::FrameType;

use crate::support::{
    Agent, Heard, at, closed, event, hello, hello_with, plain, rand, start, tls, with_limits, within,
};

#[tokio::test]
async fn a_session_from_hello_to_goodbye() {
    let brain = plain().await;
    let mut agent = Agent::connect(&brain).await;
    let ack = agent.greet(&hello()).await;
    let credentials = brain.credentials();
    let payload = &ack["payload"];
    assert_eq!(payload["agent_id"], credentials.agent_id.as_str());
    assert_eq!(payload["project_id"], credentials.project_uuid.as_str());
    assert_eq!(payload["max_frame_size_bytes"], 1_048_576);
    assert_eq!(payload["heartbeat_interval_seconds"], 10);
    let digits: String = payload["session_id"].as_str().unwrap().replace('-', "")[..12].to_owned();
    assert_eq!(ack["id"], format!("hack_{digits}").as_str());
    assert_eq!(agent.batch(json!([event("t", "task.sent", &at(0))])).await, (1, 1, 0));
    let text = agent.signed(FrameType::Heartbeat, &json!({"buffer_size": 0}));
    agent.send(Message::binary(text.into_bytes())).await;
    agent.say(hello().to_string()).await;
    assert_eq!(agent.batch(json!([])).await, (0, 0, 0));
    within(agent.socket.close(None)).await.unwrap();
    assert_eq!(agent.hear().await, Heard::Ended);
    let session = &brain.sessions()[0];
    assert!(session.accepted);
    assert_eq!((session.frames, session.worker_id.as_deref()), (3, Some("w1")));
    assert_eq!(session.closed_by, Some(ClosedBy::Agent));
    assert_eq!(brain.events().len(), 1);
    within(brain.stop()).await;
}

#[tokio::test]
async fn over_tls_by_name_and_address() {
    let brain = start(Options { names: vec!["tasks.example.com".to_owned()], ..Options::default() }).await;
    for name in ["tasks.example.com", "localhost", "127.0.0.1", "::1"] {
        let stream = tls(&brain, name).await.unwrap();
        let bearer = format!("bearer  {} ", brain.credentials().token);
        let mut agent = Agent::over(stream, &brain, "wss", &bearer).await.unwrap();
        agent.greet(&hello()).await;
        assert_eq!(agent.batch(json!([event(name, "task.sent", &at(0))])).await, (1, 1, 0));
    }
}

#[tokio::test]
async fn refused_tokens() {
    let brain = plain().await;
    let token = brain.credentials().token;
    for header in ["Bearer wrong", "Bearer ", "Basic x", &token, &format!("Bearer {token}x")] {
        let mut agent = Agent::connect_with(&brain, header).await;
        assert_eq!(agent.hear().await, closed(4401), "{header}");
    }
    let session = &brain.sessions()[0];
    assert_eq!(
        (session.close_code, session.closed_by, session.accepted),
        (Some(4401), Some(ClosedBy::Brain), false)
    );
}

#[tokio::test]
async fn first_frames() {
    let mut without_id = hello();
    without_id["id"] = json!("");
    let mut of_version_3 = hello();
    of_version_3["v"] = json!(3);
    let mut without_v = hello();
    without_v.as_object_mut().unwrap().remove("v");
    let cases: [(String, Option<Heard>); 14] = [
        ("{".to_owned(), Some(closed(4400))),
        ("[]".to_owned(), Some(closed(4400))),
        (String::new(), Some(closed(4400))),
        (json!({"v": 2, "type": "heartbeat", "id": "x", "payload": {}}).to_string(), Some(closed(4400))),
        (without_id.to_string(), Some(closed(4400))),
        (of_version_3.to_string(), Some(closed(4400))),
        (hello_with("worker_pid", json!("5")).to_string(), Some(closed(4400))),
        (hello_with("protocol_version", json!(2)).to_string(), Some(closed(4400))),
        (hello_with("protocol_version", json!("1")).to_string(), Some(closed(4426))),
        (hello_with("protocol_version", json!("")).to_string(), Some(closed(4426))),
        (
            hello_with("project_id", json!("other")).to_string(),
            Some(Heard::Close(4403, "project_mismatch".to_owned())),
        ),
        (hello_with("project_id", json!("demo")).to_string(), None),
        (hello_with("unknown", json!(1)).to_string(), None),
        (without_v.to_string(), None),
    ];
    let brain = plain().await;
    for (text, expected) in cases {
        let mut agent = Agent::connect(&brain).await;
        agent.say(text.clone()).await;
        let heard = agent.hear().await;
        match expected {
            Some(expected) => assert_eq!(heard, expected, "{text}"),
            None => assert_eq!(heard.frame()["type"], "hello_ack", "{text}"),
        }
    }
}

#[tokio::test]
async fn sizes() {
    let brain = plain().await;
    let too_big = Heard::Close(1009, "frame exceeds limit of 16777216 bytes".to_owned());
    for (bytes, expected) in
        [((1 << 20) + 1, closed(4400)), (16 << 20, closed(4400)), ((16 << 20) + 1, too_big)]
    {
        let mut agent = Agent::connect(&brain).await;
        agent.send(Message::binary(vec![b' '; bytes])).await;
        assert_eq!(agent.hear().await, expected, "{bytes} bytes");
    }
    let mut agent = Agent::online(&brain).await;
    agent.send(Message::binary(vec![b' '; (1 << 20) + 1])).await;
    assert_eq!(agent.hear().await, closed(4400));
}

/// A frame of a running session, and the close code that it leads to.
type Case = (&'static str, fn(&mut Agent) -> String, u16);

fn signed(agent: &mut Agent, change: impl FnOnce(&mut Json)) -> String {
    let mut frame = json!({"v": 2, "type": "heartbeat", "id": "h", "payload": {}});
    change(&mut frame);
    agent.sign(&frame)
}

const REFUSED: &[Case] = &[
    ("garbage", |_| "{".to_owned(), 1011),
    ("a list", |_| "[]".to_owned(), 1011),
    ("nothing", |_| String::new(), 1011),
    ("unknown type", |agent| signed(agent, |frame| frame["type"] = json!("nope")), 1011),
    ("version 3", |agent| signed(agent, |frame| frame["v"] = json!(3)), 1011),
    ("version as text", |agent| signed(agent, |frame| frame["v"] = json!("2")), 1011),
    ("payload list", |agent| signed(agent, |frame| frame["payload"] = json!([])), 1011),
    (
        "result status",
        |agent| {
            signed(agent, |frame| {
                frame["type"] = json!("command_result");
                frame["payload"] = json!({"status": "timeout"});
            })
        },
        1011,
    ),
    ("telemetry_loss", |agent| signed(agent, |frame| frame["payload"] = json!({"telemetry_loss": 1})), 1011),
    ("no hmac", |_| json!({"v": 2, "type": "heartbeat", "id": "h", "payload": {}}).to_string(), 4403),
    ("changed after signing", |agent| signed(agent, |_| {}).replace("heartbeat", "agent_status"), 4403),
    ("upper-case hmac", |agent| upper_hmac(&signed(agent, |_| {})), 4403),
    ("old ts", |agent| signed(agent, |frame| frame["ts"] = json!(at(-61))), 4403),
    ("future ts", |agent| signed(agent, |frame| frame["ts"] = json!(at(62))), 4403),
    ("ts without zone", |agent| signed(agent, |frame| frame["ts"] = json!(at(0).replace('Z', ""))), 4403),
    ("seq -1", |agent| signed(agent, |frame| frame["seq"] = json!(-1)), 4403),
    ("seq text", |agent| signed(agent, |frame| frame["seq"] = json!("1")), 4403),
];

fn upper_hmac(text: &str) -> String {
    let mut frame: Json = serde_json::from_str(text).unwrap();
    frame["hmac"] = json!(frame["hmac"].as_str().unwrap().to_uppercase());
    frame.to_string()
}

#[tokio::test]
async fn refused_frames() {
    let brain = plain().await;
    for (name, make, code) in REFUSED {
        let mut agent = Agent::online(&brain).await;
        let text = make(&mut agent);
        agent.say(text).await;
        assert_eq!(agent.hear().await, closed(*code), "{name}");
    }
    let detail = |index: usize| brain.sessions()[index].detail.clone().unwrap();
    assert_eq!(detail(0), "protocol_incompatible not_json");
    assert_eq!(detail(9), "invalid_signature hmac_missing");
}

#[tokio::test]
async fn replays() {
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    let text = agent.signed(FrameType::Heartbeat, &json!({}));
    agent.say(text.clone()).await;
    agent.say(text).await;
    assert_eq!(agent.hear().await, closed(4403));
    // A frame of another session does not verify in this one.
    let mut first = Agent::online(&brain).await;
    let text = first.signed(FrameType::Heartbeat, &json!({}));
    let mut second = Agent::connect(&brain).await;
    second.greet(&hello_with("worker_id", json!("w2"))).await;
    second.say(text).await;
    assert_eq!(second.hear().await, closed(4403));
    // Gaps in seq are fine, and unknown fields are signed and taken.
    first
        .say_signed(&json!({"v": 2, "type": "heartbeat", "id": "h", "seq": 500, "more": 1.0, "payload": {}}))
        .await;
    first.say_signed(&json!({"v": 2, "type": "event_batch", "id": "b", "seq": 501, "payload": {}})).await;
    assert_eq!(first.hear().await.frame()["payload"]["acked_id"], "b");
}

#[tokio::test]
async fn text_that_is_not_utf8() {
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    let brain = plain().await;
    let bad = || Message::Frame(Frame::message(vec![b'"', 0xff, b'"'], OpCode::Data(Data::Text), true));
    let mut agent = Agent::connect(&brain).await;
    agent.send(bad()).await;
    assert_eq!(agent.hear().await, closed(1007));
    let mut agent = Agent::online(&brain).await;
    agent.send(bad()).await;
    assert_eq!(agent.hear().await, closed(1007));
    // Binary messages need not be UTF-8: they are malformed frames.
    let bytes = || Message::binary(vec![b'"', 0xff, b'"']);
    let mut agent = Agent::connect(&brain).await;
    agent.send(bytes()).await;
    assert_eq!(agent.hear().await, closed(4400));
    let mut agent = Agent::online(&brain).await;
    agent.send(bytes()).await;
    assert_eq!(agent.hear().await, closed(1011));
}

fn hello_ack() -> Json {
    let payload = json!({"protocol_version": "2", "agent_id": "a", "project_id": "p", "session_id": "s"});
    json!({"v": 2, "type": "hello_ack", "id": "hack_1", "payload": payload})
}

fn without(mut frame: Json, key: &str) -> Json {
    frame.as_object_mut().unwrap().remove(key);
    frame
}

#[tokio::test]
async fn later_handshake_frames() {
    let brain = plain().await;
    let mut list = hello();
    list["payload"] = json!([]);
    let mut empty_ack = hello_ack();
    empty_ack["payload"] = json!({});
    for malformed in [
        without(hello(), "payload"),
        without(hello(), "v"),
        hello_with("engines", json!([1])),
        list,
        empty_ack,
        without(hello_ack(), "payload"),
        without(hello_ack(), "v"),
    ] {
        let mut agent = Agent::online(&brain).await;
        agent.say(malformed.to_string()).await;
        assert_eq!(agent.hear().await, closed(4400), "{malformed}");
    }
    let mut agent = Agent::online(&brain).await;
    agent.say(hello().to_string()).await;
    agent.say(hello_ack().to_string()).await;
    assert_eq!(agent.batch(json!([])).await, (0, 0, 0));
}

#[tokio::test]
async fn long_texts_of_a_hello_are_listed_cut() {
    let brain = plain().await;
    let mut agent = Agent::connect(&brain).await;
    let long = "é".repeat(1_000);
    agent.greet(&hello_with("engines", json!(vec![long; 64]))).await;
    let engines = &brain.sessions()[0].engines;
    assert_eq!((engines.len(), engines[0].chars().count()), (16, 128));
}

#[tokio::test]
async fn one_connection_for_each_worker_slot() {
    let brain = plain().await;
    let online = |worker: Json| {
        let brain = &brain;
        async move {
            let mut agent = Agent::connect(brain).await;
            agent.greet(&hello_with("worker_id", worker)).await;
            agent
        }
    };
    for worker in [json!(null), json!("w1")] {
        let mut old = online(worker.clone()).await;
        let mut new = online(worker).await;
        assert_eq!(old.hear().await, closed(4002));
        assert_eq!(new.batch(json!([])).await, (0, 0, 0));
    }
    let mut together = vec![];
    for worker in [json!("a"), json!("b"), json!(""), json!(null)] {
        together.push(online(worker).await);
    }
    for agent in &mut together {
        assert_eq!(agent.batch(json!([])).await, (0, 0, 0));
    }
}

#[tokio::test]
async fn the_65th_worker_gets_an_ack_and_is_refused() {
    let brain = plain().await;
    let mut agents = vec![];
    for index in 0..65 {
        let mut agent = Agent::connect(&brain).await;
        agent.greet(&hello_with("worker_id", json!(format!("w{index}")))).await;
        agents.push(agent);
    }
    assert_eq!(agents[64].hear().await, closed(4429));
    assert_eq!(agents[0].batch(json!([])).await, (0, 0, 0));
}

#[tokio::test]
async fn silence_is_ended_and_pings_do_not_count() {
    let limits =
        Limits { idle: Duration::from_millis(300), ping: Duration::from_millis(50), ..Limits::default() };
    let brain = with_limits(limits);
    let mut agent = Agent::online(&brain).await;
    // Hearing answers the brain's pings.
    assert_eq!(agent.hear().await, closed(4408));
}

#[tokio::test]
async fn a_missing_pong_ends_a_connection_before_hello() {
    let brain =
        with_limits(Limits { ping: Duration::from_millis(50), close: Duration::ZERO, ..Limits::default() });
    let stream = crate::support::tcp(&brain).await;
    let bearer = format!("Bearer {}", brain.credentials().token);
    let mut agent = Agent::over(stream, &brain, "ws", &bearer).await.unwrap();
    // Reading the socket below the websocket answers nothing.
    let mut bytes = Vec::new();
    within(tokio::io::AsyncReadExt::read_to_end(agent.socket.get_mut(), &mut bytes)).await.unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("keepalive ping timeout"), "{text:?}");
}

#[tokio::test]
async fn stopping_says_1012() {
    let brain = plain().await;
    let mut online = Agent::online(&brain).await;
    let mut silent = Agent::connect(&brain).await;
    let stopping = tokio::spawn(brain.stop());
    assert_eq!(online.hear().await, closed(1012));
    // Before or after it was listed, the silent one must not be left hanging.
    assert_eq!(silent.hear().await, closed(1012));
    while online.hear().await != Heard::Ended {}
    while silent.hear().await != Heard::Ended {}
    within(stopping).await.unwrap();
}

#[tokio::test]
async fn secrets_are_not_in_debug_texts() {
    let brain = plain().await;
    let credentials = brain.credentials();
    let text = format!("{credentials:?}");
    assert!(!text.contains(&credentials.token) && !text.contains(&credentials.hmac_secret), "{text}");
    assert_eq!(rand().len(), 16);
}
