//! A careful client that goes all the way, and tells in a line how far it came.
//!
//! Connect, TLS, the upgrade by hand, hello, one batch with its ack, a ping: what went otherwise than a client
//! may expect is the line, and `good` if nothing did.

use std::io;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use mock_brain::Brain;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use z4j_protocol::{Binding, HmacSecret, Signer, Value, Verifier};

use crate::support::{at, event, hello_with, now, rand, tls, within};

/// How long nothing may come before it is told as silence. Only what is silent for good waits this long.
const SILENCE: Duration = Duration::from_millis(1_200);
const KEY: &str = "x3JJHMbDL1EzLkh9GBhXDw==";

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}
type Stream = Box<dyn Duplex>;

/// How far a client comes at this path.
pub(crate) async fn visit(brain: &Brain, path: &str) -> String {
    match attempt(brain, path).await {
        Ok(line) | Err(line) => line,
    }
}

async fn attempt(brain: &Brain, path: &str) -> Result<String, String> {
    let stream: Stream = if brain.ca_pem().is_some() {
        Box::new(tls(brain, "localhost").await.map_err(|error| format!("tls: {error}"))?)
    } else {
        let connected = within(TcpStream::connect(brain.local_addr())).await;
        Box::new(connected.map_err(|error| format!("connect: {:?}", error.kind()))?)
    };
    let (mut socket, head) = upgrade(stream, brain, path).await?;
    let secret = HmacSecret::parse(&brain.credentials().hmac_secret).unwrap();
    let hello = hello_with("project_id", json!(brain.credentials().project_id));
    let _ = socket.send(Message::text(hello.to_string())).await;
    let ack = heard(&mut socket, "hello").await?;
    let payload = &ack["payload"];
    let text = |key: &str| payload[key].as_str().unwrap_or_default().to_owned();
    if text("protocol_version") != "2" || text("project_id") != brain.credentials().project_uuid {
        return Err(format!(
            "hello: of version {} and project {}",
            text("protocol_version"),
            text("project_slug")
        ));
    }
    let written = ack["ts"].as_str().and_then(|ts| z4j_protocol::Timestamp::parse(ts).ok());
    let skew = written.map_or(0, |written| written.micros_since(now()) / 1_000_000);
    let binding = Binding {
        agent_id: text("agent_id"),
        project_id: text("project_id"),
        session_id: text("session_id"),
    };
    let mut verifier = Verifier::new(&secret, binding.clone());
    let batch = json!({"v": 2, "type": "event_batch", "id": "b1",
        "payload": {"events": [event(&format!("t{:?}", rand()), "task.sent", &at(0))]}});
    let document = Value::parse(batch.to_string().as_bytes()).unwrap();
    let signed = Signer::new(&secret, binding).sign_document(document, now(), rand()).unwrap();
    let _ = socket.send(Message::text(signed)).await;
    let acks = acks(&mut socket, &mut verifier).await.map_err(|end| format!("{end} (clock {skew:+} s)"))?;
    let _ = socket.send(Message::Ping(vec![7].into())).await;
    let pong = within(wait(&mut socket)).await.map_err(|end| format!("ping: {end}"))?;
    let old = if head.starts_with("HTTP/1.0") { " in HTTP/1.0" } else { "" };
    let more = if acks > 1 { format!("good, {acks} acks") } else { "good".to_owned() };
    Ok(if pong { format!("{more}{old}") } else { format!("{more}, no pong") })
}

/// Whether a pong comes.
async fn wait(socket: &mut WebSocketStream<Stream>) -> Result<bool, String> {
    match tokio::time::timeout(SILENCE, socket.next()).await {
        Err(_) => Ok(false),
        Ok(Some(Ok(message))) => Ok(message.is_pong()),
        Ok(Some(Err(error))) => Err(error.to_string()),
        Ok(None) => Err("ended".to_owned()),
    }
}

/// How many acknowledgements of the batch come, the further ones within a moment.
async fn acks(socket: &mut WebSocketStream<Stream>, verifier: &mut Verifier) -> Result<u32, String> {
    let mut count = 0;
    loop {
        let limit = if count == 0 { SILENCE } else { Duration::from_millis(100) };
        let Ok(next) = tokio::time::timeout(limit, socket.next()).await else {
            return if count == 0 { Err("ack: silent".to_owned()) } else { Ok(count) };
        };
        let frame = read(next, "ack")?;
        let Some((bytes, frame)) = frame else { continue };
        verifier.verify(&bytes, now()).map_err(|refusal| format!("ack {}: {refusal}", count + 1))?;
        if frame["type"] != "event_batch_ack" {
            return Err(format!("ack: {} {}", frame["type"], frame["payload"]["code"]));
        }
        if frame["payload"]["acked_id"] != "b1" {
            return Err(format!("ack: for {}", frame["payload"]["acked_id"]));
        }
        count += 1;
    }
}

type Next = Option<Result<Message, tokio_tungstenite::tungstenite::Error>>;

fn read(next: Next, when: &str) -> Result<Option<(Vec<u8>, Json)>, String> {
    match next {
        Some(Ok(Message::Binary(bytes))) => {
            let frame = serde_json::from_slice(&bytes).map_err(|error| format!("{when}: {error}"))?;
            Ok(Some((bytes.to_vec(), frame)))
        }
        Some(Ok(Message::Close(Some(frame)))) => {
            Err(format!("{when}: close {} {}", u16::from(frame.code), frame.reason))
        }
        Some(Ok(_)) => Ok(None),
        Some(Err(error)) => Err(format!("{when}: {error}")),
        None => Err(format!("{when}: ended")),
    }
}

async fn heard(socket: &mut WebSocketStream<Stream>, when: &str) -> Result<Json, String> {
    loop {
        let next = tokio::time::timeout(SILENCE, socket.next()).await;
        if let Some((_, frame)) = read(next.map_err(|_| format!("{when}: silent"))?, when)? {
            return Ok(frame);
        }
    }
}

async fn upgrade(
    mut stream: Stream,
    brain: &Brain,
    path: &str,
) -> Result<(WebSocketStream<Stream>, String), String> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nAuthorization: Bearer {}\r\n\r\n",
        brain.credentials().token
    );
    let _ = stream.write_all(request.as_bytes()).await;
    let (head, rest) = head(&mut stream).await?;
    if !head.starts_with("HTTP/1.1 101 ") {
        let mut body = rest;
        let reading = async { while stream.read_buf(&mut body).await.is_ok_and(|count| count > 0) {} };
        let _ = tokio::time::timeout(Duration::from_millis(100), reading).await;
        return Err(format!("upgrade: {head} {}", String::from_utf8_lossy(&body)));
    }
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
        line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned())
    };
    if header("sec-websocket-accept") != Some(derive_accept_key(KEY.as_bytes())) {
        return Err("upgrade: 101 for another key".to_owned());
    }
    for name in ["sec-websocket-protocol", "sec-websocket-extensions"] {
        if let Some(value) = header(name) {
            return Err(format!("upgrade: 101 with {name}: {value}"));
        }
    }
    let config = WebSocketConfig::default().max_frame_size(Some(1 << 20)).max_message_size(Some(1 << 20));
    let socket = WebSocketStream::from_partially_read(stream, rest, Role::Client, Some(config)).await;
    Ok((socket, head))
}

/// The head of an answer, and what was read behind it.
async fn head(stream: &mut Stream) -> Result<(String, Vec<u8>), String> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        if bytes.len() > 64 << 10 {
            return Err("upgrade: the head does not end".to_owned());
        }
        match tokio::time::timeout(SILENCE, stream.read_buf(&mut bytes)).await {
            Err(_) => return Err("upgrade: silent".to_owned()),
            Ok(Ok(0)) if bytes.is_empty() => return Err("upgrade: ended".to_owned()),
            Ok(Ok(0)) => return Err(format!("upgrade: ended in {:?}", String::from_utf8_lossy(&bytes))),
            Ok(Ok(_)) if !bytes.starts_with(&b"HTTP/1."[..bytes.len().min(7)]) => {
                return Err("upgrade: no HTTP".to_owned());
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Err("upgrade: reset".to_owned());
            }
            Ok(Err(error)) => return Err(format!("upgrade: {error}")),
        }
    }
}
