//! The other end of the ingest socket: what `z4j emit` does.
//!
//! Owns the sending of a stream of lines and the exact account of what became of them. It counts newlines and
//! reads replies; it must not look at what a line says. One thread copies, the caller's reads replies, so
//! neither waits for the other.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::lines::Lines;
use super::reply::{LineRefusal, Reply, ReplyError};

/// Read at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// How often to look up while no reply comes.
const TICK: Duration = Duration::from_millis(500);
/// How long an agent may be silent while lines wait for its reply.
const SILENCE: Duration = Duration::from_secs(60);

/// What became of a stream of lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Emission {
    /// Every line up to this one is durable or refused.
    pub(crate) line: u64,
    /// Events that are durable.
    pub(crate) accepted: u64,
    /// Those of them whose time was replaced.
    pub(crate) restamped: u64,
    /// Lines that were refused.
    pub(crate) refused: u64,
    /// Why it ended before every line was settled, or before the input was read to its end.
    pub(crate) error: Option<ReplyError>,
}

/// What the sending thread has done.
#[derive(Debug, Default)]
struct Sent {
    /// Lines that went out, or are about to.
    lines: AtomicU64,
    /// There are no more.
    done: AtomicBool,
    /// Why the input could not be read to its end.
    failed: OnceLock<String>,
}

/// Sends an input to the agent behind a socket, and returns when all of it is settled or nothing more will be.
/// `refusal` sees each refused line, `tick` the number of settled lines about twice a second.
///
/// # Errors
/// The socket or the thread cannot be set up.
pub(crate) fn send(
    stream: UnixStream,
    input: impl Read + Send + 'static,
    refusal: impl FnMut(LineRefusal),
    tick: impl FnMut(u64),
) -> io::Result<Emission> {
    stream.set_read_timeout(Some(TICK))?;
    let sent = Arc::new(Sent::default());
    let (writer, for_pump) = (stream.try_clone()?, Arc::clone(&sent));
    // It ends with the process: a read of stdin cannot be called off.
    std::thread::Builder::new().name("emit".to_owned()).spawn(move || pump(input, &writer, &for_pump))?;
    let listening =
        Listening { stream, sent, emission: Emission::default(), heard: Instant::now(), refusal, tick };
    Ok(listening.run())
}

/// Copies the input to the socket.
fn pump(mut input: impl Read, mut socket: &UnixStream, sent: &Sent) {
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut lines, mut open) = (0, false);
    loop {
        let count = match input.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let _ = sent.failed.set(error.to_string());
                break;
            }
        };
        let read = &chunk[..count];
        lines += u64::try_from(memchr::memchr_iter(b'\n', read).count()).unwrap_or_default();
        open = !read.ends_with(b"\n");
        sent.lines.store(lines, Ordering::SeqCst);
        if socket.write_all(read).is_err() {
            return;
        }
    }
    sent.lines.store(lines + u64::from(open), Ordering::SeqCst);
    sent.done.store(true, Ordering::SeqCst);
    let _ = socket.shutdown(Shutdown::Write);
}

struct Listening<R, T> {
    stream: UnixStream,
    sent: Arc<Sent>,
    emission: Emission,
    /// When a reply came, or nothing waited for one.
    heard: Instant,
    refusal: R,
    tick: T,
}

impl<R: FnMut(LineRefusal), T: FnMut(u64)> Listening<R, T> {
    fn run(mut self) -> Emission {
        let mut replies = Lines::default();
        let mut chunk = vec![0; 64 * 1024];
        let mut ticked = Instant::now();
        loop {
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                (self.tick)(self.emission.line);
            }
            if self.is_complete() {
                let failed = self.sent.failed.get().map(|reason| error("input", reason.clone()));
                return self.end(failed);
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return self.end(Some(error("agent-gone", "the agent closed the connection"))),
                Ok(count) => {
                    replies.feed(&chunk[..count]);
                    if let Some(error) = self.take_replies(&mut replies) {
                        return self.end(Some(error));
                    }
                }
                Err(failure) if is_timeout(&failure) => {
                    if let Some(error) = self.check_silence() {
                        return self.end(Some(error));
                    }
                }
                Err(failure) => return self.end(Some(error("agent-gone", failure.to_string()))),
            }
        }
    }

    fn end(mut self, error: Option<ReplyError>) -> Emission {
        self.emission.error = error;
        self.emission
    }

    /// Order matters: `lines` is final once `done` is seen.
    fn is_complete(&self) -> bool {
        self.sent.done.load(Ordering::SeqCst) && self.sent.lines.load(Ordering::SeqCst) == self.emission.line
    }

    fn take_replies(&mut self, replies: &mut Lines) -> Option<ReplyError> {
        while let Some(line) = replies.next() {
            let reply = line.text.and_then(|text| serde_json::from_slice::<Reply>(text).ok());
            let Some(reply) = reply else {
                return Some(error("not-an-agent", "what answered there speaks another protocol"));
            };
            self.heard = Instant::now();
            let emission = &mut self.emission;
            (emission.line, emission.accepted, emission.restamped) =
                (reply.line, reply.accepted, reply.restamped);
            for refusal in reply.refused {
                emission.refused += 1;
                (self.refusal)(refusal);
            }
            if reply.error.is_some() {
                return reply.error;
            }
        }
        None
    }

    fn check_silence(&mut self) -> Option<ReplyError> {
        let waits = self.sent.lines.load(Ordering::SeqCst) > self.emission.line;
        if !waits {
            self.heard = Instant::now();
        }
        let seconds = SILENCE.as_secs();
        (self.heard.elapsed() > SILENCE)
            .then(|| error("silent", format!("the agent did not answer for {seconds} s")))
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn error(code: &str, reason: impl Into<String>) -> ReplyError {
    ReplyError { code: code.to_owned(), reason: reason.into() }
}
