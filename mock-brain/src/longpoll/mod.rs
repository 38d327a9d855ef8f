//! The long-poll transport: `GET /api/v1/agent/commands` and `POST /api/v1/agent/events`.
//!
//! Owns the two endpoints: their parameters, order of checks and bodies. Must not keep session state
//! (`sessions`).

mod body;
mod caller;
mod frames;
mod header;
mod login;
mod query;
pub(crate) mod sessions;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use z4j_protocol::FrameType;

use crate::clock;
use crate::commands::Wanted;
use crate::fault::{Fault, LongPoll, Point};
use crate::hub::Hub;
use crate::journal::{Entry, Kind};
use crate::verdict;
use crate::violation::{Culprit, Rule};
use crate::web::{self, AgentRequest, Peer, detail, json_response};
use caller::Caller;
use header::{contracts, dated, identified};
use login::{admit, counted, not_admitted};
use query::{Poll, poll};
use sessions::{Invalidated, Use};

pub(crate) use body::is_json;
pub(crate) use header::nonce;
pub(crate) use query::{decoded, is_probe};

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
            misshapen(
                hub,
                request.headers(),
                "parameters of a poll",
                &web::asked(request.method(), request.uri()),
            );
            return detail(StatusCode::UNPROCESSABLE_ENTITY, complaints);
        }
    };
    let (agent, login) = match admit(hub, (peer, client), request.headers(), request_id) {
        Ok(admitted) => admitted,
        Err(refusal) => return *refusal,
    };
    let nonce = nonce(request.headers());
    let caller = Caller { agent: &agent, nonce: &nonce, login };
    let answer = match held(hub, caller, request.headers(), &poll, request_id).await {
        Ok(frames) => {
            identified(json_response(StatusCode::OK, &json!({ "frames": frames })), &agent, request.headers())
        }
        Err(refusal) => *refusal,
    };
    dated(hub, answer, login)
}

/// Holds a poll until there are commands for it, its time is over, or its agent is not let in any more.
async fn held(
    hub: &Hub,
    caller: Caller<'_>,
    headers: &HeaderMap,
    poll: &Poll,
    request_id: &str,
) -> Result<Vec<String>, Box<Response<Body>>> {
    let agent = caller.agent;
    let used = if poll.is_probe() { Use::Probe } else { Use::Poll };
    let entered = hub.longpoll.enter(hub, caller, used);
    let _in_flight = entered.map_err(|invalidated| Box::new(conflict(invalidated)))?;
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
            let signed = hub.longpoll.sign(hub, caller, &deliveries, now);
            let frames = signed.map_err(|invalidated| {
                deliveries.iter().for_each(|command| hub.commands.unsent(agent.id, command, clock::now()));
                Box::new(conflict(invalidated))
            })?;
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
        Err((refusal, read)) => {
            if refusal.status() == StatusCode::UNPROCESSABLE_ENTITY {
                misshapen(hub, &headers, "the body of a post", &read);
            }
            return *refusal;
        }
    };
    let (agent, login) = match admit(hub, (peer, client), &headers, request_id) {
        Ok(admitted) => admitted,
        Err(refusal) => return *refusal,
    };
    let partial = web::struck(hub, peer, Point::Post, &headers, |fault| match fault {
        Fault::LongPoll(LongPoll::Partial(count)) => Some(*count),
        _ => None,
    });
    let taken = partial.map_or(frames.len(), |count| frames.len().min(count as usize));
    let nonce = nonce(&headers);
    let caller = Caller { agent: &agent, nonce: &nonce, login };
    let answer = match frames::apply(hub, caller, peer.address, &frames, taken).await {
        Ok(tally) => identified(json_response(StatusCode::OK, &tally.to_json()), &agent, &headers),
        Err(invalidated) => conflict(invalidated),
    };
    dated(hub, answer, login)
}

/// What a brain says that has forgotten a session, as another worker of it would.
pub(crate) fn session_lost() -> Response<Body> {
    conflict(Invalidated::ProbeFirst)
}

fn conflict(invalidated: Invalidated) -> Response<Body> {
    if matches!(invalidated, Invalidated::AgentFull | Invalidated::Full) {
        return web::retry_later(detail(StatusCode::SERVICE_UNAVAILABLE, invalidated.to_string()), Some(1));
    }
    detail(StatusCode::CONFLICT, invalidated.to_string())
}

/// Notes a request that is not of its shape.
fn misshapen(hub: &Hub, headers: &HeaderMap, what: &str, raw: &Bytes) {
    let agent = verdict::bearer(headers).and_then(|token| hub.registry.by_token(token));
    hub.violations.note(Culprit { session: None, agent: agent.as_ref() }, Rule::PollRequest, what, Some(raw));
}
