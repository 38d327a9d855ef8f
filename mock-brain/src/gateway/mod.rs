//! The WebSocket gateway: the upgrade.
//!
//! Owns the handshake of RFC 6455. Every upgrade that is well-formed is accepted, whoever asks: refusals are
//! close frames afterwards (protocol.md, Transports). Must not judge frames (`session`).

mod link;
mod reply;
mod session;

use std::sync::Arc;

use axum::body::Body;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::hub::Hub;
use crate::stream::Stream;
use crate::web::{AgentRequest, Peer, text};
use link::Link;

/// Answers an upgrade request, and starts the session once the answer is written.
pub(crate) fn accept(hub: &Arc<Hub>, peer: Peer, mut request: AgentRequest) -> Response<Body> {
    let key = match check(request.headers()) {
        Ok(key) => key,
        Err(complaint) => return bad_request(complaint),
    };
    let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) else {
        return bad_request("bad Sec-WebSocket-Key header\n");
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(upgraded(Arc::clone(hub), peer, upgrade, request.headers().clone()));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// The handshake's key.
fn check(headers: &HeaderMap) -> Result<&HeaderValue, &'static str> {
    let version = headers.get(SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|version| version.as_bytes() != b"13") {
        return Err("Failed to open a WebSocket connection: bad Sec-WebSocket-Version header.\n");
    }
    headers
        .get(SEC_WEBSOCKET_KEY)
        .filter(|key| !key.is_empty())
        .ok_or("Failed to open a WebSocket connection: missing Sec-WebSocket-Key header.\n")
}

fn bad_request(complaint: &str) -> Response<Body> {
    let mut response = text(StatusCode::BAD_REQUEST, complaint);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn upgraded(hub: Arc<Hub>, peer: Peer, upgrade: OnUpgrade, headers: HeaderMap) {
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => return tracing::debug!(peer = %peer.address, %error, "the upgrade was not completed"),
    };
    let Ok(parts) = Upgraded::downcast::<TokioIo<Stream>>(upgraded) else {
        return tracing::error!("the upgraded connection is not the one that was served");
    };
    let link = Link::new(parts.io.into_inner(), parts.read_buf.into(), hub.limits).await;
    session::run(&hub, &peer, link, &headers).await;
}
