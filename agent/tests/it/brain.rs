//! Servers: one that answers connections as it is told, and a small brain.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocket};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use z4j_protocol::payload::HelloFrame;
use z4j_protocol::{Binding, FrameType, HmacSecret, Signer, Timestamp, Value, Verifier, unsigned_frame};

use crate::world::{Outcome, SECRET};

/// Both ends of anything.
pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// Serves every connection with a function, in a thread of its own; returns the port.
pub(crate) fn serve(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> Outcome<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || answer(stream));
        }
    });
    Ok(port)
}

/// A port on which nothing listens.
pub(crate) fn dead_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Reads the head of a request.
pub(crate) fn read_head(stream: &mut dyn Stream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads the body of a request: closing with unread data would reset the connection.
pub(crate) fn read_body(stream: &mut dyn Stream, head: &str) -> String {
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
    let mut body = String::new();
    let _ = stream.take(length).read_to_string(&mut body);
    body
}

/// Answers each request with the text that a function has for its path.
pub(crate) fn serve_http(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Outcome<u16> {
    serve(move |mut stream| {
        let head = read_head(&mut stream);
        read_body(&mut stream, &head);
        let path = head.split(' ').nth(1).unwrap_or_default();
        let _ = stream.write_all(answer(path).as_bytes());
    })
}

/// An HTTP answer.
pub(crate) fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nServer: nginx\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The 101 to a request.
pub(crate) fn switching(head: &str) -> String {
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
    let accept = derive_accept_key(key.trim().as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// How a brain behaves.
#[derive(Clone, Copy, Default)]
pub(crate) struct Manners {
    /// The slug in hello_ack.
    pub(crate) slug: Option<&'static str>,
    /// Whether it sends a command before the ack.
    pub(crate) command: bool,
    /// How far its clock is ahead, in seconds.
    pub(crate) ahead: i64,
    /// Its protocol version, where that is not ours.
    pub(crate) version: Option<&'static str>,
}

/// A brain of one session, and what it saw.
pub(crate) struct Brain {
    pub(crate) url: String,
    pub(crate) seen: Receiver<Seen>,
}

/// What a session was like.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) hello: Option<HelloFrame>,
    /// Types and payloads of the signed frames.
    pub(crate) frames: Vec<(String, serde_json::Value)>,
    pub(crate) close_code: Option<u16>,
}

impl Brain {
    pub(crate) fn start(tls: Option<Arc<ServerConfig>>, manners: Manners) -> Outcome<Self> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (sender, seen) = mpsc::channel();
        let port = serve(move |stream| {
            let session = match &tls {
                None => session(stream, manners, &sender),
                Some(config) => secure(stream, config).and_then(|stream| session(stream, manners, &sender)),
            };
            // A client that goes away is no concern of the server's.
            drop(session);
        })?;
        Ok(Self { url: format!("{scheme}://127.0.0.1:{port}/"), seen })
    }
}

/// A TLS stream over a connection; the handshake happens with the first read.
pub(crate) fn secure(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
) -> Outcome<StreamOwned<ServerConnection, TcpStream>> {
    Ok(StreamOwned::new(ServerConnection::new(Arc::clone(config))?, stream))
}

#[expect(clippy::disallowed_methods, reason = "the server's clock")]
pub(crate) fn now(manners: Manners) -> Timestamp {
    Timestamp::from(std::time::SystemTime::now()).plus_seconds(manners.ahead)
}

fn session(mut stream: impl Stream, manners: Manners, sender: &Sender<Seen>) -> Outcome {
    let head = read_head(&mut stream);
    stream.write_all(switching(&head).as_bytes())?;
    stream.flush()?;
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
    let mut seen = Seen { head, ..Seen::default() };
    let spoken = speak(&mut socket, manners, &mut seen);
    let _ = sender.send(seen);
    spoken
}

/// The ids that this brain binds signatures to.
fn binding() -> Binding {
    Binding {
        agent_id: "44c7ca73-5a51-496c-84a8-8e60a719ff98".into(),
        project_id: "fb76ac03-c5fe-4c21-95cc-b9d59cf3f2bc".into(),
        session_id: "session".into(),
    }
}

fn hello_ack(manners: Manners) -> Outcome<Message> {
    let ids = binding();
    let mut payload = serde_json::json!({
        "protocol_version": manners.version.unwrap_or("2"),
        "brain_version": "1.13.0",
        "agent_id": ids.agent_id,
        "project_id": ids.project_id,
        "session_id": ids.session_id,
    });
    if let Some(slug) = manners.slug {
        payload["project_slug"] = slug.into();
    }
    let payload = Value::from_serialize(&payload)?;
    let ack = unsigned_frame(FrameType::HelloAck, "hack_1", payload, now(manners))?;
    Ok(Message::Text(Utf8Bytes::from(ack)))
}

/// Takes a connection through the handshake: a session, and what signs in it.
pub(crate) fn welcome(mut stream: TcpStream) -> Outcome<(WebSocket<TcpStream>, Signer)> {
    let head = read_head(&mut stream);
    stream.write_all(switching(&head).as_bytes())?;
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
    socket.read()?;
    socket.send(hello_ack(Manners::default())?)?;
    Ok((socket, Signer::new(&HmacSecret::parse(SECRET)?, binding())))
}

fn speak(socket: &mut WebSocket<impl Stream>, manners: Manners, seen: &mut Seen) -> Outcome {
    let Message::Binary(hello) = socket.read()? else { return Ok(()) };
    seen.hello = Some(HelloFrame::parse(&hello)?);
    socket.send(hello_ack(manners)?)?;
    let secret = HmacSecret::parse(SECRET)?;
    let mut verifier = Verifier::new(&secret, binding());
    let mut signer = Signer::new(&secret, binding());
    loop {
        let bytes = match socket.read()? {
            Message::Binary(bytes) => bytes,
            Message::Close(frame) => {
                seen.close_code = frame.map(|frame| frame.code.into());
                // Flushes the answer.
                let _ = socket.read();
                return Ok(());
            }
            _ => continue,
        };
        let Ok(frame) = verifier.verify(&bytes, now(manners)) else {
            socket.close(Some(CloseFrame { code: 4403.into(), reason: Utf8Bytes::default() }))?;
            let _ = socket.read();
            return Ok(());
        };
        let payload = frame.object().get("payload").map(Value::to_canonical).transpose()?;
        let payload = serde_json::from_str(&payload.unwrap_or_default())?;
        seen.frames.push((frame.frame_type().to_string(), payload));
        if frame.frame_type() == FrameType::EventBatch {
            for answer in batch_answers(&mut signer, manners, frame.id().unwrap_or_default())? {
                socket.send(answer)?;
            }
        }
    }
}

/// A command, where the manners say so, and the ack.
fn batch_answers(signer: &mut Signer, manners: Manners, id: &str) -> Outcome<Vec<Message>> {
    let command = serde_json::json!({
        "action": "retry_task", "target": {"type": "task", "id": "t"},
        "parameters": {}, "timeout_seconds": 60, "delivery_claim_token": "claim",
    });
    let ack = serde_json::json!({ "acked_id": id, "received": 0, "accepted": 0, "rejected": 0 });
    let command_id = "4c5f2f0e-3e1b-4d7e-9a51-0c2f3f1f9d11";
    let command = manners.command.then_some((FrameType::Command, command_id, command, [1; 16]));
    let answers = command.into_iter().chain([(FrameType::EventBatchAck, "ack_1", ack, [2; 16])]);
    let signed = answers.map(|(kind, id, payload, nonce)| {
        let payload = Value::from_serialize(&payload)?;
        let text = signer.sign(kind, id, payload, now(manners), nonce)?;
        Ok(Message::binary(text.into_bytes()))
    });
    signed.collect()
}
