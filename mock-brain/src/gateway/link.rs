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
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use z4j_protocol::close;

use crate::hub::Limits;
use crate::limits::LARGEST_FRAME;
use crate::stream::framing::Framing;
use crate::stream::served::Served;
use crate::verdict::Closing;
use crate::violation::Rule;
use crate::voice::Quirks;

/// Most bytes of a ping (RFC 6455, 5.5).
const MAX_CONTROL: usize = 125;
/// Largest message that is read at all.
const MAX_MESSAGE: usize = LARGEST_FRAME as usize;
/// Read buffer of a connection, in bytes: all of it is resident, and there may be thousands. A longer message
/// gets a buffer of its own.
const READ_BUFFER: usize = 3 << 10;
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
    /// A message of so many bytes, and the frame limit, which is less. Its bytes are kept aside.
    OverLimit(usize, u64),
    /// Something that ends the connection with this close frame.
    Fatal(Closing),
    /// The peer's close frame.
    Closed(Option<Closing>),
    /// The connection ended without one.
    Gone(String),
    /// A fault ends it, without a close frame.
    Cut,
}

/// What faults make of a WebSocket; all at once, if they say so.
#[derive(Default)]
pub(super) struct Wear {
    /// It is cut once nothing went over it for so long.
    pub(super) idle_cut: Option<Duration>,
    /// It is cut then.
    pub(super) cut_at: Option<Instant>,
    /// A larger message closes it.
    pub(super) max_message: Option<u32>,
    /// What is sent is held back until there are so many bytes.
    pub(super) hold_back: Option<u32>,
    /// Pings are not answered.
    pub(super) mutes_pongs: bool,
}

/// A WebSocket connection.
pub(super) struct Link {
    /// Boxed: it would be moved, and have its room, in every future that the link goes through.
    socket: Box<WebSocketStream<Served>>,
    limits: Limits,
    wear: Wear,
    /// When something went over it last; kept for a cut that counts from then.
    moved_at: Instant,
    /// What is held back.
    held: Vec<Message>,
    next_ping: Instant,
    pong_missing: bool,
    /// When the last ping was sent, and the last one of those that were answered.
    pinged_at: Option<Instant>,
    answered: Option<Instant>,
    /// A message came since the last ping.
    heard: bool,
    /// A ping was answered since the last message.
    answers: bool,
    /// The last message was a text.
    text: bool,
    quirks: Option<Quirks>,
    /// The stream of messages ended in an error: the peer's close frame can no longer be read as one.
    broken: bool,
    /// A message over the frame limit, or the head of a frame that is none, until it is noted.
    refused: Option<Bytes>,
}

impl Link {
    pub(super) async fn new(
        mut stream: Served,
        already_read: Vec<u8>,
        limits: Limits,
        quirks: Option<Quirks>,
    ) -> Self {
        let mut framing = Framing::default();
        framing.heed(&already_read);
        stream.framing = Some(framing);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_UNSENT)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let socket = WebSocketStream::from_partially_read(stream, already_read, Role::Server, Some(config));
        let now = Instant::now();
        Self {
            socket: Box::new(socket.await),
            limits,
            wear: Wear::default(),
            moved_at: now,
            held: Vec::new(),
            next_ping: now + limits.ping,
            pong_missing: false,
            pinged_at: None,
            answered: None,
            heard: false,
            answers: false,
            text: false,
            quirks,
            broken: false,
            refused: None,
        }
    }

    /// Lets faults have their way with it from now on.
    pub(super) fn wear(&mut self, wear: Wear) {
        self.socket.get_mut().mutes_pongs = wear.mutes_pongs;
        self.moved_at = Instant::now();
        self.wear = wear;
    }

    /// When a fault cuts it, if nothing happens before.
    fn cut_at(&self) -> Option<Instant> {
        let idle = self.wear.idle_cut.map(|time| self.moved_at + time);
        [idle, self.wear.cut_at].into_iter().flatten().min()
    }

    fn moved(&mut self) {
        if self.wear.idle_cut.is_some() {
            self.moved_at = Instant::now();
        }
    }

    /// The next message. May be dropped at any await without losing one.
    pub(super) async fn next(&mut self) -> Arrival {
        loop {
            let cut_at = self.cut_at();
            tokio::select! {
                () = until(cut_at) => return Arrival::Cut,
                message = self.socket.next() => {
                    self.moved();
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
                    let now = Instant::now();
                    (self.next_ping, self.pinged_at) = (now + self.limits.ping, Some(now));
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
                if self.wear.max_message.is_some_and(|most| bytes.len() > most as usize) {
                    let closing = Closing::with_reason(close::TOO_BIG, "", "fault ws.max-frame");
                    return Some(Arrival::Fatal(closing));
                }
                if bytes.len() as u64 > self.limits.frame_bytes {
                    let over = Arrival::OverLimit(bytes.len(), self.limits.frame_bytes);
                    self.refused = Some(bytes);
                    return Some(over);
                }
                Arrival::Message(bytes)
            }
            Some(Ok(Message::Pong(_))) => {
                (self.pong_missing, self.answers, self.answered) = (false, true, self.pinged_at);
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
                let framing = self.socket.get_ref().framing.as_ref();
                self.refused = framing.map(|framing| Bytes::copy_from_slice(framing.last_head()));
                failed(&error)
            }
            None => Arrival::Gone("the connection ended".to_owned()),
        })
    }

    /// Whether the last message was a text.
    pub(super) const fn was_text(&self) -> bool {
        self.text
    }

    /// What the peer's frames break without an error.
    pub(super) fn take_breach(&mut self) -> Option<String> {
        self.socket.get_mut().framing.as_mut().and_then(Framing::take_breach)
    }

    /// When the last ping was sent that the peer answered.
    pub(super) fn alive_at(&self) -> Option<std::time::Instant> {
        self.answered.map(Instant::into_std)
    }

    /// What was refused, once: a message over the frame limit, or the head of a frame that is none.
    pub(super) const fn take_refused(&mut self) -> Option<Bytes> {
        self.refused.take()
    }

    /// Whether the peer answers pings and sends no messages.
    pub(super) const fn only_answers(&self) -> bool {
        self.answers
    }

    /// Sends a message; an error is how the connection ended.
    pub(super) async fn send(&mut self, bytes: Bytes) -> Result<(), Arrival> {
        // All messages of the brain are binary (protocol.md, Transports).
        let Some(quirks) = &mut self.quirks else { return self.pass_on(Message::Binary(bytes)).await };
        for message in odd_messages(quirks, bytes) {
            self.pass_on(message).await?;
        }
        Ok(())
    }

    /// Sends a message in two fragments with a ping in between (RFC 6455, 5.4).
    pub(super) async fn send_in_parts(&mut self, mut bytes: Bytes) -> Result<(), Arrival> {
        let first = bytes.split_to(bytes.len() / 2);
        let part = |bytes, kind, is_last| Message::Frame(Frame::message(bytes, OpCode::Data(kind), is_last));
        self.pass_on(part(first, Data::Binary, false)).await?;
        self.pass_on(Message::Ping(Bytes::from_static(b"?"))).await?;
        self.pass_on(part(bytes, Data::Continue, true)).await
    }

    /// Writes a message, unless it is held back.
    async fn pass_on(&mut self, message: Message) -> Result<(), Arrival> {
        let Some(most) = self.wear.hold_back else { return self.write(message).await };
        self.held.push(message);
        if self.held.iter().map(Message::len).sum::<usize>() >= most as usize {
            for message in std::mem::take(&mut self.held) {
                self.write(message).await?;
            }
        }
        Ok(())
    }

    /// Sends bytes that are no message of this library's making.
    pub(super) async fn send_raw(&mut self, bytes: &[u8]) -> Result<(), Arrival> {
        let stream = self.socket.get_mut();
        let write = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        match timeout(WRITE_TIMEOUT, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Arrival::Gone(error.to_string())),
            Err(_) => Err(Arrival::Gone("the peer does not read".to_owned())),
        }
    }

    async fn write(&mut self, message: Message) -> Result<(), Arrival> {
        self.moved();
        match timeout(WRITE_TIMEOUT, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Arrival::Gone(error.to_string())),
            Err(_) => Err(Arrival::Gone("the peer does not read".to_owned())),
        }
    }

    /// Sends a close frame, waits for the peer's, and ends the connection. Of what else comes nothing is kept.
    pub(super) async fn close(mut self, closing: &Closing) {
        let frame = CloseFrame { code: closing.code.into(), reason: closing.reason.as_str().into() };
        let (broken, limit) = (self.broken, self.limits.close);
        if !matches!(timeout(limit, self.socket.send(Message::Close(Some(frame)))).await, Ok(Ok(()))) {
            return;
        }
        let mut stream = self.socket.into_inner();
        if broken {
            let _ = stream.shutdown().await;
        }
        let _ = timeout(limit, discard(stream, !broken)).await;
    }

    /// Answers the peer's close frame.
    pub(super) async fn finish(mut self) {
        let farewell = async { while self.socket.next().await.is_some_and(|message| message.is_ok()) {} };
        let _ = timeout(self.limits.close, farewell).await;
    }

    /// Ends the connection with a RST.
    pub(super) fn reset(self) {
        if let Some(stream) = self.socket.into_inner().into_stream() {
            stream.reset();
        }
    }

    /// The TCP connection beneath, to be kept open without a word.
    pub(super) fn into_socket(self) -> Option<TcpStream> {
        self.socket.into_inner().into_stream()?.into_socket()
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

/// Reads what the peer still sends, to its close frame if that is waited for. Closing with bytes unread would
/// send a RST, and that can overtake our close frame (RFC 1122, 4.2.2.13).
async fn discard(mut stream: Served, to_close: bool) {
    let mut buffer = vec![0; READ_BUFFER];
    let has_closed = |stream: &Served| to_close && stream.framing.as_ref().is_some_and(Framing::has_closed);
    while !has_closed(&stream) && stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What is too large, by its header: its bytes are not read.
fn over_capacity(problem: &CapacityError) -> String {
    match problem {
        CapacityError::MessageTooLong { size, max_size } => {
            format!(
                "a message of {size} bytes by its headers, and the limit is {max_size}; none of it is kept"
            )
        }
        CapacityError::TooManyHeaders => problem.to_string(),
    }
}

fn failed(error: &Error) -> Arrival {
    match error {
        Error::Utf8(_) => Arrival::NotUtf8,
        Error::Capacity(problem) => {
            let reason = format!("frame exceeds limit of {MAX_MESSAGE} bytes");
            let detail = over_capacity(problem);
            Arrival::Fatal(Closing::with_reason(close::TOO_BIG, &reason, detail).breaking(Rule::WsTooLarge))
        }
        // RFC 6455, 7.4.1: 1002, protocol error. An end without a close frame is none that can be answered.
        Error::Protocol(problem) => match problem {
            ProtocolError::ResetWithoutClosingHandshake => Arrival::Gone(error.to_string()),
            _ => Arrival::Fatal(Closing::new(1002, error.to_string()).breaking(Rule::WsProtocol)),
        },
        _ => Arrival::Gone(error.to_string()),
    }
}
