//! A brain that acknowledges everything and checks nothing: it must not be what is measured.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept};
use z4j_protocol::{Binding, FrameType, HmacSecret, Signer, Timestamp, Value, unsigned_frame};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(120);
/// What both ends sign with.
pub(crate) const SECRET: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// What was seen so far.
#[derive(Default)]
struct Seen {
    sessions: usize,
    /// When each event was acknowledged, in order of arrival.
    acked_at: Vec<Instant>,
}

/// A running server; its threads end with the process.
pub(crate) struct AckServer {
    /// Its address, as a brain's URL.
    pub(crate) url: String,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

/// What is read of a frame.
#[derive(serde::Deserialize)]
struct Head<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
}

impl AckServer {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}/", listener.local_addr()?);
        let seen = Arc::new((Mutex::new(Seen::default()), Condvar::new()));
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&shared);
                // A peer that goes away ends its session, and nothing else.
                std::thread::spawn(move || drop(session(stream, &seen)));
            }
        });
        Ok(Self { url, seen })
    }

    pub(crate) fn wait_for_session(&self) -> anyhow::Result<()> {
        self.wait("a session", |seen| seen.sessions > 0)
    }

    pub(crate) fn wait_for_events(&self, count: usize) -> anyhow::Result<()> {
        self.wait("the events", |seen| seen.acked_at.len() >= count)
    }

    /// When the first and the last event were acknowledged.
    pub(crate) fn span(&self) -> Option<(Instant, Instant)> {
        let seen = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some((*seen.acked_at.first()?, *seen.acked_at.last()?))
    }

    /// When each event was acknowledged.
    pub(crate) fn acked_at(&self) -> Vec<Instant> {
        self.seen.0.lock().unwrap_or_else(PoisonError::into_inner).acked_at.clone()
    }

    fn wait(&self, what: &str, done: impl Fn(&Seen) -> bool) -> anyhow::Result<()> {
        let (seen, changed) = &*self.seen;
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(seen, LIMIT, |seen| !done(seen));
        let (seen, _) = waited.unwrap_or_else(PoisonError::into_inner);
        ensure!(done(&seen), "{what} did not come within {LIMIT:?}");
        Ok(())
    }
}

fn session(stream: TcpStream, seen: &(Mutex<Seen>, Condvar)) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut socket = accept(stream).map_err(|error| anyhow::anyhow!("{error}"))?;
    let hello = read(&mut socket)?.context("a hello")?;
    ensure!(serde_json::from_slice::<Head>(&hello)?.kind == "hello", "hello first");
    let id = || "44c7ca73-5a51-496c-84a8-8e60a719ff98".to_owned();
    let ack = serde_json::json!({
        "protocol_version": "2", "brain_version": "1.13.0", "agent_id": id(), "project_id": id(),
        "session_id": id(), "heartbeat_interval_seconds": 10, "max_frame_size_bytes": 1_048_576,
    });
    let ack = unsigned_frame(FrameType::HelloAck, "hack_1", Value::from_serialize(&ack)?, now())?;
    socket.send(Message::binary(ack.into_bytes()))?;
    let binding = Binding { agent_id: id(), project_id: id(), session_id: id() };
    let mut signer = Signer::new(&HmacSecret::parse(SECRET)?, binding);
    note(seen, |seen| seen.sessions += 1);
    let mut count = 0_u128;
    while let Some(bytes) = read(&mut socket)? {
        let head: Head = serde_json::from_slice(&bytes)?;
        if head.kind != "event_batch" {
            continue;
        }
        let events = bytes.windows(13).filter(|window| window == b"\"occurred_at\"").count();
        let payload =
            serde_json::json!({ "acked_id": head.id, "received": events, "accepted": events, "rejected": 0 });
        count += 1;
        let id = format!("eba_{count}");
        let frame = signer.sign(
            FrameType::EventBatchAck,
            &id,
            Value::from_serialize(&payload)?,
            now(),
            count.to_be_bytes(),
        )?;
        let at = Instant::now();
        socket.send(Message::binary(frame.into_bytes()))?;
        note(seen, |seen| seen.acked_at.extend(std::iter::repeat_n(at, events)));
    }
    Ok(())
}

fn note(seen: &(Mutex<Seen>, Condvar), change: impl FnOnce(&mut Seen)) {
    change(&mut seen.0.lock().unwrap_or_else(PoisonError::into_inner));
    seen.1.notify_all();
}

/// The next message; none at the end.
fn read(socket: &mut WebSocket<TcpStream>) -> anyhow::Result<Option<Vec<u8>>> {
    use tokio_tungstenite::tungstenite::Error;
    loop {
        match socket.read() {
            Ok(Message::Binary(bytes)) => return Ok(Some(bytes.to_vec())),
            Ok(Message::Text(text)) => return Ok(Some(text.as_bytes().to_vec())),
            Ok(_) => {}
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(None),
            Err(Error::Io(error)) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the server's clock")]
fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}
