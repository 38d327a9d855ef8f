//! Long-poll: the same frames over plain HTTP requests (protocol.md, Transports).

use z4j_protocol::{Binding, HmacSecret};

use super::session::{Event, Signed};
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
    /// The connect probe.
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
fn ids(answer: &Answer) -> Option<(String, String)> {
    let id = |name: &str| answer.header(name).map(|value| value.trim().to_owned());
    Some((id("x-z4j-agent-id")?, id("x-z4j-project-id")?)).filter(|_| answer.status == 200)
}

/// Who this agent is: as the probe's answer tells, or else as it is configured; none if no brain answered.
pub(crate) fn identity(config: &Config, answer: &Answer) -> Option<(String, String)> {
    // Anything may answer 200; a brain answers with frames.
    if answer.status != 200 || frames(answer).is_none() {
        return None;
    }
    ids(answer).or_else(|| Some((config.agent_id?.to_string(), config.project_uuid()?.to_string())))
}

/// The frames in an answer to a request for commands, each a text.
pub(crate) fn frames(answer: &Answer) -> Option<Vec<String>> {
    let body = answer.json()?;
    let frames = body.get("frames")?.as_array()?;
    Some(frames.iter().filter_map(|frame| frame.as_str().map(str::to_owned)).collect())
}

/// Whether the brain answers our way of naming a project with its slug, as mock-brain does and the published
/// brain does not (protocol.md, Session).
pub(crate) async fn names_projects(route: &Route, config: &Config) -> bool {
    let request = probe_request(route.url.prefix(), headers(config, &frame_id("doctor")), 0);
    http::once(route, &request).await.is_ok_and(|answer| answer.header(PROJECT_SLUG).is_some())
}

fn probe_request(prefix: &str, headers: Vec<(&'static str, String)>, frames: u8) -> Request {
    let target = format!("{prefix}/api/v1/agent/commands?wait=0&max_frames={frames}");
    Request { method: "GET", target, headers, body: None }
}

/// What takes a request to a brain and its answer back.
pub(crate) trait Ask {
    /// Why there is no answer.
    type Failure;

    /// Sends a request and reads its answer.
    fn ask(&mut self, request: &Request) -> impl Future<Output = Result<Answer, Self::Failure>> + Send;
}

impl Ask for &Route {
    type Failure = Failure;

    async fn ask(&mut self, request: &Request) -> Result<Answer, Failure> {
        http::once(self, request).await
    }
}

/// Sends the connect probe, which claims nothing. Brains of old refuse 0 for `max_frames` with 422: they are
/// asked again with 1, and may answer with a command.
///
/// # Errors
/// There is no answer.
pub(crate) async fn probe<A: Ask>(
    way: &mut A,
    prefix: &str,
    headers: &[(&'static str, String)],
) -> Result<Answer, A::Failure> {
    let answer = way.ask(&probe_request(prefix, headers.to_vec(), 0)).await?;
    if answer.status != 422 {
        return Ok(answer);
    }
    way.ask(&probe_request(prefix, headers.to_vec(), 1)).await
}

/// Probes, and posts one signed batch without events. Commands that the probe brings are declined, for the
/// reason given.
pub(crate) async fn round_trip(
    route: &Route,
    config: &Config,
    secret: &HmacSecret,
    clock: Clock,
    why_not: &str,
) -> RoundTrip {
    let nonce = frame_id("doctor");
    let prefix = route.url.prefix();
    let headers = headers(config, &nonce);
    let probe = probe(&mut &*route, prefix, &headers).await;
    let Some((agent_id, project_id)) = probe.as_ref().ok().and_then(|answer| identity(config, answer)) else {
        return RoundTrip { probe, batch: None };
    };
    let binding = Binding { agent_id, project_id, session_id: nonce };
    let mut signed = Signed::new(secret, binding, clock);
    let post = async |frames: &[String]| {
        let body = Some(serde_json::json!({ "frames": frames }).to_string());
        let target = format!("{prefix}/api/v1/agent/events");
        http::once(route, &Request { method: "POST", target, headers: headers.clone(), body }).await
    };
    for frame in probe.iter().filter_map(frames).flatten() {
        if let Ok(Event::Command { id, command }) = signed.read(frame.as_bytes())
            && let Ok(frames) = signed.decline(&id, &command, why_not)
        {
            // What the batch is answered with tells whether frames are taken.
            let _ = post(&frames).await;
        }
    }
    let Ok((frame, _)) = signed.empty_batch() else {
        return RoundTrip { probe, batch: None };
    };
    let batch = post(&[frame]).await;
    RoundTrip { probe, batch: Some(batch) }
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
