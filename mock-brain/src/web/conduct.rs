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
use crate::violation::{self, Culprit, Key, has_token, line_without_secrets};
use crate::web::request::{AgentRequest, content_length};
use crate::web::{GATEWAY, LONG_POLL};
use crate::{longpoll, verdict};

/// Paths that bear nobody's secret.
const ROUTES: [&str; 3] = [GATEWAY, "/api/v1/agent/commands", "/api/v1/agent/events"];
/// Most digits that are told of a poll's parameter.
const MAX_DIGITS: usize = 6;
/// Most parameters that are told.
const MAX_PAIRS: usize = 4;

/// A request to the agents' side, as it is told, and whose it is.
pub(super) struct Told {
    line: Bytes,
    agent: Option<Arc<Agent>>,
    peer: SocketAddr,
}

impl Told {
    pub(super) fn of(hub: &Hub, request: &AgentRequest, peer: SocketAddr) -> Self {
        let line = asked(request.method(), request.uri());
        let is_known =
            [Method::GET, Method::POST].contains(request.method()) && ROUTES.contains(&request.uri().path());
        let without_secrets = || line_without_secrets(&line, &hub.registry.agents()).into();
        Self {
            line: if is_known { line.clone() } else { without_secrets() },
            agent: verdict::bearer(request.headers()).and_then(|token| hub.registry.by_token(token)),
            peer,
        }
    }

    fn who(&self) -> Culprit<'_> {
        Culprit { session: None, agent: self.agent.as_ref() }
    }
}

/// Whether the path is one that agents have.
fn is_agents(path: &str) -> bool {
    path == GATEWAY || path.starts_with(LONG_POLL)
}

/// A request to one of the agents' paths, once what is wrong with it is noted.
pub(super) fn judged(hub: &Hub, request: &AgentRequest, peer: SocketAddr) -> Option<Told> {
    let told = is_agents(request.uri().path()).then(|| Told::of(hub, request, peer))?;
    note(hub, request, &told);
    Some(told)
}

fn note(hub: &Hub, request: &AgentRequest, told: &Told) {
    let who = told.who();
    let is_token = |text: &str| hub.registry.known_token(text).is_some();
    let bears_token = request.uri().query().is_some_and(|query| has_token(query, is_token));
    let line = String::from_utf8_lossy(&told.line);
    let raw = Some(&told.line);
    hub.violations.note_all(who, violation::judge_request(&line, bears_token, request.headers()), raw);
    let Some((key, post)) = long_poll_key(hub, request) else { return };
    hub.violations.note_all(who, hub.violations.refusals.arrived(key, post, Instant::now()), raw);
}

/// Notes a body that is too large after one that was refused for that. Only where the brain itself answers: from a
/// proxy's answer no agent learns a size.
pub(super) fn judge_size(hub: &Hub, request: &AgentRequest, told: &Told) {
    let length = content_length(request.headers()).filter(|length| *length > hub.limits.body_bytes);
    let (Some(length), Some((key, _))) = (length, long_poll_key(hub, request)) else { return };
    let found = hub.violations.refusals.too_large(key, length, Instant::now());
    hub.violations.note_all(told.who(), found, Some(&told.line));
}

/// The request as it was asked for. Of its query only what polls have is told, where it is a number: whatever
/// else stands there may be a token.
pub(crate) fn asked(method: &Method, uri: &Uri) -> Bytes {
    let Some(query) = uri.query() else { return format!("{method} {}", uri.path()).into() };
    let is_told = |pair: &&str| {
        let number = pair.strip_prefix("wait=").or_else(|| pair.strip_prefix("max_frames="));
        let digits = number.map(|number| number.strip_prefix('-').unwrap_or(number));
        digits.is_some_and(|digits| {
            (1..=MAX_DIGITS).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let told = query.split('&').filter(is_told);
    let rest = query.split('&').any(|pair| !is_told(&pair)).then_some("…");
    let told: Vec<_> = told.take(MAX_PAIRS).chain(rest).collect();
    format!("{method} {}?{}", uri.path(), told.join("&")).into()
}

/// Journals what a request to the agents' side is refused with. Peers wait for a disk that is slower.
pub(super) async fn note_refusal(hub: &Hub, told: &Told, status: StatusCode) {
    if status.is_client_error() || status.is_server_error() {
        let detail = format!("{}: {}", quote(&String::from_utf8_lossy(&told.line)), status.as_u16());
        let entry = Entry::of_peer(Kind::Handshake, "http", told.peer, &detail, hub.now());
        hub.journal.record(entry.of_agent(told.agent.as_ref()));
        hub.journal.relieved().await;
    }
}

/// Whose long-poll request it is, by token and session, and whether it is a post; nobody's unless that is looked
/// at.
pub(super) fn long_poll_key(hub: &Hub, request: &AgentRequest) -> Option<(Key, bool)> {
    let looked_at = hub.violations.is_strict() && request.uri().path().starts_with(LONG_POLL);
    let token = verdict::bearer(request.headers()).filter(|_| looked_at)?;
    // No header's value has a line's end.
    let key = Key::of(&format!("{token}\n{}", longpoll::nonce(request.headers())));
    Some((key, request.method() == Method::POST))
}

pub(super) fn remember_wait(hub: &Hub, key: Key, post: bool, response: &Response<Body>) {
    let told = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    if let Some(seconds) = told.and_then(|text| text.parse().ok()) {
        hub.violations.refusals.wait(key, post, Duration::from_secs(seconds), Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use futures_util::FutureExt;

    use super::*;
    use crate::{Brain, Options};

    #[tokio::test]
    async fn who_is_refused_waits_for_a_disk_that_is_slower() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            tls: false,
            state_dir: Some(dir.path().to_owned()),
            journal_bytes: Some(1 << 30),
            ..Options::default()
        };
        let brain = Brain::start(options, TcpListener::bind("127.0.0.1:0").unwrap()).await.unwrap();
        let hub = &brain.hub;
        let told = Told { line: "GET /".into(), agent: None, peer: brain.local_addr() };
        let refusal = || note_refusal(hub, &told, StatusCode::FORBIDDEN);
        refusal().await;
        let stalled = hub.journal.stalled().unwrap();
        let large = Bytes::from(vec![b'x'; 64 << 10]);
        for _ in 0..600 {
            hub.journal.record(Entry::new(Kind::FrameIn, "x", hub.now()).with(&large));
        }
        let mut waiting = Box::pin(refusal());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(stalled);
        waiting.await;
    }
}
