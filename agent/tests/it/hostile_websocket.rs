//! Brains that attack over a WebSocket: in the upgrade, with frames, and as a peer that signs what it sends.

use std::io::Write;
use std::net::TcpStream;

use tokio_tungstenite::tungstenite::Message;
use z4j_protocol::{FrameType, Timestamp, Value};

use crate::brain::{read_head, switching, welcome};
use crate::hostile::{Attack, BEHAVES, answer, pour, survives, until_gone};
use crate::world::Outcome;

/// A head, and bytes behind an upgraded connection.
fn upgraded(mut stream: TcpStream, first: &[u8], piece: &[u8]) -> Outcome {
    let head = read_head(&mut stream);
    stream.write_all(switching(&head).as_bytes())?;
    stream.write_all(first)?;
    if piece.is_empty() { until_gone(&mut stream) } else { pour(&mut stream, piece) }
}

fn text(stream: TcpStream, text: &str) -> Outcome {
    let length = u64::try_from(text.len())?.to_be_bytes();
    upgraded(stream, &[b"\x81\x7f".as_slice(), &length, text.as_bytes()].concat(), b"")
}

#[expect(clippy::disallowed_methods, reason = "the server's clock")]
fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

/// Acknowledgements that are signed, for batches that were never sent.
fn acks(stream: TcpStream) -> Outcome {
    let (mut socket, mut signer) = welcome(stream)?;
    for index in 0_u32..20_000 {
        let payload = serde_json::json!({
            "acked_id": format!("nobody-{index}"), "received": 1, "accepted": 1, "rejected": 0,
        });
        let mut nonce = [0; 16];
        nonce[..4].copy_from_slice(&index.to_be_bytes());
        let payload = Value::from_serialize(&payload)?;
        let ack = signer.sign(FrameType::EventBatchAck, &format!("a{index}"), payload, now(), nonce)?;
        socket.send(Message::binary(ack.into_bytes()))?;
    }
    Ok(())
}

/// Commands that are signed, more than anybody could carry out.
fn commands(stream: TcpStream) -> Outcome {
    let (mut socket, mut signer) = welcome(stream)?;
    for index in 0_u32..5_000 {
        let payload = serde_json::json!({
            "action": "retry_task", "target": {"type": "task", "id": "t".repeat(1_000)},
            "parameters": {}, "timeout_seconds": 60, "delivery_claim_token": "claim",
        });
        let mut nonce = [1; 16];
        nonce[..4].copy_from_slice(&index.to_be_bytes());
        let id = format!("4c5f2f0e-3e1b-4d7e-9a51-0000{index:08x}");
        let command = signer.sign(FrameType::Command, &id, Value::from_serialize(&payload)?, now(), nonce)?;
        socket.send(Message::binary(command.into_bytes()))?;
    }
    Ok(())
}

/// Pings as fast as they go, whose pongs nobody reads.
fn pings(stream: TcpStream) -> Outcome {
    let (mut socket, _) = welcome(stream)?;
    let ping = [b"\x89\x7d".as_slice(), &[b'x'; 125]].concat();
    pour(socket.get_mut(), &ping.repeat(100))
}

/// Waits for the events, which were safe all the time.
fn behaves(stream: TcpStream) -> Outcome {
    let (mut socket, _) = welcome(stream)?;
    while !socket.read()?.to_text().is_ok_and(|text| text.contains("\"event_batch\"")) {}
    Ok(())
}

const WEBSOCKET: &[Attack] = &[
    ("a head without end", |stream| answer(stream, "HTTP/1.1 101 Yes\r\n", &b"A: b\r\n".repeat(1_000))),
    ("a line without end", |stream| answer(stream, "HTTP/1.1 101 Yes\r\nA: ", &[b'b'; 1 << 16])),
    ("interim answers without end", |stream| {
        answer(stream, "", &b"HTTP/1.1 103 Early\r\n\r\n".repeat(1_000))
    }),
    ("no HTTP", |stream| answer(stream, "", &[0xff; 1 << 16])),
    ("a refusal without end", |stream| answer(stream, "HTTP/1.1 403 No\r\n\r\n", &[b'x'; 1 << 16])),
    ("a frame of 2^62 bytes", |stream| {
        upgraded(stream, &[b"\x82\x7f".as_slice(), &(1_u64 << 62).to_be_bytes()].concat(), b"")
    }),
    ("a frame of a gibibyte", |stream| {
        upgraded(stream, &[b"\x82\x7f".as_slice(), &(1_u64 << 30).to_be_bytes()].concat(), &[b' '; 1 << 16])
    }),
    ("fragments without end", |stream| {
        upgraded(stream, b"\x01\x00", &[b"\x00\x7e\x10\x00".as_slice(), &[b' '; 4096]].concat())
    }),
    ("fragments of nothing", |stream| upgraded(stream, b"\x01\x00", &b"\x00\x00".repeat(1_000))),
    ("a million arrays", |stream| text(stream, &"[".repeat(1_000_000))),
    ("350,000 empty arrays", |stream| text(stream, &format!("[{}0]", "[],".repeat(349_000)))),
    ("90,000 keys", |stream| {
        let keys: String = (0..90_000).map(|index| format!("\"{index:06}\":0,")).collect();
        text(stream, &format!("{{{keys}\"v\":2}}"))
    }),
    ("pings without end", pings),
    ("acknowledgements without end", acks),
    ("commands without end", commands),
    (BEHAVES, behaves),
];

#[test]
fn over_a_websocket() -> Outcome {
    survives("ws", WEBSOCKET, 48)
}
