//! A stream that remembers how much the peer has sent, and how that began.
//!
//! When a handshake fails, what came before tells a dead peer from one that speaks another protocol.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many of the first bytes are kept.
const HEAD_BYTES: usize = 128;

/// What the peer has sent so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Bytes in all.
    pub(crate) bytes: u64,
    /// The first of them.
    pub(crate) head: Vec<u8>,
}

/// A handle on what a [`Tap`] has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Received>>);

impl Seen {
    /// What the peer has sent so far.
    pub(crate) fn get(&self) -> Received {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, bytes: &[u8]) {
        let mut received = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = HEAD_BYTES.saturating_sub(received.head.len());
        received.head.extend(bytes.iter().take(room));
        received.bytes = received.bytes.saturating_add(bytes.len() as u64);
    }
}

/// The stream.
#[derive(Debug)]
pub(crate) struct Tap<S> {
    inner: S,
    seen: Seen,
}

impl<S> Tap<S> {
    /// Taps a stream.
    pub(crate) fn new(inner: S) -> (Self, Seen) {
        let seen = Seen::default();
        (Self { inner, seen: seen.clone() }, seen)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Some(new) = buf.filled().get(before..).filter(|new| !new.is_empty()) {
            self.seen.add(new);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
