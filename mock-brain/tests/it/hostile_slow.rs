//! Peers that are slow on purpose (slow-loris): each phase of a connection ends in its time, however many
//! bytes still trickle in, and nobody else waits for it.

use std::time::Duration;

use mock_brain::{Brain, Limits, Options};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::hostile::{frame, header};
use crate::support::{Agent, at, event, hello_with, listener, tcp, tls, with_limits, within};

/// How long a phase may take in these tests.
const SHORT: Duration = Duration::from_millis(300);

/// Sends a byte for each batch of somebody else's that is acknowledged, until the brain ends it. Returns what
/// the brain said.
async fn trickle(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    bytes: &[u8],
    others: &mut Agent<impl AsyncRead + AsyncWrite + Unpin>,
) -> Vec<u8> {
    let mut said = Vec::new();
    let mut bytes = bytes.iter().cycle();
    for turn in 0_u64.. {
        let _ = stream.write_all(&[*bytes.next().unwrap()]).await;
        let _ = stream.flush().await;
        let events = json!([event(&format!("t-{turn}"), "task.sent", &at(0))]);
        assert_eq!(others.batch(events).await.1, 1, "others are served meanwhile");
        // What is there, without waiting for it.
        let read = tokio::time::timeout(Duration::from_millis(1), stream.read_buf(&mut said)).await;
        if let Ok(Ok(0) | Err(_)) = read {
            break;
        }
    }
    said
}

async fn online(brain: &Brain) -> Agent {
    let mut agent = Agent::connect(brain).await;
    agent.greet(&hello_with("worker_id", json!("bystander"))).await;
    agent
}

#[tokio::test]
async fn a_slow_head() {
    let brain = with_limits(Limits { head: SHORT, ..Limits::default() });
    let mut others = online(&brain).await;
    let head = b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let said = within(trickle(&mut tcp(&brain).await, head, &mut others)).await;
    assert!(said.is_empty(), "{}", said.escape_ascii());
}

#[tokio::test]
async fn a_slow_body() {
    let brain = with_limits(Limits { body: SHORT, ..Limits::default() });
    let mut others = online(&brain).await;
    let mut socket = tcp(&brain).await;
    let head = "POST /api/v1/agent/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 8000\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let said = within(trickle(&mut socket, b" ", &mut others)).await;
    assert!(said.starts_with(b"HTTP/1.1 408 "), "{}", said.escape_ascii());
}

#[tokio::test]
async fn a_slow_handshake() {
    let limits = Limits { handshake: SHORT, ..Limits::default() };
    let brain = Brain::start_with(Options::default(), listener(), limits).unwrap();
    let bearer = format!("Bearer {}", brain.credentials().token);
    let stream = tls(&brain, "localhost").await.unwrap();
    let mut others = Agent::over(stream, &brain, "wss", &bearer).await.unwrap();
    others.greet(&hello_with("worker_id", json!("bystander"))).await;
    // A ClientHello of 16,000 bytes, of which none comes to its end.
    let record = [b"\x16\x03\x01\x3e\x80\x01\x00\x3e\x7c\x03\x03".as_slice(), &[0; 16_000]].concat();
    let said = within(trickle(&mut tcp(&brain).await, &record, &mut others)).await;
    assert!(said.is_empty(), "{}", said.escape_ascii());
    for silent in [b"".as_slice(), b"\x16"] {
        let mut socket = tcp(&brain).await;
        socket.write_all(silent).await.unwrap();
        let mut said = Vec::new();
        let _ = within(socket.read_to_end(&mut said)).await;
        assert!(said.is_empty(), "{}", said.escape_ascii());
    }
}

#[tokio::test]
async fn a_slow_frame() {
    let brain = with_limits(Limits { idle: SHORT, ..Limits::default() });
    let mut others = online(&brain).await;
    let whole = [header(0x82, 1 << 20), vec![b' '; 64]].concat();
    let empty = frame(0x00, b"");
    let opened = frame(0x01, b"{");
    for (opening, drops) in [(&[] as &[u8], &whole), (&opened, &empty)] {
        let mut agent = Agent::connect(&brain).await;
        agent.greet(&hello_with("worker_id", json!("slow"))).await;
        let stream = agent.socket.get_mut();
        stream.write_all(opening).await.unwrap();
        // Behind the two bytes of a close frame's head stands its code.
        let said = within(trickle(stream, drops, &mut others)).await;
        assert_eq!(said.get(2..4), Some(4408_u16.to_be_bytes().as_slice()), "{}", said.escape_ascii());
    }
    assert_eq!(brain.sessions().iter().filter(|session| session.close_code == Some(4408)).count(), 2);
}
