//! The headers of long-poll requests and answers.
//!
//! Owns how each is read and written. Must not judge them.

use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use http::header::DATE;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::hub::Hub;
use crate::login::Login;
use crate::registry::Agent;

/// How our agents name their project (protocol.md, Session); the real brain does not look.
pub(super) const PROJECT_HEADER: &str = "x-z4j-project";

/// The session nonce; missing and empty are the same session.
pub(crate) fn nonce(headers: &HeaderMap) -> String {
    let value = headers.get("x-z4j-session-nonce").map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.unwrap_or_default().into_owned()
}

/// The engines of `X-Z4J-Retry-Contracts`; one bad item voids the header.
pub(super) fn contracts(headers: &HeaderMap) -> Vec<String> {
    let header = headers.get("x-z4j-retry-contracts").and_then(|value| value.to_str().ok());
    let engines = header.unwrap_or_default().split(',').map(|item| {
        let engine = item.trim().strip_suffix("=1")?;
        (!engine.is_empty() && !engine.contains('=')).then(|| engine.to_owned())
    });
    engines.collect::<Option<_>>().unwrap_or_default()
}

/// Adds the headers that tell an agent who it is, and one that named its project how that is called here.
pub(super) fn identified(mut response: Response<Body>, agent: &Agent, asked: &HeaderMap) -> Response<Body> {
    let told = [
        ("x-z4j-longpoll-worker", std::process::id().to_string()),
        ("x-z4j-agent-id", agent.id.to_string()),
        ("x-z4j-project-id", agent.project.id.to_string()),
    ];
    let checked = asked.contains_key(PROJECT_HEADER);
    let slug = checked.then(|| ("x-z4j-project-slug", agent.project.slug.clone()));
    for (name, value) in told.into_iter().chain(slug) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// The answer of a brain whose clock a fault has set wrong.
pub(super) fn dated(hub: &Hub, mut response: Response<Body>, login: Option<Login>) -> Response<Body> {
    let ahead = login.map_or(0, Login::ahead);
    if ahead != 0 {
        let since = u64::try_from(hub.now().plus_seconds(ahead).unix_seconds()).unwrap_or_default();
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(since));
        if let Ok(date) = HeaderValue::from_str(&date) {
            response.headers_mut().insert(DATE, date);
        }
    }
    response
}
