//! The TLS handshake, and what faults make of it.
//!
//! Owns the choice of what is shown, and the answers that are no handshake. Must not make a certificate (`pki`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio_rustls::LazyConfigAcceptor;

use super::{carry_out, cut};
use crate::fault::table::Site;
use crate::fault::{Fault, Point, Tls};
use crate::hub::Hub;
use crate::pki::Word;
use crate::proxy;
use crate::stream::silence::Silence;
use crate::stream::wire::Wire;
use crate::stream::{Stream, http2};

/// A TLS handshake. The certificate is chosen once the client has spoken, so that a fault with `first N`
/// counts handshakes and not bare TCP connects.
pub(super) async fn handshake(hub: &Arc<Hub>, wire: Wire, peer: SocketAddr) -> io::Result<Stream> {
    let pki = hub.pki.as_ref().ok_or_else(|| io::Error::other("no certificates"))?;
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), wire).await?;
    let site = Site::new(Point::Handshake, peer.ip());
    if let Some(cut) = hub.faults.take(&site, cut) {
        if let Some(socket) = start.io.into_socket() {
            carry_out(hub, cut, socket, peer, "handshake");
        }
        return Err(io::Error::other("a fault ended it"));
    }
    let fault =
        hub.faults.take(&site, |fault| if let Fault::Tls(fault) = fault { Some(*fault) } else { None });
    if let Some(fault) = fault {
        tracing::info!(%peer, ?fault, "fault in the TLS handshake");
    }
    let word = match fault {
        None => None,
        Some(Tls::Shows(word)) => Some(word),
        Some(other) => return Err(answered(hub, start.io, other).await),
    };
    let shown = pki.shown(word).map_err(io::Error::other)?;
    let mut stream = match start.into_stream(shown.config).into_fallible().await {
        Ok(stream) => Stream::Tls(Box::new(stream)),
        Err((error, wire)) => {
            // Closed with bytes unread, the connection would be reset, and the alert lost with it.
            if let Some(socket) = wire.into_socket() {
                hub.hold(socket, Silence::Closed);
            }
            return Err(error);
        }
    };
    if shown.profile.has(Word::H2Only) {
        http2::refuse(&mut stream).await?;
        return Err(io::Error::other("HTTP/2 only: the client spoke something else"));
    }
    Ok(stream)
}

/// Answers a client hello with what is no handshake, and closes the connection.
async fn answered(hub: &Arc<Hub>, mut wire: Wire, fault: Tls) -> io::Error {
    let answer = match fault {
        Tls::OldVersion => alert(PROTOCOL_VERSION),
        Tls::Alert(code) => alert(code),
        Tls::UnrecognizedName => alert(UNRECOGNIZED_NAME),
        Tls::NotTls => proxy::PLAIN_400.to_vec(),
        Tls::Aborted | Tls::Shows(_) => Vec::new(),
    };
    // Clients show how it begins: that is not to hang on how it is cut up.
    wire.in_one_piece();
    if let Err(error) = wire.write_all(&answer).await {
        return error;
    }
    if let Some(socket) = wire.into_socket() {
        hub.hold(socket, Silence::Closed);
    }
    io::Error::other("a fault ended the handshake")
}

/// Alerts of RFC 8446, 6.
const PROTOCOL_VERSION: u8 = 70;
const UNRECOGNIZED_NAME: u8 = 112;

/// A record with a fatal alert (RFC 8446, 5.1 and 6).
fn alert(code: u8) -> Vec<u8> {
    vec![0x15, 3, 3, 0, 2, 2, code]
}
