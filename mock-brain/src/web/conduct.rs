//! What is wrong with agents' requests, as requests.
//!
//! Owns whose conduct is looked at, and what is remembered for it. The rules are `violation`'s.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Method, Response, StatusCode, Uri};

use crate::hub::Hub;
use crate::journal::{Entry, Kind};
use crate::quote::quote;
use crate::registry::Agent;
use crate::verdict;
use crate::violation::{self, Culprit, Key};
use crate::web::request::{AgentRequest, content_length};
use crate::web::{GATEWAY, LONG_POLL};

/// Notes what is wrong with a request to one of the agents' paths.
pub(super) fn judge(hub: &Hub, request: &AgentRequest) {
    let path = request.uri().path();
    if path != GATEWAY && !path.starts_with(LONG_POLL) {
        return;
    }
    let agent = whose(hub, request);
    let who = Culprit { session: None, agent: agent.as_ref() };
    let asked = asked(request.method(), request.uri());
    let raw = Some(&asked);
    hub.violations.note_all(who, violation::judge_request(request.uri(), request.headers()), raw);
    let Some((key, post)) = long_poll_key(hub, request) else { return };
    let (refusals, now) = (&hub.violations.refusals, Instant::now());
    hub.violations.note_all(who, refusals.arrived(key, post, now), raw);
    let length = content_length(request.headers()).filter(|length| *length > hub.limits.body_bytes);
    let found = length.and_then(|length| refusals.too_large(key, length, now));
    hub.violations.note_all(who, found, raw);
}

/// The agent of a request's token.
pub(super) fn whose(hub: &Hub, request: &AgentRequest) -> Option<Arc<Agent>> {
    verdict::bearer(request.headers()).and_then(|token| hub.registry.by_token(token))
}

/// The request as it was asked for, without what may be a token.
pub(crate) fn asked(method: &Method, uri: &Uri) -> Bytes {
    let what = match uri.query() {
        Some(query) if !violation::has_token(query) => format!("{method} {}?{query}", uri.path()),
        _ => format!("{method} {}", uri.path()),
    };
    what.into()
}

/// Journals what a request to the agents' side is refused with.
pub(super) fn note_refusal(
    hub: &Hub,
    peer: SocketAddr,
    (asked, agent): (&Bytes, Option<&Arc<Agent>>),
    status: StatusCode,
) {
    if status.is_client_error() || status.is_server_error() {
        let detail = format!("{}: {}", quote(&String::from_utf8_lossy(asked)), status.as_u16());
        let entry = Entry::of_peer(Kind::Handshake, "http", peer, &detail, hub.now());
        hub.journal.record(entry.of_agent(agent));
    }
}

/// Whose long-poll request it is, and whether it is a post; nobody's unless that is looked at.
pub(super) fn long_poll_key(hub: &Hub, request: &AgentRequest) -> Option<(Key, bool)> {
    let looked_at = hub.violations.is_strict() && request.uri().path().starts_with(LONG_POLL);
    let token = verdict::bearer(request.headers()).filter(|_| looked_at)?;
    Some((Key::of(token), request.method() == Method::POST))
}

pub(super) fn remember_wait(hub: &Hub, key: Key, post: bool, response: &Response<Body>) {
    let told = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    if let Some(seconds) = told.and_then(|text| text.parse().ok()) {
        hub.violations.refusals.wait(key, post, Duration::from_secs(seconds), Instant::now());
    }
}
