//! Sentences of docs/protocol.md that no other test is about, each against a brain.

use mock_brain::{Limits, Options};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::longpoll::{POLL, PROBE, Poller};
use crate::support::{Agent, Heard, closed, hello, plain, raw, request, start, with_limits};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn every_upgrade_is_answered_with_101_and_nothing_else() {
    let brain = plain().await;
    // Without a token it is closed at once, which ends the answer.
    for more in [
        "",
        "Origin: https://elsewhere.example\r\n",
        "Sec-WebSocket-Protocol: z4j, other\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    ] {
        let (status, answer) =
            raw(&brain, &format!("GET /ws/agent HTTP/1.1\r\nHost: odd.invalid\r\n{UPGRADE}{more}\r\n")).await;
        assert_eq!(status, 101, "{more}");
        let head = answer.split("\r\n\r\n").next().unwrap();
        let names: Vec<_> =
            head.lines().skip(1).map(|line| line.split(':').next().unwrap().to_lowercase()).collect();
        assert_eq!(names.len(), 4, "{head}");
        for name in ["upgrade", "connection", "sec-websocket-accept", "date"] {
            assert!(names.iter().any(|told| told == name), "{head}");
        }
    }
}

#[tokio::test]
async fn messages_may_be_text_or_binary_and_come_in_parts() {
    let brain = plain().await;
    let mut agent = Agent::connect(&brain).await;
    agent.send(Message::text(hello().to_string())).await;
    assert_eq!(agent.hear().await.frame()["type"], "hello_ack");
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    let batch = json!({"v": 2, "type": "event_batch", "id": "ev_1", "payload": {"events": []}});
    for first in [Data::Text, Data::Binary] {
        let text = agent.sign(&batch).into_bytes();
        let (head, tail) = text.split_at(text.len() / 2);
        let part = |bytes: &[u8], kind, last| {
            Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(kind), last))
        };
        agent.send(part(head, first, false)).await;
        agent.send(Message::Ping("between".into())).await;
        agent.send(part(tail, Data::Continue, true)).await;
        assert_eq!(agent.hear().await.frame()["payload"]["acked_id"], "ev_1");
    }
    assert_eq!(brain.violations(), []);
}

#[tokio::test]
async fn a_token_counts_only_in_its_header() {
    let brain = plain().await;
    let token = brain.credentials().token;
    for authorization in [format!("bearer {token}"), format!("BEARER \t {token} ")] {
        let mut agent = Agent::connect_with(&brain, &authorization).await;
        agent.greet(&hello()).await;
    }
    for authorization in [format!("Basic {token}"), token.clone(), "Bearer ".to_owned()] {
        let mut agent = Agent::connect_with(&brain, &authorization).await;
        assert_eq!(agent.hear().await, closed(4401), "{authorization}");
    }
    assert_eq!(request(&brain, &format!("{POLL}&token={token}"), "", "").await.0, 401);
}

#[tokio::test]
async fn a_first_hello_may_take_its_time() {
    let idle = std::time::Duration::from_millis(50);
    let brain = with_limits(Limits { idle, ping: idle * 4, ..Limits::default() });
    let mut agent = Agent::connect(&brain).await;
    let second = brain.credentials();
    // Another session idles out meanwhile, which is how the time is known to have passed.
    let mut other = Agent::connect_with(&brain, &format!("Bearer {}", second.token)).await;
    other.greet(&hello()).await;
    assert_eq!(other.hear().await, closed(4408));
    agent.greet(&hello()).await;
}

#[tokio::test]
async fn long_poll_says_what_is_wrong_first_things_first() {
    let brain = plain().await;
    let poller = Poller::new(&brain, &"n".repeat(5_000));
    assert_eq!(poller.get(PROBE).await.0, 200, "any text is a nonce");
    let long = "x".repeat(9_000);
    let line = "POST /api/v1/agent/events";
    // 413 before the Host, the Host before the shape, the shape before the token.
    let foreign = |length: usize| {
        let body = &long[..length];
        format!(
            "{line} HTTP/1.1\r\nHost: odd.invalid\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    assert_eq!(raw(&brain, &foreign(9_000)).await.0, 413);
    assert_eq!(raw(&brain, &foreign(10)).await.0, 400);
    assert_eq!(request(&brain, line, "Authorization: Bearer wrong\r\n", "{}").await.0, 422);
    for media in ["text/plain", "application/x-www-form-urlencoded"] {
        let headers = format!("{}Content-Type: {media}\r\n", poller.headers());
        assert_eq!(request(&brain, line, &headers, "{\"frames\":[\"x\"]}").await.0, 422, "415 is never said");
    }
    let (_, answer) =
        request(&brain, line, &format!("{}Content-Type: application/json\r\n", poller.headers()), &long)
            .await;
    assert!(
        answer.contains("content_length_exceeded") && !answer.to_lowercase().contains("x-request-id"),
        "{answer}"
    );
}

#[tokio::test]
async fn project_names_are_checked_where_they_are_said() {
    let brain = start(Options { tls: false, project: "picker".to_owned(), ..Options::default() }).await;
    let mut named = hello();
    named["payload"]["project_id"] = json!("picker");
    let mut agent = Agent::connect(&brain).await;
    assert_eq!(agent.greet(&named).await["payload"]["project_slug"], "picker");
    named["payload"]["project_id"] = json!("other");
    let mut agent = Agent::connect(&brain).await;
    agent.say(named.to_string()).await;
    assert_eq!(agent.hear().await, Heard::Close(4403, "project_mismatch".to_owned()));
    // Who does not say one is not told one.
    let mut agent = Agent::connect(&brain).await;
    assert!(agent.greet(&hello()).await["payload"].get("project_slug").is_none());
}
