//! One simulated agent's end of a session: connect, upgrade, hello, and signed frames both ways.
//!
//! Owns the words for why a session does not come about or ends. Every frame of the brain is verified, as an
//! agent does.

use std::io;

use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use z4j_protocol::payload::{Hello, HelloAck, Host};
use z4j_protocol::{
    Binding, CanonicalText, Frame, FrameType, PROTOCOL_VERSION_TEXT, Signer, Value, Verifier, close,
    unsigned_frame,
};

use super::identity::Identity;
use super::target::{Bytes, Target};
use crate::{clock, random};

/// Read buffer of a connection, in bytes: what comes is small, and there are thousands.
const READ_BUFFER: usize = 4 << 10;
/// Largest message that is read.
const MAX_MESSAGE: usize = 1 << 20;

/// Why there is no session, or none any more.
pub(super) type Reason = String;

/// An agent's end of a session.
pub(super) struct Session {
    socket: WebSocketStream<Box<dyn Bytes>>,
    signer: Signer,
    verifier: Verifier,
    pub(super) ack: HelloAck,
}

impl Session {
    /// Connects, and says hello as a worker.
    pub(super) async fn open(target: &Target, identity: &Identity, worker: &str) -> Result<Self, Reason> {
        let stream = target.connect().await.map_err(|error| failed_io("connect", &error))?;
        let mut request = target.gateway().into_client_request().map_err(|error| failed(&error))?;
        let bearer = HeaderValue::from_str(&format!("Bearer {}", identity.token.0));
        let mut bearer = bearer.map_err(|_| "the token cannot stand in a header".to_owned())?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let upgraded = client_async_with_config(request, stream, Some(config)).await;
        let (mut socket, _) = upgraded.map_err(|error| failed(&error))?;
        let hello = Value::from_serialize(&hello(identity, worker)).map_err(|error| error.to_string())?;
        let hello = unsigned_frame(FrameType::Hello, "hello_load", hello, clock::now());
        let hello = hello.map_err(|error| error.to_string())?;
        socket.send(Message::binary(hello.into_bytes())).await.map_err(|error| failed(&error))?;
        let ack = loop {
            if let Some(bytes) = message(socket.next().await)? {
                break read_ack(&bytes)?;
            }
        };
        let binding = Binding {
            agent_id: ack.agent_id.clone(),
            project_id: ack.project_id.clone(),
            session_id: ack.session_id.clone(),
        };
        let signer = Signer::new(&identity.secret, binding.clone());
        let verifier = Verifier::new(&identity.secret, binding);
        Ok(Self { socket, signer, verifier, ack })
    }

    /// The next frame that was signed. May be dropped at any await without losing one.
    pub(super) async fn next(&mut self) -> Result<Frame, Reason> {
        loop {
            let Some(bytes) = message(self.socket.next().await)? else { continue };
            let frame = self.verifier.verify(&bytes, clock::now());
            let frame =
                frame.map_err(|refusal| format!("a frame of the brain does not verify: {refusal}"))?;
            if frame.frame_type().is_signed() {
                return Ok(frame);
            }
        }
    }

    /// Signs a frame and sends it.
    pub(super) async fn send(
        &mut self,
        kind: FrameType,
        id: &str,
        payload: &CanonicalText,
    ) -> Result<(), Reason> {
        let text = self.signer.sign_text(kind, id, payload, clock::now(), random::bytes());
        self.socket.send(Message::binary(text.into_bytes())).await.map_err(|error| failed(&error))
    }

    /// Says farewell.
    pub(super) async fn close(mut self) {
        let frame = CloseFrame { code: close::NORMAL.into(), reason: "".into() };
        if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
            while self.socket.next().await.is_some_and(|message| message.is_ok()) {}
        }
    }
}

fn hello(identity: &Identity, worker: &str) -> Hello {
    Hello {
        protocol_version: PROTOCOL_VERSION_TEXT.to_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        framework: "bare".to_owned(),
        engines: vec!["celery".to_owned()],
        host: Host { name: Some("load".to_owned()) },
        worker_id: Some(worker.to_owned()),
        worker_pid: Some(u64::from(std::process::id())),
        project_id: identity.project.clone(),
        ..Hello::default()
    }
}

fn read_ack(bytes: &[u8]) -> Result<HelloAck, Reason> {
    let told = || "the first answer is no hello_ack".to_owned();
    let frame = Value::parse(bytes).map_err(|_| told())?;
    if frame.get("type").and_then(Value::as_str) != Some(FrameType::HelloAck.as_str()) {
        return Err(told());
    }
    let ack = frame.get("payload").and_then(|payload| payload.deserialize::<HelloAck>().ok());
    let ack = ack.ok_or_else(told)?;
    if ack.speaks_our_version() { Ok(ack) } else { Err("the brain speaks another version".to_owned()) }
}

/// The bytes of a message; none of one that is of the transport.
fn message(message: Option<Result<Message, Error>>) -> Result<Option<bytes::Bytes>, Reason> {
    match message {
        Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => Ok(Some(message.into_data())),
        Some(Ok(Message::Close(frame))) => Err(frame.map_or_else(
            || "closed without a code".to_owned(),
            |frame| closed(frame.code.into(), frame.reason.as_str()),
        )),
        Some(Ok(_)) => Ok(None),
        Some(Err(error)) => Err(failed(&error)),
        None => Err("the connection ended".to_owned()),
    }
}

/// A close frame in words: its reason says more than its code, where it has one.
fn closed(code: u16, reason: &str) -> Reason {
    let words: String = reason.chars().filter(|c| !c.is_control()).take(60).collect();
    let meaning = if words.is_empty() { close::meaning(code).unwrap_or("").to_owned() } else { words };
    format!("close {code}: {meaning}").trim_end_matches([' ', ':']).to_owned()
}

/// An error in words that are the same for all connections.
fn failed(error: &Error) -> Reason {
    match error {
        Error::Http(response) => format!("upgrade answered {}", response.status()),
        Error::Io(error) => failed_io("connection", error),
        Error::ConnectionClosed | Error::AlreadyClosed => "the connection ended".to_owned(),
        error => error.to_string().chars().take(120).collect(),
    }
}

fn failed_io(what: &str, error: &io::Error) -> Reason {
    let text = match error.raw_os_error() {
        Some(number) => format!("{what}: {}", nix::Error::from_raw(number).desc()),
        None => format!("{what}: {error}"),
    };
    text.chars().take(120).collect()
}
