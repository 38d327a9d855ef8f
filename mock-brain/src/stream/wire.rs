//! A TCP connection with the faults of its layer: bytes that come late, slowly, or only up to a number.
//!
//! Owns the socket, beneath TLS. Must not know what the bytes say.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::shape::{Delay, Meter};
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

/// A connection.
pub(crate) struct Wire {
    /// None once it was handed over.
    socket: Option<TcpStream>,
    delay: Option<Box<Delay>>,
    /// Bytes a second of what is read, and of what is written.
    meters: Option<Box<[Meter; 2]>>,
    /// How what is written is cut into pieces, and how much was.
    pieces: Option<Box<(Quirks, usize)>>,
    read: u64,
    watch: Box<dyn Watch>,
}

impl Wire {
    pub(crate) fn new(socket: TcpStream, watch: Box<dyn Watch>) -> Self {
        Self { socket: Some(socket), delay: None, meters: None, pieces: None, read: 0, watch }
    }

    /// What is read comes so much later.
    pub(crate) fn delay(&mut self, time: Duration) {
        self.delay = Some(Box::new(Delay::new(time)));
    }

    /// So many bytes a second pass in each direction.
    pub(crate) fn limit(&mut self, bytes_per_second: u32) {
        self.meters = Some(Box::new([Meter::new(bytes_per_second), Meter::new(bytes_per_second)]));
    }

    /// What is written goes out in pieces.
    pub(crate) fn cut_up(&mut self, quirks: Quirks) {
        self.pieces = Some(Box::new((quirks, 0)));
    }

    pub(crate) fn into_socket(self) -> Option<TcpStream> {
        self.socket
    }

    fn poll_inner(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let socket = self.socket.as_mut().ok_or_else(gone)?;
        match self.meters.as_deref_mut() {
            None => Pin::new(socket).poll_read(context, buffer),
            Some([meter, _]) => {
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
        match wire.delay.take() {
            None => ready!(wire.poll_inner(context, buffer))?,
            Some(mut delay) => {
                let polled =
                    delay.poll_read(context, buffer, |context, buffer| wire.poll_inner(context, buffer));
                wire.delay = Some(delay);
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
        match wire.meters.as_deref_mut() {
            None => Pin::new(socket).poll_write(context, bytes),
            Some([_, meter]) => {
                ready!(meter.poll_ready(context));
                let part = &bytes[..bytes.len().min(meter.chunk())];
                let count = ready!(Pin::new(socket).poll_write(context, part))?;
                meter.passed(count);
                Poll::Ready(Ok(count))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut().socket.as_mut().ok_or_else(gone)?;
        Pin::new(socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut().socket.as_mut().ok_or_else(gone)?;
        Pin::new(socket).poll_shutdown(context)
    }
}
