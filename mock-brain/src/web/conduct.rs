//! What is wrong with agents' requests, as requests.
//!
//! Owns whose conduct is looked at, and what is remembered for it. The rules are `violation`'s.

use std::time::{Duration, Instant};

use axum::body::Body;
use http::header::RETRY_AFTER;
use http::{Method, Response};

use crate::hub::Hub;
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
    let agent = verdict::bearer(request.headers()).and_then(|token| hub.registry.by_token(token));
    let who = Culprit { session: None, agent: agent.as_ref() };
    hub.violations.note_all(who, violation::judge_request(request.uri(), request.headers()), None);
    let Some((key, post)) = long_poll_key(hub, request) else { return };
    let (refusals, now) = (&hub.violations.refusals, Instant::now());
    hub.violations.note_all(who, refusals.arrived(key, post, now), None);
    let length = content_length(request.headers()).filter(|length| *length > hub.limits.body_bytes);
    let found = length.and_then(|length| refusals.too_large(key, length, now));
    hub.violations.note_all(who, found, None);
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
