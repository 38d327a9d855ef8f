//! The HTTP surface on the agent port: a connection, and the way of a request through it.
//!
//! Owns the order: proxies, conduct, upgrade, route, and the headers that every answer bears. Must not know what
//! an agent's frames mean (`gateway`, `longpoll`).

mod conduct;
mod fault;
mod request;
mod response;
mod route;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use http::header::DATE;
use http::{HeaderName, HeaderValue, Response, StatusCode, Version};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;

use crate::gateway;
use crate::hub::{Farewell, Hub};
use crate::listener::Ticket;
use crate::proxy::{self, LetGo, Passage};
use crate::stream::Stream;
use crate::stream::served::{Pace, Served};
use conduct::{Told, judge_size, judged, long_poll_key, note_refusal, remember_wait};
use request::{REQUEST_ID, request_id};
use response::NO_REQUEST_ID;
use route::route;

pub(crate) use conduct::asked;
pub(crate) use fault::struck;
pub(crate) use request::{AgentRequest, wants_upgrade};
pub(crate) use response::{
    closing, detail, domain_error, json_response, not_allowed, retry_later, text, with_type,
};

/// Largest request head.
const MAX_HEAD: usize = 64 << 10;

/// How long open requests may take once the brain stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What the paths of long-poll begin with.
const LONG_POLL: &str = "/api/v1/agent/";

/// The path of the WebSocket gateway.
const GATEWAY: &str = "/ws/agent";

const SECURITY_HEADERS: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// A connection, as requests see it.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Changes once the brain goes down.
    pub(crate) killed: watch::Receiver<Farewell>,
    /// Held by the connection and by the session that it is upgraded to.
    pub(crate) _ticket: Arc<Ticket>,
}

/// Serves HTTP/1.1 on a connection until it ends, is upgraded, or the brain stops.
pub(crate) async fn serve(hub: Arc<Hub>, stream: Stream, peer: Peer) {
    let address = peer.address;
    let pace = Pace::default();
    let service = service_fn(|request| {
        let (hub, peer, pace) = (Arc::clone(&hub), peer.clone(), pace.clone());
        async move { answer(&hub, peer, request, &pace).await.map(|response| dated(&hub, response)) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(hub.limits.head).max_buf_size(MAX_HEAD);
    let lower = hub.oddities.as_ref().is_some_and(|oddities| oddities.roll().one_in(2));
    server.title_case_headers(!lower).max_header_size(MAX_HEAD);
    let (served, back) = Served::lend(stream, pace.clone());
    let mut connection = Box::pin(server.serve_connection(TokioIo::new(served), service).with_upgrades());
    let done = tokio::select! {
        done = connection.as_mut() => done,
        () = hub.stopping() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(STOP_TIMEOUT, connection.as_mut()).await.unwrap_or(Ok(()))
        }
    };
    drop(connection);
    if let Err(error) = done {
        tracing::debug!(peer = %address, %error, "connection ended");
        let let_go = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<LetGo>());
        if let (Some(let_go), Ok(stream)) = (let_go, back.await) {
            proxy::finish(&hub, stream, let_go).await;
        }
    }
}

/// Dates an answer by this brain's clock, if it was made wrong, unless it is dated already.
fn dated(hub: &Hub, mut response: Response<Body>) -> Response<Body> {
    let is_wrong = hub.clock_offset.load(Ordering::Relaxed) != 0;
    if is_wrong && !response.headers().contains_key(DATE) {
        let since = u64::try_from(hub.now().unix_seconds()).unwrap_or_default();
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(since));
        if let Ok(date) = HeaderValue::from_str(&date) {
            response.headers_mut().insert(DATE, date);
        }
    }
    response
}

async fn answer(
    hub: &Arc<Hub>,
    peer: Peer,
    mut request: AgentRequest,
    pace: &Pace,
) -> Result<Response<Body>, LetGo> {
    // What an agent asks is judged as it asks it, whoever answers.
    let before = judged(hub, &request, peer.address);
    let through = match proxy::pass(hub, &peer, &mut request, pace).await? {
        Passage::Through(through) => through,
        Passage::Answered(page) => {
            if let Some((key, post)) = long_poll_key(hub, &request) {
                remember_wait(hub, key, post, &page);
            }
            return Ok(page);
        }
    };
    let is_upgrade = wants_upgrade(&request) && !through.is_stripped;
    // Below a prefix that the way takes off, the path is an agents' one only now.
    let told = before.or_else(|| judged(hub, &request, peer.address));
    let told = told.or_else(|| is_upgrade.then(|| Told::of(hub, &request, peer.address)));
    if let Some(told) = &told {
        judge_size(hub, &request, told);
    }
    if is_upgrade {
        // Neither the Host rule nor the headers of normal answers apply to upgrades.
        let response = if request.uri().path() == GATEWAY {
            gateway::accept(hub, peer, request, through.handshake.as_ref())
        } else {
            closing(text(StatusCode::FORBIDDEN, ""))
        };
        return Ok(noted(hub, told.as_ref(), response).await);
    }
    let id = request_id(request.headers());
    let long_poll = long_poll_key(hub, &request);
    let response = route(hub, peer, request, &id).await;
    let mut response = noted(hub, told.as_ref(), response).await;
    if let Some((key, post)) = long_poll {
        remember_wait(hub, key, post, &response);
    }
    finish(&mut response, &id, through.is_old);
    Ok(response)
}

/// An answer, noted if it refuses a request to the agents' side.
async fn noted(hub: &Hub, told: Option<&Told>, response: Response<Body>) -> Response<Body> {
    if let Some(told) = told {
        note_refusal(hub, told, response.status()).await;
    }
    response
}

/// The headers that every answer bears.
fn finish(response: &mut Response<Body>, id: &str, is_old: bool) {
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    if headers.remove(NO_REQUEST_ID).is_some() {
        headers.remove(REQUEST_ID);
    }
    if is_old {
        *response.version_mut() = Version::HTTP_10;
    }
}
