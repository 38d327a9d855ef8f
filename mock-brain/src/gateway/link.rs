//! One WebSocket connection: messages in, messages out, keep-alive pings, and the close.
//!
//! Owns message sizes and the transport's own errors. Must not know frames.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use z4j_protocol::close;

use crate::hub::Limits;
use crate::stream::Stream;
use crate::verdict::Closing;
use crate::violation::Rule;
use crate::voice::Quirks;

/// Most bytes of a ping (RFC 6455, 5.5).
const MAX_CONTROL: usize = 125;
/// Largest message that is read at all.
const MAX_MESSAGE: usize = 16 << 20;
/// Read buffer of a connection, in bytes: all of it is resident, and there may be thousands. A longer message
/// gets a buffer of its own.
const READ_BUFFER: usize = 4 << 10;
/// Most bytes that wait to be written: a frame of ours (commands are bounded), and what pongs there is room for.
/// Peers may ping as fast as they like and read nothing.
const MAX_UNSENT: usize = 2 << 20;
/// How long a message may take to be written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What arrived.
pub(super) enum Arrival {
    /// A text or binary message within the frame limit.
    Message(Bytes),
    /// A text that is not UTF-8.
    NotUtf8,
    /// A message over the frame limit.
    OverLimit,
    /// Something that ends the connection with this close frame.
    Fatal(Closing),
    /// The peer's close frame.
    Closed(Option<Closing>),
    /// The connection ended without one.
    Gone(String),
}

/// A WebSocket connection.
pub(super) struct Link {
    /// Boxed: it would be moved, and have its room, in every future that the link goes through.
    socket: Box<WebSocketStream<Stream>>,
    limits: Limits,
    next_ping: Instant,
    pong_missing: bool,
    /// A message came since the last ping.
    heard: bool,
    /// A ping was answered since the last message.
    answers: bool,
    /// The last message was a text.
    text: bool,
    quirks: Option<Quirks>,
    /// The stream of messages ended in an error: the peer's close frame can no longer be read as one.
    broken: bool,
}

impl Link {
    pub(super) async fn new(
        stream: Stream,
        already_read: Vec<u8>,
        limits: Limits,
        quirks: Option<Quirks>,
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_UNSENT)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let socket = WebSocketStream::from_partially_read(stream, already_read, Role::Server, Some(config));
        Self {
            socket: Box::new(socket.await),
            limits,
            next_ping: Instant::now() + limits.ping,
            pong_missing: false,
            heard: false,
            answers: false,
            text: false,
            quirks,
            broken: false,
        }
    }

    /// The next message. May be dropped at any await without losing one.
    pub(super) async fn next(&mut self) -> Arrival {
        loop {
            tokio::select! {
                message = self.socket.next() => {
                    if let Some(arrival) = self.arrived(message) {
                        return arrival;
                    }
                }
                () = sleep_until(self.next_ping) => {
                    if self.pong_missing {
                        let closing = Closing::with_reason(close::INTERNAL, "keepalive ping timeout", "");
                        // A network that is cut answers nothing at all, and is not the agent's.
                        let rule = self.heard.then_some(Rule::WsPongMissing);
                        return Arrival::Fatal(Closing { rule, ..closing });
                    }
                    self.next_ping = Instant::now() + self.limits.ping;
                    (self.pong_missing, self.heard) = (true, false);
                    // RFC 6455, 5.5.2: any payload; the real brain sends four bytes.
                    let length = self.quirks.as_mut().map_or(4, |quirks| quirks.size(MAX_CONTROL));
                    let ping = Message::Ping(Bytes::copy_from_slice(&crate::random::bytes::<MAX_CONTROL>()[..length]));
                    if let Err(gone) = self.write(ping).await {
                        return gone;
                    }
                }
            }
        }
    }

    fn arrived(&mut self, message: Option<Result<Message, Error>>) -> Option<Arrival> {
        Some(match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                self.text = message.is_text();
                (self.heard, self.answers) = (true, false);
                let bytes = message.into_data();
                if bytes.len() as u64 > self.limits.frame_bytes {
                    return Some(Arrival::OverLimit);
                }
                Arrival::Message(bytes)
            }
            Some(Ok(Message::Pong(_))) => {
                (self.pong_missing, self.answers) = (false, true);
                return None;
            }
            Some(Ok(Message::Close(frame))) => {
                Arrival::Closed(frame.map(|frame| {
                    Closing::with_reason(frame.code.into(), frame.reason.as_str(), String::new())
                }))
            }
            Some(Ok(Message::Ping(_) | Message::Frame(_))) => return None,
            Some(Err(error)) => {
                self.broken = true;
                failed(&error)
            }
            None => Arrival::Gone("the connection ended".to_owned()),
        })
    }

    /// Whether the last message was a text.
    pub(super) const fn was_text(&self) -> bool {
        self.text
    }

    /// Whether the peer answers pings and sends no messages.
    pub(super) const fn only_answers(&self) -> bool {
        self.answers
    }

    /// Sends a message; an error is how the connection ended.
    pub(super) async fn send(&mut self, bytes: Bytes) -> Result<(), Arrival> {
        // All messages of the brain are binary (protocol.md, Transports).
        let Some(quirks) = &mut self.quirks else { return self.write(Message::Binary(bytes)).await };
        for message in odd_messages(quirks, bytes) {
            self.write(message).await?;
        }
        Ok(())
    }

    async fn write(&mut self, message: Message) -> Result<(), Arrival> {
        match timeout(WRITE_TIMEOUT, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Arrival::Gone(error.to_string())),
            Err(_) => Err(Arrival::Gone("the peer does not read".to_owned())),
        }
    }

    /// Sends a close frame, waits for the peer's, and ends the connection.
    pub(super) async fn close(mut self, closing: &Closing) {
        let frame = CloseFrame { code: closing.code.into(), reason: closing.reason.as_str().into() };
        let broken = self.broken;
        let farewell = async {
            self.socket.send(Message::Close(Some(frame))).await.ok()?;
            while !broken && self.socket.next().await?.is_ok() {}
            broken.then_some(())
        };
        let unread = timeout(self.limits.close, farewell).await;
        if let Ok(Some(())) = unread {
            drain(self.socket.into_inner(), self.limits.close).await;
        }
    }

    /// Answers the peer's close frame.
    pub(super) async fn finish(mut self) {
        let farewell = async { while self.socket.next().await.is_some_and(|message| message.is_ok()) {} };
        let _ = timeout(self.limits.close, farewell).await;
    }

    /// Ends the connection with a RST.
    pub(super) fn reset(self) {
        self.socket.into_inner().reset();
    }

    /// The TCP connection beneath, to be kept open without a word.
    pub(super) fn into_socket(self) -> Option<TcpStream> {
        self.socket.into_inner().into_socket()
    }
}

/// A message as a text or a binary one, perhaps in several frames with control frames in between (RFC 6455, 5.4).
fn odd_messages(quirks: &mut Quirks, bytes: Bytes) -> Vec<Message> {
    let kind = if quirks.one_in(2) { Data::Text } else { Data::Binary };
    let mut out = Vec::new();
    if quirks.one_in(8) {
        out.push(Message::Pong(Bytes::from_static(b"nobody asked")));
    }
    let (mut left, mut kind) = (bytes, kind);
    while quirks.one_in(2) && left.len() > 1 {
        let part = left.split_to(1 + quirks.size(left.len() - 2));
        out.push(Message::Frame(Frame::message(part, OpCode::Data(kind), false)));
        kind = Data::Continue;
        if quirks.one_in(4) {
            out.push(Message::Ping(Bytes::from_static(b"between")));
        }
    }
    out.push(Message::Frame(Frame::message(left, OpCode::Data(kind), true)));
    out
}

/// Reads what the peer still sends. Closing with bytes unread would send a RST, and that can overtake the
/// close frame (RFC 1122, 4.2.2.13).
async fn drain(mut stream: Stream, limit: Duration) {
    let _ = stream.shutdown().await;
    let mut buffer = vec![0; READ_BUFFER];
    let reading = async { while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {} };
    let _ = timeout(limit, reading).await;
}

fn failed(error: &Error) -> Arrival {
    match error {
        Error::Utf8(_) => Arrival::NotUtf8,
        Error::Capacity(_) => {
            let reason = format!("frame exceeds limit of {MAX_MESSAGE} bytes");
            Arrival::Fatal(Closing::with_reason(close::TOO_BIG, &reason, "").breaking(Rule::WsTooLarge))
        }
        // RFC 6455, 7.4.1: 1002, protocol error. An end without a close frame is none that can be answered.
        Error::Protocol(problem) => match problem {
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake => {
                Arrival::Gone(error.to_string())
            }
            _ => Arrival::Fatal(Closing::new(1002, error.to_string()).breaking(Rule::WsProtocol)),
        },
        _ => Arrival::Gone(error.to_string()),
    }
}
