//! What an event costs on its way from the buffer to the brain. Run by hand:
//! `cargo test --release -p z4j-agent --lib runtime::websocket::measure -- --ignored --nocapture`

use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use tokio_tungstenite::tungstenite::{Message, WebSocket, accept};
use z4j_protocol::{CanonicalText, FrameType, Value, unsigned_frame};

use super::super::fixtures::{AGENT, Agent, Outcome, PROJECT, keys, now};
use crate::transport::random_bytes;

const EVENTS: usize = 200_000;

/// Acks every batch, unseen.
fn acks(mut socket: WebSocket<TcpStream>) -> Outcome {
    socket.read()?;
    let payload = Value::from_serialize(&serde_json::json!({
        "protocol_version": "2", "brain_version": "1.13.0", "agent_id": AGENT, "project_id": PROJECT,
        "session_id": "session",
    }))?;
    socket
        .send(Message::binary(unsigned_frame(FrameType::HelloAck, "hack", payload, now())?.into_bytes()))?;
    let (mut signer, _) = keys("session")?;
    loop {
        let Message::Binary(bytes) = socket.read()? else { continue };
        // The id stands behind the signature, which has a fixed length.
        let head = String::from_utf8_lossy(&bytes[..130.min(bytes.len())]).into_owned();
        let id = head.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        if !id.starts_with("batch_") {
            continue;
        }
        let payload = CanonicalText::kept(format!(r#"{{"acked_id":"{id}"}}"#));
        let ack = signer.sign_text(FrameType::EventBatchAck, "eba", &payload, now(), random_bytes());
        socket.send(Message::binary(ack.into_bytes()))?;
    }
}

/// CPU time of this thread in seconds.
fn thread_seconds() -> Outcome<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse::<f64>()? / 1e9)
}

#[tokio::test]
#[ignore = "a measurement"]
async fn an_event() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Ok(socket) = accept(stream) {
                let _ = acks(socket);
            }
        }
    });
    let agent = Agent::start(port, "ws", EVENTS).await?;
    // The link has not begun: nothing was waited for since.
    let (cpu, started) = (thread_seconds()?, Instant::now());
    agent.until_buffered(0).await?;
    let (cpu, took) = (thread_seconds()? - cpu, started.elapsed().as_secs_f64());
    let each = cpu / EVENTS as f64 * 1e6;
    println!("{EVENTS} events in {took:.2} s, {each:.2} µs CPU of the link's thread each");
    Ok(())
}
