//! The WebSocket gateway: the upgrade.
//!
//! Owns the handshake of RFC 6455. Every upgrade that is well-formed is accepted, whoever asks: refusals are
//! close frames afterwards (protocol.md, Transports). Must not judge frames (`session`).

mod bad_frame;
mod frames;
mod link;
mod session;

use std::sync::Arc;

use axum::body::Body;
use base64::alphabet;
use base64::engine::{Engine, GeneralPurpose, GeneralPurposeConfig};
use http::header::{
    AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Parts, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::fault::Ws;
use crate::hub::Hub;
use crate::stream::served::Served;
use crate::voice::{Oddities, Quirks};
use crate::web::{AgentRequest, Peer, closing, text};
use link::Link;

/// How a key is read: as the real brain's base64 reader, which does not look at the bits behind the last byte.
const KEY: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);
/// The length of what it decodes to.
const KEY_BYTES: usize = 16;

/// Answers an upgrade request, and starts the session once the answer is written.
pub(crate) fn accept(
    hub: &Arc<Hub>,
    peer: Peer,
    mut request: AgentRequest,
    spoiled: Option<&Ws>,
) -> Response<Body> {
    let key = match check(request.headers()) {
        Ok(key) => key,
        Err(complaint) => return bad_request(complaint),
    };
    let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) else {
        return bad_request("bad Sec-WebSocket-Key header\n");
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(upgraded(Arc::clone(hub), peer, upgrade, identifying(request.headers())));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(fault) = spoiled {
        spoil(headers, fault);
    }
    response
}

/// What a session needs of the head: who it is, and for whom a proxy speaks. Copies: a header's bytes are part of
/// the buffer that the head was read into, and would keep it for as long as the session lasts.
fn identifying(headers: &HeaderMap) -> HeaderMap {
    let mut copies = HeaderMap::new();
    for name in [AUTHORIZATION, HeaderName::from_static("x-forwarded-for")] {
        for value in headers.get_all(&name) {
            if let Ok(copy) = HeaderValue::from_bytes(value.as_bytes()) {
                copies.append(name.clone(), copy);
            }
        }
    }
    copies
}

/// The 101 as a fault leaves it.
fn spoil(headers: &mut HeaderMap, fault: &Ws) {
    let (name, value) = match fault {
        Ws::BadAccept => return of_another_key(headers),
        Ws::WrongSubprotocol => (SEC_WEBSOCKET_PROTOCOL, "chat"),
        Ws::ExtensionForced => (SEC_WEBSOCKET_EXTENSIONS, "permessage-deflate"),
        _ => return,
    };
    headers.insert(name, HeaderValue::from_static(value));
}

/// RFC 6455's own example (1.3), which is for the key of that page; for that key, the one of another.
fn of_another_key(headers: &mut HeaderMap) {
    const EXAMPLES: [&str; 2] = ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="];
    let right = headers.get(SEC_WEBSOCKET_ACCEPT);
    if let Some(wrong) = EXAMPLES.into_iter().find(|example| right.is_none_or(|right| right != example)) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static(wrong));
    }
}

/// The handshake's key (RFC 6455, 4.2.1).
fn check(headers: &HeaderMap) -> Result<&HeaderValue, &'static str> {
    match only(headers, &SEC_WEBSOCKET_VERSION) {
        Some(Some(version)) if version == "13" => {}
        None => return Err("Failed to open a WebSocket connection: missing Sec-WebSocket-Version header.\n"),
        _ => return Err("Failed to open a WebSocket connection: invalid Sec-WebSocket-Version header.\n"),
    }
    match only(headers, &SEC_WEBSOCKET_KEY) {
        Some(Some(key)) if KEY.decode(key.as_bytes()).is_ok_and(|key| key.len() == KEY_BYTES) => Ok(key),
        None => Err("Failed to open a WebSocket connection: missing Sec-WebSocket-Key header.\n"),
        _ => Err("Failed to open a WebSocket connection: invalid Sec-WebSocket-Key header.\n"),
    }
}

/// A header that may be there once; the inner `None` stands for more than one.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<Option<&'h HeaderValue>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    Some(values.next().is_none().then_some(first))
}

fn bad_request(complaint: &str) -> Response<Body> {
    closing(text(StatusCode::BAD_REQUEST, complaint))
}

async fn upgraded(hub: Arc<Hub>, peer: Peer, upgrade: OnUpgrade, headers: HeaderMap) {
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => return tracing::debug!(peer = %peer.address, %error, "the upgrade was not completed"),
    };
    let Ok(parts) = Upgraded::downcast::<TokioIo<Served>>(upgraded) else {
        return tracing::error!("the upgraded connection is not the one that was served");
    };
    let mut quirks = hub.oddities.as_ref().map(Oddities::roll);
    let limits = quirks.as_mut().map_or(hub.limits, |quirks| quirks.limits(hub.limits));
    let of_link = quirks.as_mut().map(Quirks::split);
    let (stream, already_read) = taken(parts);
    stream.end_pace();
    let link = Link::new(stream, already_read, limits, of_link).await;
    session::run(&hub, peer, link, (limits, quirks), &headers).await;
}

/// The connection, and what was read of it beyond the request: a copy, because hyper's buffer would live on
/// behind it.
fn taken(parts: Parts<TokioIo<Served>>) -> (Served, Vec<u8>) {
    (parts.io.into_inner(), parts.read_buf.to_vec())
}
