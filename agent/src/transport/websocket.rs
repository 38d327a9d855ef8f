//! The WebSocket: the upgrade by hand, messages by tungstenite.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, error::ProtocolError};

use super::{USER_AGENT, random_bytes};
use crate::net::Break;
use crate::net::budget::Budget;
use crate::net::http::{self, Answer, Request};
use crate::net::route::{Duplex, Link, Route};
use crate::secret::Token;

/// Largest message that is taken from a brain, in bytes.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Most bytes that wait to be written: a frame of ours and more, and what pongs there is room for. A brain may ping
/// as fast as it likes and read nothing.
const MAX_UNSENT_BYTES: usize = 4 << 20;

/// An open WebSocket.
pub(crate) struct Socket {
    stream: WebSocketStream<Box<dyn Duplex>>,
    heard_at: Instant,
}

/// Why there is no WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UpgradeFailure {
    /// The answer was not 101.
    Answered(Answer),
    /// 101 with a `Sec-WebSocket-Accept` that does not belong to our key.
    BadAccept(Option<String>),
    /// 101 with an extension or subprotocol that we did not offer: the header line.
    Forced(String),
    /// There was no answer.
    NoAnswer(http::Failure),
}

/// What came next over a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A message.
    Message(Vec<u8>),
    /// A close frame.
    Closed {
        /// Its code; none in an empty one.
        code: Option<u16>,
        /// Its reason.
        reason: String,
    },
    /// The connection ended without one, or broke the protocol.
    Broken(Break),
}

/// Upgrades a connection (protocol.md, Transports; RFC 6455, section 4).
///
/// # Errors
/// What came instead of a proper 101.
pub(crate) async fn upgrade(
    mut link: Link,
    route: &Route,
    token: &Token,
) -> Result<(Socket, Answer), UpgradeFailure> {
    let key = STANDARD.encode(random_bytes());
    let request = Request {
        method: "GET",
        target: format!("{}/ws/agent", route.url.prefix()),
        headers: vec![
            ("Upgrade", "websocket".to_owned()),
            ("Connection", "Upgrade".to_owned()),
            ("Sec-WebSocket-Key", key.clone()),
            ("Sec-WebSocket-Version", "13".to_owned()),
            ("Authorization", token.bearer()),
            ("User-Agent", USER_AGENT.to_owned()),
        ],
        body: None,
    };
    let (stream, budget) = (&mut *link.stream, &route.budget);
    let sent = http::send(stream, &route.url.host_header(), &request, budget).await;
    sent.map_err(UpgradeFailure::NoAnswer)?;
    let (mut answer, rest) = http::read_head(stream, budget).await.map_err(UpgradeFailure::NoAnswer)?;
    if answer.status != 101 {
        http::read_body(stream, &mut answer, rest, budget).await;
        return Err(UpgradeFailure::Answered(answer));
    }
    let accept = answer.header("sec-websocket-accept").map(str::to_owned);
    if accept.as_deref() != Some(derive_accept_key(key.as_bytes()).as_str()) {
        return Err(UpgradeFailure::BadAccept(accept));
    }
    for name in ["sec-websocket-extensions", "sec-websocket-protocol"] {
        if let Some(value) = answer.header(name) {
            return Err(UpgradeFailure::Forced(format!("{name}: {value}")));
        }
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .max_write_buffer_size(MAX_UNSENT_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let socket = WebSocketStream::from_partially_read(link.stream, rest, Role::Client, Some(config)).await;
    Ok((Socket { stream: socket, heard_at: Instant::now() }, answer))
}

impl Socket {
    /// Sends one frame, as a binary message.
    ///
    /// # Errors
    /// The connection ended.
    pub(crate) async fn send(&mut self, frame: String, budget: &Budget) -> Result<(), Break> {
        match budget.bound(self.stream.send(Message::binary(frame.into_bytes()))).await {
            Err(up) => Err(up.into()),
            Ok(Err(error)) => Err(read_error(&error)),
            Ok(Ok(())) => Ok(()),
        }
    }

    /// Waits for the next message.
    pub(crate) async fn receive(&mut self, budget: &Budget) -> Incoming {
        budget.bound(self.next()).await.unwrap_or_else(|up| Incoming::Broken(up.into()))
    }

    /// Sends a ping.
    ///
    /// # Errors
    /// The connection ended.
    pub(crate) async fn ping(&mut self, budget: &Budget) -> Result<(), Break> {
        let ping = Message::Ping(Bytes::new());
        match budget.bound(self.stream.send(ping)).await {
            Err(up) => Err(up.into()),
            Ok(Err(error)) => Err(read_error(&error)),
            Ok(Ok(())) => Ok(()),
        }
    }

    /// When the peer last sent anything, a pong included.
    pub(crate) const fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// The next message, however long it takes. Nothing is lost if this is given up.
    pub(crate) async fn next(&mut self) -> Incoming {
        loop {
            let next = self.stream.next().await;
            if matches!(next, Some(Ok(_))) {
                self.heard_at = Instant::now();
            }
            match next {
                None => return Incoming::Broken(Break::Closed),
                Some(Err(error)) => return Incoming::Broken(read_error(&error)),
                Some(Ok(Message::Text(text))) => return Incoming::Message(text.as_bytes().to_vec()),
                Some(Ok(Message::Binary(bytes))) => return Incoming::Message(bytes.to_vec()),
                Some(Ok(Message::Close(frame))) => return closed(frame),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            }
        }
    }

    /// Closes with 1000, and waits for the peer to agree.
    pub(crate) async fn close(mut self, budget: &Budget) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let farewell = async {
            if self.stream.close(Some(frame)).await.is_ok() {
                while let Incoming::Message(_) = self.next().await {}
            }
        };
        let _ = budget.bound(farewell).await;
    }
}

fn closed(frame: Option<CloseFrame>) -> Incoming {
    match frame {
        None => Incoming::Closed { code: None, reason: String::new() },
        Some(frame) => {
            Incoming::Closed { code: Some(frame.code.into()), reason: frame.reason.as_str().to_owned() }
        }
    }
}

fn read_error(error: &Error) -> Break {
    match error {
        Error::Io(error) => Break::from_io(error),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Break::Closed,
        other => Break::Other(other.to_string()),
    }
}
