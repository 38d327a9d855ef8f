//! Long-poll: the same frames over plain HTTP requests (protocol.md, Transports).

use z4j_protocol::{Binding, HmacSecret};

use super::session::Signed;
use super::{USER_AGENT, frame_id};
use crate::clock::Clock;
use crate::config::Config;
use crate::hello::RUNTIME_FEATURES;
use crate::net::http::{self, Answer, Failure, Request};
use crate::net::route::Route;

/// How a brain that checks project names tells the token's.
pub(crate) const PROJECT_SLUG: &str = "x-z4j-project-slug";

/// What the two requests of a round trip were answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoundTrip {
    /// The connect probe: `wait=0&max_frames=0`, which claims nothing.
    pub(crate) probe: Result<Answer, Failure>,
    /// The signed, empty batch; none if the probe failed.
    pub(crate) batch: Option<Result<Answer, Failure>>,
}

impl RoundTrip {
    /// The agent's and the project's UUID, as the probe's answer tells them.
    pub(crate) fn ids(&self) -> Option<(String, String)> {
        ids(self.probe.as_ref().ok()?)
    }

    /// Whether the brain took the batch.
    pub(crate) fn is_proven(&self) -> bool {
        let Some(Ok(answer)) = &self.batch else { return false };
        let accepted = answer.json().and_then(|body| body.get("accepted")?.as_u64());
        answer.status == 200 && accepted == Some(1)
    }

    /// Whether the session did not stand: its signature failed, or the brain does not know it any more.
    pub(crate) fn is_conflict(&self) -> bool {
        let answer = self.batch.as_ref().unwrap_or(&self.probe);
        answer.as_ref().is_ok_and(|answer| answer.status == 409)
    }
}

/// The agent's and the project's UUID, as an answer tells them.
pub(crate) fn ids(answer: &Answer) -> Option<(String, String)> {
    let id = |name: &str| answer.header(name).map(|value| value.trim().to_owned());
    Some((id("x-z4j-agent-id")?, id("x-z4j-project-id")?)).filter(|_| answer.status == 200)
}

/// Whether the brain answers our way of naming a project with its slug, as mock-brain does and the published
/// brain does not (protocol.md, Session).
pub(crate) async fn names_projects(route: &Route, config: &Config) -> bool {
    let answer = probe(route, config, &frame_id("doctor")).await;
    answer.is_ok_and(|answer| answer.header(PROJECT_SLUG).is_some())
}

/// The connect probe, which claims nothing.
async fn probe(route: &Route, config: &Config, nonce: &str) -> Result<Answer, Failure> {
    let target = format!("{}/api/v1/agent/commands?wait=0&max_frames=0", route.url.prefix());
    http::once(route, &request("GET", target, config, nonce, None)).await
}

/// Probes, and posts one signed batch without events.
pub(crate) async fn round_trip(
    route: &Route,
    config: &Config,
    secret: &HmacSecret,
    clock: Clock,
) -> RoundTrip {
    let nonce = frame_id("doctor");
    let probe = probe(route, config, &nonce).await;
    let Some((agent_id, project_id)) = probe.as_ref().ok().and_then(ids) else {
        return RoundTrip { probe, batch: None };
    };
    let binding = Binding { agent_id, project_id, session_id: nonce.clone() };
    let Ok((frame, _)) = Signed::new(secret, binding, clock).empty_batch() else {
        return RoundTrip { probe, batch: None };
    };
    let body = serde_json::json!({ "frames": [frame] }).to_string();
    let target = format!("{}/api/v1/agent/events", route.url.prefix());
    let batch = http::once(route, &request("POST", target, config, &nonce, Some(body))).await;
    RoundTrip { probe, batch: Some(batch) }
}

fn request(
    method: &'static str,
    target: String,
    config: &Config,
    nonce: &str,
    body: Option<String>,
) -> Request {
    Request { method, target, headers: headers(config, nonce), body }
}

/// The headers that every request of a session bears.
pub(crate) fn headers(config: &Config, nonce: &str) -> Vec<(&'static str, String)> {
    vec![
        ("Authorization", config.token.bearer()),
        ("X-Z4J-Session-Nonce", nonce.to_owned()),
        ("X-Z4J-Runtime-Features", RUNTIME_FEATURES.join(",")),
        ("X-Z4J-Project", config.project_id.clone()),
        ("User-Agent", USER_AGENT.to_owned()),
    ]
}
