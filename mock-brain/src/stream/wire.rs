//! A TCP connection with the faults of its layer: bytes that come late, slowly, or only up to a number.
//!
//! Owns the socket, beneath TLS. Must not know what the bytes say.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::shape::{Delay, Gate, Meter, Way};
use super::silence::Silence;
use crate::voice::Quirks;

/// So many bytes go out in small pieces, later ones in segments.
const SMALL_PIECES: usize = 1_000;
/// Most bytes of a small piece, and of a segment (Ethernet, IPv4, TCP).
const SMALL: usize = 40;
const SEGMENT: usize = 1_460;

/// What becomes of a connection whose bytes have been counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It is reset.
    Reset,
    /// It stays open, without an answer.
    Silence(Silence),
}

/// Who is asked after each read, and takes over a connection that falls silent.
pub(crate) trait Watch: Send {
    /// Bytes number `from + 1` to `to` were read.
    fn passed(&mut self, from: u64, to: u64) -> Option<Cut>;
    /// The connection is to stay open without an answer.
    fn silence(&mut self, socket: TcpStream, silence: Silence);
}

/// What becomes of a connection's bytes, and of its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shaping {
    /// What the client sends.
    pub(crate) up: Way,
    /// What the brain sends.
    pub(crate) down: Way,
    /// The brain's FIN comes so much later.
    pub(crate) slow_close: Option<Duration>,
    /// For what is random.
    pub(crate) seed: u64,
}

/// What a shaped connection needs to be one.
struct Shaped {
    delay: Option<Delay>,
    meter: Option<Meter>,
    gate: Gate,
    slow_close: Option<Duration>,
}

/// A connection.
pub(crate) struct Wire {
    /// None once it was handed over.
    socket: Option<TcpStream>,
    shaped: Option<Box<Shaped>>,
    /// How what is written is cut into pieces, and how much was.
    pieces: Option<Box<(Quirks, usize)>>,
    read: u64,
    watch: Box<dyn Watch>,
}

impl Wire {
    pub(crate) fn new(socket: TcpStream, watch: Box<dyn Watch>, shaping: Shaping) -> Self {
        let Shaping { up, down, slow_close, seed } = shaping;
        let shaped = (shaping != Shaping { seed, ..Shaping::default() }).then(|| {
            let delay = up.latency.map(|times| Delay::new(times, seed));
            Box::new(Shaped {
                delay,
                meter: up.rate.map(Meter::new),
                gate: Gate::new(down, !seed),
                slow_close,
            })
        });
        Self { socket: Some(socket), shaped, pieces: None, read: 0, watch }
    }

    /// What is written goes out in pieces.
    pub(crate) fn cut_up(&mut self, quirks: Quirks) {
        self.pieces = Some(Box::new((quirks, 0)));
    }

    /// What is written goes out as it is.
    pub(crate) fn in_one_piece(&mut self) {
        self.pieces = None;
    }

    pub(crate) fn into_socket(mut self) -> Option<TcpStream> {
        self.socket.take()
    }

    fn poll_inner(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let socket = self.socket.as_mut().ok_or_else(gone)?;
        match self.shaped.as_deref_mut().and_then(|shaped| shaped.meter.as_mut()) {
            None => Pin::new(socket).poll_read(context, buffer),
            Some(meter) => {
                ready!(meter.poll_ready(context));
                let mut part = buffer.take(meter.chunk());
                ready!(Pin::new(socket).poll_read(context, &mut part))?;
                let count = part.filled().len();
                // The part is the buffer's own memory, and `count` bytes of it were just written.
                let bytes = part.filled().to_vec();
                buffer.put_slice(&bytes);
                meter.passed(count);
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Counts what was read, and ends the connection if that is what has come of it.
    fn counted(&mut self, count: usize) -> io::Result<()> {
        let from = self.read;
        self.read += count as u64;
        match self.watch.passed(from, self.read) {
            None => return Ok(()),
            Some(Cut::Reset) => {
                if let Some(socket) = self.socket.take() {
                    super::reset(&socket);
                }
            }
            Some(Cut::Silence(silence)) => {
                if let Some(socket) = self.socket.take() {
                    self.watch.silence(socket, silence);
                }
            }
        }
        Err(gone())
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "a fault ended the connection")
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let before = buffer.filled().len();
        let delay = wire.shaped.as_deref_mut().and_then(|shaped| shaped.delay.take());
        match delay {
            None => ready!(wire.poll_inner(context, buffer))?,
            Some(mut delay) => {
                let polled =
                    delay.poll_read(context, buffer, |context, buffer| wire.poll_inner(context, buffer));
                if let Some(shaped) = wire.shaped.as_deref_mut() {
                    shaped.delay = Some(delay);
                }
                ready!(polled)?;
            }
        }
        let count = buffer.filled().len() - before;
        Poll::Ready(if count > 0 { wire.counted(count) } else { Ok(()) })
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let socket = wire.socket.as_mut().ok_or_else(gone)?;
        let bytes = match wire.pieces.as_deref_mut() {
            None => bytes,
            Some((quirks, written)) => {
                let most = if *written < SMALL_PIECES { SMALL } else { SEGMENT };
                let piece = &bytes[..bytes.len().min(1 + quirks.size(most - 1))];
                *written = written.saturating_add(piece.len());
                piece
            }
        };
        let Some(shaped) = wire.shaped.as_deref_mut() else {
            return Pin::new(socket).poll_write(context, bytes);
        };
        let most = ready!(shaped.gate.poll_ready(context, bytes.len()));
        let count = ready!(Pin::new(socket).poll_write(context, bytes.get(..most).unwrap_or(bytes)))?;
        if !shaped.gate.passed(count)
            && let Some(socket) = wire.socket.take()
        {
            wire.watch.silence(socket, Silence::Closed);
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut().socket.as_mut().ok_or_else(gone)?;
        Pin::new(socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let socket = wire.socket.as_mut().ok_or_else(gone)?;
        match wire.shaped.as_deref().and_then(|shaped| shaped.slow_close) {
            None => Pin::new(socket).poll_shutdown(context),
            // The FIN is sent once this was dropped, and the time is over.
            Some(_) => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let slow_close = self.shaped.as_deref().and_then(|shaped| shaped.slow_close);
        if let (Some(time), Some(socket)) = (slow_close, self.socket.take()) {
            self.watch.silence(socket, Silence::HangUp(time));
        }
    }
}
