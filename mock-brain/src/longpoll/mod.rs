//! The long-poll transport: `GET /api/v1/agent/commands` and `POST /api/v1/agent/events`.
//!
//! Owns the two endpoints: their parameters, order of checks and bodies. Must not keep session state
//! (`sessions`).

mod body;
pub(crate) use body::is_json;
mod frames;
pub(crate) mod sessions;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use bytes::Bytes;
use http::header::DATE;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use z4j_protocol::{FrameType, SKEW_SECONDS, close};

use crate::admission::TurnedAway;
use crate::clock;
use crate::commands::Wanted;
use crate::fault::{Fault, LongPoll, Point};
use crate::hub::Hub;
use crate::journal::{Entry, Kind};
use crate::login::Login;
use crate::registry::Agent;
use crate::verdict::{self, Closing};
use crate::violation::{Culprit, Key, Rule};
use crate::web::{self, AgentRequest, Peer, detail, domain_error, json_response};
use sessions::{Invalidated, Use};

/// A poll's parameters.
#[derive(Debug, PartialEq, Eq)]
struct Poll {
    wait: u64,
    max_frames: u64,
}

impl Poll {
    /// The request that only asks whether the session would do.
    const fn is_probe(&self) -> bool {
        self.wait == 0 && self.max_frames == 0
    }
}

/// How our agents name their project (protocol.md, Session); the real brain does not look.
const PROJECT_HEADER: &str = "x-z4j-project";

/// Answers a poll: at once if there are commands for it, else once there are, or when its time is over.
pub(crate) async fn commands(
    hub: &Arc<Hub>,
    peer: &Peer,
    request: &AgentRequest,
    request_id: &str,
) -> Response<Body> {
    let client = match counted(hub, peer, request.headers()) {
        Ok(client) => client,
        Err(refusal) => return *refusal,
    };
    let poll = match poll(request.uri().query().unwrap_or_default()) {
        Ok(poll) => poll,
        Err(complaints) => {
            misshapen(hub, request.headers(), "parameters of a poll");
            return detail(StatusCode::UNPROCESSABLE_ENTITY, complaints);
        }
    };
    let (agent, login) = match admit(hub, (peer, client), request.headers(), request_id) {
        Ok(admitted) => admitted,
        Err(refusal) => return *refusal,
    };
    let nonce = nonce(request.headers());
    let used = if poll.is_probe() { Use::Probe } else { Use::Poll };
    let _in_flight = match hub.longpoll.enter(hub, &agent, &nonce, used) {
        Ok(in_flight) => in_flight,
        Err(invalidated) => return conflict(invalidated),
    };
    let frames = match held(hub, &agent, &nonce, request.headers(), &poll, request_id).await {
        Ok(frames) => frames,
        Err(refusal) => return *refusal,
    };
    let answer =
        identified(json_response(StatusCode::OK, &json!({ "frames": frames })), &agent, request.headers());
    dated(hub, answer, login)
}

/// The answer of a brain whose clock a fault has set wrong.
fn dated(hub: &Hub, mut response: Response<Body>, login: Option<Login>) -> Response<Body> {
    if let Some(Login::Skewed(seconds)) = login {
        let since = u64::try_from(hub.now().plus_seconds(seconds.into()).unix_seconds()).unwrap_or_default();
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(since));
        if let Ok(date) = HeaderValue::from_str(&date) {
            response.headers_mut().insert(DATE, date);
        }
    }
    response
}

/// What a brain says that has forgotten a session, as another worker of it would.
pub(crate) fn session_lost() -> Response<Body> {
    conflict(Invalidated::ProbeFirst)
}

/// Holds a poll until there are commands for it, its time is over, or its agent is not let in any more.
async fn held(
    hub: &Hub,
    agent: &Arc<Agent>,
    nonce: &str,
    headers: &HeaderMap,
    poll: &Poll,
    request_id: &str,
) -> Result<Vec<String>, Box<Response<Body>>> {
    let contracts = contracts(headers);
    let until = Instant::now() + Duration::from_secs(poll.wait);
    let mut orders = hub.orders.subscribe();
    loop {
        orders.mark_unchanged();
        if !hub.registry.is_live(agent) {
            return Err(not_admitted(hub, &agent.token, request_id));
        }
        let most = usize::try_from(poll.max_frames).unwrap_or_default();
        let wanted = Wanted { most, pending: !hub.sessions.is_connected(agent.id), contracts: &contracts };
        let deliveries = hub.commands.poll(agent.id, &wanted, clock::now());
        if !deliveries.is_empty() || Instant::now() >= until {
            hub.happened();
            let now = hub.now();
            let signed = hub.longpoll.sign(agent, nonce, &deliveries, now);
            let frames = signed.map_err(|invalidated| Box::new(conflict(invalidated)))?;
            for frame in &frames {
                let raw = Bytes::copy_from_slice(frame.as_bytes());
                let entry = Entry::new(Kind::FrameOut, FrameType::Command.as_str(), now).with(&raw);
                hub.journal.record(entry.of_agent(Some(agent)));
            }
            return Ok(frames);
        }
        // What is handed out again comes with time, not with an order.
        let again = Instant::now() + hub.commands.redeliver_after();
        tokio::select! {
            _ = orders.changed() => {}
            () = sleep_until(until.min(again)) => {}
            () = hub.stopping() => return Ok(Vec::new()),
        }
    }
}

/// The engines of `X-Z4J-Retry-Contracts`; one bad item voids the header.
fn contracts(headers: &HeaderMap) -> Vec<String> {
    let header = headers.get("x-z4j-retry-contracts").and_then(|value| value.to_str().ok());
    let engines = header.unwrap_or_default().split(',').map(|item| {
        let engine = item.trim().strip_suffix("=1")?;
        (!engine.is_empty() && !engine.contains('=')).then(|| engine.to_owned())
    });
    engines.collect::<Option<_>>().unwrap_or_default()
}

fn unknown_token() -> Box<Response<Body>> {
    Box::new(detail(StatusCode::UNAUTHORIZED, "invalid agent token"))
}

/// Takes frames.
pub(crate) async fn events(
    hub: &Arc<Hub>,
    peer: &Peer,
    request: AgentRequest,
    request_id: &str,
) -> Response<Body> {
    let headers = request.headers().clone();
    let client = match counted(hub, peer, &headers) {
        Ok(client) => client,
        Err(refusal) => return *refusal,
    };
    let frames = match body::read(request, &hub.limits).await {
        Ok(frames) => frames,
        Err(refusal) => {
            if refusal.status() == StatusCode::UNPROCESSABLE_ENTITY {
                misshapen(hub, &headers, "the body of a post");
            }
            return *refusal;
        }
    };
    let (agent, login) = match admit(hub, (peer, client), &headers, request_id) {
        Ok(admitted) => admitted,
        Err(refusal) => return *refusal,
    };
    // A signature of another secret or another time: what the brain says to it, for any frame.
    let is_off = |seconds: i32| i64::from(seconds.unsigned_abs()) > SKEW_SECONDS;
    if login == Some(Login::OtherSecret) || matches!(login, Some(Login::Skewed(off)) if is_off(off)) {
        return dated(hub, conflict(Invalidated::Signature), login);
    }
    let partial = web::struck(hub, peer, Point::Post, &headers, |fault| match fault {
        Fault::LongPoll(LongPoll::Partial(count)) => Some(*count),
        _ => None,
    });
    let taken = partial.map_or(frames.len(), |count| frames.len().min(count as usize));
    match frames::apply(hub, &agent, &nonce(&headers), peer.address, &frames, taken).await {
        Ok(tally) => {
            dated(hub, identified(json_response(StatusCode::OK, &tally.to_json()), &agent, &headers), login)
        }
        Err(invalidated) => conflict(invalidated),
    }
}

/// Counts a request, and tells whose it is: before anything in it is looked at.
fn counted(hub: &Hub, peer: &Peer, headers: &HeaderMap) -> Result<IpAddr, Box<Response<Body>>> {
    let client = hub.admission.client(peer.address.ip(), headers);
    match hub.admission.connect(client, Instant::now().into_std()) {
        Err(TurnedAway::TooOften(seconds)) => Err(too_often(u32::try_from(seconds).unwrap_or(u32::MAX))),
        _ => Ok(client),
    }
}

fn too_often(seconds: u32) -> Box<Response<Body>> {
    let told = format!("too many requests; retry in {seconds} seconds (agent-connect)");
    Box::new(web::retry_later(detail(StatusCode::TOO_MANY_REQUESTS, told), Some(seconds)))
}

/// An agent, and what a fault makes of its login.
type Admitted = (Arc<Agent>, Option<Login>);

/// The agent of a request's token, if it may come from there and its project is the one it means.
fn admit(
    hub: &Hub,
    (peer, client): (&Peer, IpAddr),
    headers: &HeaderMap,
    request_id: &str,
) -> Result<Admitted, Box<Response<Body>>> {
    if hub.admission.admit(client).is_err() {
        let (message, details) = (format!("{client} is not admitted"), json!({ "surface": "agent" }));
        let refusal = domain_error(StatusCode::FORBIDDEN, "ip_denied", &message, request_id, &details);
        return Err(Box::new(refusal));
    }
    let token = verdict::bearer(headers).ok_or_else(unknown_token)?;
    let (key, now) = (Key::of(token), Instant::now().into_std());
    let agent = hub.registry.by_token(token);
    if let Some((rule, detail)) = hub.violations.connects.arrived(key, now) {
        hub.violations.note(Culprit { session: None, agent: agent.as_ref() }, rule, &detail, None);
    }
    let Some(agent) = agent else {
        let refused = Closing::new(close::TOKEN, "");
        hub.violations.connects.ended(key, Some(&refused), false, now);
        return Err(not_admitted(hub, token, request_id));
    };
    let login = web::struck(hub, peer, Point::Login, headers, Login::of);
    let is_called = |name: &HeaderValue| agent.project.is_called(name.as_bytes());
    let mismatch = !headers.get(PROJECT_HEADER).is_none_or(is_called);
    match login {
        Some(Login::Rejected) => Err(unknown_token()),
        Some(Login::AddressRefused) => {
            let (message, details) = ("address not on the allow-list", json!({ "surface": "agent" }));
            Err(Box::new(domain_error(StatusCode::FORBIDDEN, "ip_denied", message, request_id, &details)))
        }
        Some(Login::RateLimited) => Err(too_often(RETRY_SECONDS)),
        Some(Login::OtherProject) => Err(other_project(&agent.in_other_project(), headers, request_id)),
        _ if mismatch => Err(other_project(&agent, headers, request_id)),
        login => Ok((agent, login)),
    }
}

/// The refusal of a token: of an archived project, or of nobody.
fn not_admitted(hub: &Hub, token: &str, request_id: &str) -> Box<Response<Body>> {
    let Some(agent) = hub.registry.known_token(token) else { return unknown_token() };
    let details = json!({ "project_id": agent.project.id, "agent_id": agent.id });
    let message = "the agent's project is archived";
    Box::new(domain_error(StatusCode::FORBIDDEN, "project_inactive", message, request_id, &details))
}

/// How long an agent is told to wait that asked too often.
const RETRY_SECONDS: u32 = 2;

fn other_project(agent: &Agent, headers: &HeaderMap, request_id: &str) -> Box<Response<Body>> {
    let message = format!("the token is of project {}", agent.project.slug);
    let details = json!({ "project_id": agent.project.id, "agent_id": agent.id });
    let refusal = domain_error(StatusCode::FORBIDDEN, "project_mismatch", &message, request_id, &details);
    Box::new(identified(refusal, agent, headers))
}

/// Notes a request that is not of its shape.
fn misshapen(hub: &Hub, headers: &HeaderMap, what: &str) {
    let agent = verdict::bearer(headers).and_then(|token| hub.registry.by_token(token));
    hub.violations.note(Culprit { session: None, agent: agent.as_ref() }, Rule::PollRequest, what, None);
}

/// The session nonce; missing and empty are the same session.
fn nonce(headers: &HeaderMap) -> String {
    let value = headers.get("x-z4j-session-nonce").map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.unwrap_or_default().into_owned()
}

fn conflict(invalidated: Invalidated) -> Response<Body> {
    if matches!(invalidated, Invalidated::AgentFull | Invalidated::Full) {
        return web::retry_later(detail(StatusCode::SERVICE_UNAVAILABLE, invalidated.to_string()), Some(1));
    }
    detail(StatusCode::CONFLICT, invalidated.to_string())
}

/// Adds the headers that tell an agent who it is, and one that named its project how that is called here.
fn identified(mut response: Response<Body>, agent: &Agent, asked: &HeaderMap) -> Response<Body> {
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

/// A part of a query without its encoding (the `application/x-www-form-urlencoded` parser of the URL standard).
pub(crate) fn decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (bytes, mut index, mut out) = (text.as_bytes(), 0, Vec::with_capacity(text.len()));
    while let Some(&byte) = bytes.get(index) {
        let pair = (digit(bytes.get(index + 1)), digit(bytes.get(index + 2)));
        index += 1;
        out.push(match (byte, pair) {
            (b'%', (Some(high), Some(low))) => {
                index += 2;
                u8::try_from(high << 4 | low).unwrap_or_default()
            }
            (b'+', _) => b' ',
            (byte, _) => byte,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Reads `wait` (0..=60, default 30) and `max_frames` (0..=500, default 50).
fn poll(query: &str) -> Result<Poll, serde_json::Value> {
    let value = |name| {
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(|(key, _)| decoded(key) == name).map(|(_, value)| decoded(value)).next_back()
    };
    let mut complaints = Vec::new();
    let mut number = |name: &'static str, default: u64, most: u64| {
        let Some(text) = value(name) else { return default };
        let text = text.as_str();
        match text.trim().parse::<i64>() {
            Ok(number) if number < 0 => complaints.push(complaint(name, "greater_than_equal", text, "ge", 0)),
            Ok(number) if number.unsigned_abs() > most => {
                complaints.push(complaint(name, "less_than_equal", text, "le", most));
            }
            Ok(number) => return number.unsigned_abs(),
            Err(_) => complaints.push(json!({
                "type": "int_parsing", "loc": ["query", name], "input": text,
                "msg": "Input should be a valid integer",
            })),
        }
        default
    };
    let poll = Poll { wait: number("wait", 30, 60), max_frames: number("max_frames", 50, 500) };
    if complaints.is_empty() { Ok(poll) } else { Err(complaints.into()) }
}

fn complaint(name: &str, kind: &str, input: &str, bound: &str, limit: u64) -> serde_json::Value {
    let words = if bound == "le" { "less" } else { "greater" };
    json!({
        "type": kind, "loc": ["query", name], "input": input, "ctx": { bound: limit },
        "msg": format!("Input should be {words} than or equal to {limit}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poll_parameters() {
        assert_eq!(poll(""), Ok(Poll { wait: 30, max_frames: 50 }));
        assert_eq!(poll("wait=0&max_frames=0&other=x"), Ok(Poll { wait: 0, max_frames: 0 }));
        assert_eq!(poll("wait=60&max_frames=500"), Ok(Poll { wait: 60, max_frames: 500 }));
        assert_eq!(poll("w%61it=%33%30&max_frames=+5"), Ok(Poll { wait: 30, max_frames: 5 }));
        assert_eq!(decoded("a%2Bb+%e4%f%"), "a+b \u{fffd}%f%");
        for bad in [
            "wait",
            "wait=%36%31",
            "wait=61",
            "wait=-1",
            "wait=x",
            "wait=",
            "max_frames=501",
            "wait=1&wait=99",
        ] {
            assert!(poll(bad).is_err(), "{bad}");
        }
        assert_eq!(poll("wait=61").unwrap_err()[0]["type"], "less_than_equal");
    }
}
