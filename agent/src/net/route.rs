//! The way to a brain once it is known to work: which address, and with which TLS.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::budget::Budget;
use super::proxy::Proxy;
use super::tap::{Seen, Tap};
use super::{Break, proxy, tcp, tls};
use crate::config::BrainUrl;

/// Anything that bytes flow through in both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection to a brain, ready for HTTP.
pub(crate) struct Link {
    /// The bytes.
    pub(crate) stream: Box<dyn Duplex>,
    /// What came over the wire, if it is not TLS.
    pub(crate) seen: Option<Seen>,
}

impl Link {
    /// A connection without TLS.
    pub(crate) fn plain(stream: TcpStream) -> Self {
        let (tap, seen) = Tap::new(stream);
        Self { stream: Box::new(tap), seen: Some(seen) }
    }

    /// A connection with TLS.
    pub(crate) fn secure(stream: impl Duplex + 'static) -> Self {
        Self { stream: Box::new(stream), seen: None }
    }
}

/// How to reach a brain.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// The address that answered: the brain's, or its proxy's.
    pub(crate) address: SocketAddr,
    /// The brain's URL.
    pub(crate) url: BrainUrl,
    /// The proxy on the way.
    pub(crate) proxy: Option<Proxy>,
    /// TLS, for https.
    pub(crate) tls: Option<tls::Context>,
    /// How long things may take.
    pub(crate) budget: Budget,
}

impl Route {
    /// Makes another connection.
    ///
    /// # Errors
    /// How that failed; in this order after one that worked, so details are not kept.
    pub(crate) async fn open(&self) -> Result<Link, Break> {
        let (mut stream, _) = tcp::connect(&[self.address], &self.budget).await.map_err(|attempts| {
            match attempts.first().map(|attempt| attempt.failure) {
                Some(tcp::Failure::OutOfTime) => Break::OutOfTime,
                Some(tcp::Failure::TimedOut) => Break::TimedOut,
                _ => Break::Other("another connection to the same address failed".to_owned()),
            }
        })?;
        if let Some(proxy) = &self.proxy {
            stream =
                proxy.connect(stream, &self.url, &self.budget).await.map_err(|failure| match failure {
                    proxy::Failure::Broken(broken) => broken,
                    failure => Break::Other(format!("the proxy {}: {failure}", proxy.endpoint())),
                })?;
        }
        let Some(tls) = &self.tls else { return Ok(Link::plain(stream)) };
        match tls.handshake(stream, &self.budget).await {
            Ok((stream, _)) => Ok(Link::secure(stream)),
            Err(failed) => match failed.failure {
                tls::Failure::Broken(broken) => Err(broken),
                _ => Err(Break::Other("another TLS handshake failed".to_owned())),
            },
        }
    }
}
