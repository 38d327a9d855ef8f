//! A connection as HTTP is served over it: it can be had back, and its answers can be made to dribble.
//!
//! Owns what faults do beneath HTTP. hyper cannot write what is no HTTP; so it lets go of the connection, which
//! comes back here, and the fault writes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Stream;
use super::framing::Framing;

/// The time between two bytes of one answer, shared with who decides it: milliseconds, 0 for none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace(Arc<AtomicU64>);

impl Pace {
    pub(crate) fn set(&self, time: Duration) {
        self.0.store(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// For what is written from now on: the answer before is out by the time that hyper reads the next request.
    pub(crate) fn reset(&self) {
        self.set(Duration::ZERO);
    }

    fn get(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(Duration::from_millis(millis)),
        }
    }
}

/// A connection that is lent to HTTP, and given back when it is dropped.
pub(crate) struct Served {
    /// None once it was taken.
    stream: Option<Stream>,
    back: Option<oneshot::Sender<Stream>>,
    pace: Pace,
    next: Option<Pin<Box<Sleep>>>,
    /// Pongs are swallowed: control frames that are written by themselves (RFC 6455, 5.5.3).
    pub(crate) mutes_pongs: bool,
    /// What comes is read as WebSocket frames, once it is.
    pub(crate) framing: Option<Framing>,
}

impl Served {
    /// Lends a connection; it comes back over the receiver.
    pub(crate) fn lend(stream: Stream, pace: Pace) -> (Self, oneshot::Receiver<Stream>) {
        let (back, receiver) = oneshot::channel();
        (
            Self {
                stream: Some(stream),
                back: Some(back),
                pace,
                next: None,
                mutes_pongs: false,
                framing: None,
            },
            receiver,
        )
    }

    /// Ends the pace of an answer: what is written from now on is none.
    pub(crate) fn end_pace(&self) {
        self.pace.reset();
    }

    /// Takes it for good.
    pub(crate) fn into_stream(mut self) -> Option<Stream> {
        self.stream.take()
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Stream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Waits for the moment of the next byte.
    fn poll_pace(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.next {
            Some(next) => next.as_mut().poll(context),
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let (Some(stream), Some(back)) = (self.stream.take(), self.back.take()) {
            // Nobody waits for it if the connection ended as it should.
            let _ = back.send(stream);
        }
    }
}

/// The first byte of a pong that is one frame.
const PONG: u8 = 0x8a;

impl AsyncRead for Served {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let served = self.get_mut();
        let before = buffer.filled().len();
        ready!(served.stream()?.poll_read(context, buffer))?;
        if let Some(framing) = &mut served.framing {
            framing.heed(buffer.filled().get(before..).unwrap_or_default());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Served {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let served = self.get_mut();
        if served.mutes_pongs && bytes.first() == Some(&PONG) {
            let length = bytes.get(1).map_or(0, |length| usize::from(length & 0x7f));
            return Poll::Ready(Ok(bytes.len().min(2 + length)));
        }
        let Some(time) = served.pace.get() else { return served.stream()?.poll_write(context, bytes) };
        ready!(served.poll_pace(context));
        let count = ready!(served.stream()?.poll_write(context, bytes.get(..1).unwrap_or(bytes)))?;
        served.next = Some(Box::pin(sleep_until(Instant::now() + time)));
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_shutdown(context)
    }
}
