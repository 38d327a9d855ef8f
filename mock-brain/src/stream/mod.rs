//! One connection's byte stream, plain or TLS.
//!
//! Owns the ways to end it: an orderly close, a real reset, and silence. Must not know what is spoken over it.

pub(crate) mod framing;
pub(crate) mod http2;
pub(crate) mod served;
pub(crate) mod shape;
pub(crate) mod silence;
pub(crate) mod wire;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use wire::Wire;

/// A connection of an agent.
pub(crate) enum Stream {
    /// Plain TCP.
    Plain(Wire),
    /// TLS over TCP.
    Tls(Box<TlsStream<Wire>>),
}

impl Stream {
    /// The TCP connection beneath; none once a fault took it.
    pub(crate) fn into_socket(self) -> Option<TcpStream> {
        match self {
            Self::Plain(wire) => wire.into_socket(),
            Self::Tls(stream) => stream.into_inner().0.into_socket(),
        }
    }

    /// Ends the connection with a RST instead of a FIN.
    pub(crate) fn reset(self) {
        if let Some(socket) = self.into_socket() {
            reset(&socket);
        }
    }
}

/// Makes the close of a socket send a RST: with SO_LINGER on and a time of 0, unsent data is discarded and
/// the connection is aborted (socket(7), tcp(7)).
pub(crate) fn reset(socket: &TcpStream) {
    if let Err(error) = socket.set_zero_linger() {
        tracing::warn!(%error, "the connection is closed without a reset");
    }
}

macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Plain(socket) => {
                let $stream = Pin::new(socket);
                $call
            }
            Self::Tls(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, stream => stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_shutdown(context))
    }
}
