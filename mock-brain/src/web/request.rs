//! What a request says of itself: an upgrade, a length, an id.
//!
//! Owns how these headers are read. Must not answer.

use http::header::{CONNECTION, CONTENT_LENGTH, UPGRADE};
use http::{HeaderMap, HeaderName, Method, Request, Version};
use hyper::body::Incoming;

use crate::random;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request with what it came over.
pub(crate) type AgentRequest = Request<Incoming>;

/// RFC 6455, 4.1: GET, HTTP/1.1, `Connection: upgrade`, `Upgrade: websocket`.
pub(crate) fn wants_upgrade(request: &AgentRequest) -> bool {
    let names = |name, wanted: &str| {
        let values = request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(wanted))
    };
    request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && names(CONNECTION, "upgrade")
        && names(UPGRADE, "websocket")
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The client's request id if it is usable, else a new one.
pub(super) fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    match given.filter(|id| (1..=64).contains(&id.len())) {
        Some(id) => id.to_owned(),
        None => format!("req_{}", random::hex::<8>()),
    }
}
