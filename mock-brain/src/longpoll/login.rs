//! Who may poll and post: the address, the token, the project.
//!
//! Owns the order of these checks on both endpoints, and the refusals. Must not know tokens (`registry`).

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::json;
use tokio::time::Instant;
use z4j_protocol::close;

use crate::admission::TurnedAway;
use crate::fault::Point;
use crate::hub::Hub;
use crate::login::Login;
use crate::longpoll::header::{PROJECT_HEADER, identified};
use crate::registry::Agent;
use crate::verdict;
use crate::violation::{Culprit, Key};
use crate::web::{self, Peer, detail, domain_error};

/// How long an agent is told to wait that asked too often.
const RETRY_SECONDS: u32 = 2;

/// Counts a request, and tells whose it is: before anything in it is looked at.
pub(super) fn counted(hub: &Hub, peer: &Peer, headers: &HeaderMap) -> Result<IpAddr, Box<Response<Body>>> {
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
pub(super) fn admit(
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
    let Some(agent) = agent else {
        if let Some((rule, detail)) = hub.violations.connects.refused(key, client, close::TOKEN, now) {
            let agent = hub.registry.whose(token);
            hub.violations.note(Culprit { session: None, agent: agent.as_ref() }, rule, &detail, None);
        }
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

fn unknown_token() -> Box<Response<Body>> {
    Box::new(detail(StatusCode::UNAUTHORIZED, "invalid agent token"))
}

/// The refusal of a token: of an archived project, or of nobody.
pub(super) fn not_admitted(hub: &Hub, token: &str, request_id: &str) -> Box<Response<Body>> {
    let Some(agent) = hub.registry.known_token(token) else { return unknown_token() };
    let details = json!({ "project_id": agent.project.id, "agent_id": agent.id });
    let message = "the agent's project is archived";
    Box::new(domain_error(StatusCode::FORBIDDEN, "project_inactive", message, request_id, &details))
}

fn other_project(agent: &Agent, headers: &HeaderMap, request_id: &str) -> Box<Response<Body>> {
    let message = format!("the token is of project {}", agent.project.slug);
    let details = json!({ "project_id": agent.project.id, "agent_id": agent.id });
    let refusal = domain_error(StatusCode::FORBIDDEN, "project_mismatch", &message, request_id, &details);
    Box::new(identified(refusal, agent, headers))
}
