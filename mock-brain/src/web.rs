//! The HTTP surface on the agent port: which request gets which answer.
//!
//! Owns the routes, the Host rule and the bodies of errors, which are the real brain's. Must not know what
//! an agent's frames mean (`gateway`, `longpoll`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, UNIX_EPOCH};

use axum::body::Body;
use http::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::fault::table::Site;
use crate::fault::{Fault, Http, LongPoll, Point};
use crate::hub::{Farewell, Hub};
use crate::listener::Ticket;
use crate::proxy::{self, LetGo, Passage};
use crate::stream::Stream;
use crate::stream::served::{Pace, Served};
use crate::violation::{self, Culprit, Key};
use crate::{gateway, longpoll, random, rest, verdict};

/// Largest request head.
const MAX_HEAD: usize = 64 << 10;
/// How long open requests may take once the brain stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// What the paths of long-poll begin with.
const LONG_POLL: &str = "/api/v1/agent/";
/// The path of the WebSocket gateway.
const GATEWAY: &str = "/ws/agent";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A connection, as requests see it.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Changes once the brain goes down.
    pub(crate) killed: watch::Receiver<Farewell>,
    /// Held by the connection and by the session that it is upgraded to.
    pub(crate) _ticket: Arc<Ticket>,
}

/// A request with what it came over.
pub(crate) type AgentRequest = Request<Incoming>;

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
    let through = match proxy::pass(hub, &peer, &mut request, pace).await? {
        Passage::Through(through) => through,
        Passage::Answered(page) => return Ok(page),
    };
    judge(hub, &request);
    if wants_upgrade(&request) && !through.is_stripped {
        // Neither the Host rule nor the headers of normal answers apply to upgrades.
        return Ok(if request.uri().path() == GATEWAY {
            gateway::accept(hub, peer, request, through.handshake.as_ref())
        } else {
            closing(text(StatusCode::FORBIDDEN, ""))
        });
    }
    let id = request_id(request.headers());
    let asked = long_poll_key(hub, &request);
    let mut response = route(hub, peer, request, &id).await;
    if let Some((key, post)) = asked {
        remember_wait(hub, key, post, &response);
    }
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    if headers.remove(NO_REQUEST_ID).is_some() {
        headers.remove(REQUEST_ID);
    }
    if through.is_old {
        *response.version_mut() = Version::HTTP_10;
    }
    Ok(response)
}

/// Notes what is wrong with a request to one of the agents' paths.
fn judge(hub: &Hub, request: &AgentRequest) {
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
fn long_poll_key(hub: &Hub, request: &AgentRequest) -> Option<(Key, bool)> {
    let looked_at = hub.violations.is_strict() && request.uri().path().starts_with(LONG_POLL);
    let token = verdict::bearer(request.headers()).filter(|_| looked_at)?;
    Some((Key::of(token), request.method() == Method::POST))
}

fn remember_wait(hub: &Hub, key: Key, post: bool, response: &Response<Body>) {
    let told = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    if let Some(seconds) = told.and_then(|text| text.parse().ok()) {
        hub.violations.refusals.wait(key, post, Duration::from_secs(seconds), Instant::now());
    }
}

/// Marks a response that bears no request id.
const NO_REQUEST_ID: HeaderName = HeaderName::from_static("x-mock-brain-no-request-id");

const SECURITY_HEADERS: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// A fault at one of the points of a request.
pub(crate) fn struck<T>(
    hub: &Hub,
    peer: &Peer,
    point: Point,
    headers: &HeaderMap,
    pick: impl Fn(&Fault) -> Option<T>,
) -> Option<T> {
    if !hub.faults.any() {
        return None;
    }
    let agent = verdict::bearer(headers).and_then(|token| hub.registry.by_token(token));
    let picked = hub.faults.take(&Site::new(point, peer.address.ip()).of(agent.as_ref()), pick);
    if picked.is_some() {
        tracing::info!(peer = %peer.address, point = point.as_str(), "fault in the answer to a request");
    }
    picked
}

/// What a fault makes the brain itself answer to a long-poll request, if one strikes here.
async fn refused(
    hub: &Hub,
    peer: &Peer,
    point: Point,
    headers: &HeaderMap,
    id: &str,
) -> Option<Response<Body>> {
    let struck = struck(hub, peer, point, headers, |fault| match fault {
        Fault::Http(_) | Fault::LongPoll(LongPoll::SessionLost) => Some(fault.clone()),
        _ => None,
    })?;
    match struck {
        Fault::Http(Http::Status { code, retry_after, location, error }) => {
            let message = code.canonical_reason().unwrap_or("refused");
            let mut response = match error {
                Some(error) => domain_error(code, &error, message, id, &json!({})),
                None => detail(code, message),
            };
            proxy::told(&mut response, retry_after, location.as_deref());
            Some(response)
        }
        Fault::Http(Http::Late(time)) => {
            tokio::time::sleep(time).await;
            None
        }
        _ => Some(longpoll::session_lost()),
    }
}

pub(crate) fn retry_later(mut response: Response<Body>, seconds: Option<u32>) -> Response<Body> {
    proxy::told(&mut response, seconds, None);
    response
}

/// RFC 6455, 4.1: GET, HTTP/1.1, `Connection: upgrade`, `Upgrade: websocket`.
pub(crate) fn wants_upgrade(request: &AgentRequest) -> bool {
    let names = |name, wanted: &str| {
        let values = request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(wanted))
    };
    request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && names(CONNECTION, "upgrade")
        && names(UPGRADE, "websocket")
}

async fn route(hub: &Arc<Hub>, peer: Peer, request: AgentRequest, id: &str) -> Response<Body> {
    let most = hub.limits.body_bytes;
    if content_length(request.headers()).is_some_and(|length| length > most) {
        return too_large(most);
    }
    let path = request.uri().path().to_owned();
    let health = matches!(path.as_str(), "/api/v1/health" | "/api/v1/health/ready");
    if !health && !hub.hosts.allow(request.headers()) {
        let message = "Bad Request: invalid Host header.";
        let body = json!({ "error": "invalid_host", "message": message, "request_id": id });
        return json_response(StatusCode::BAD_REQUEST, &body);
    }
    let is_get = request.method() == Method::GET;
    match path.as_str() {
        "/api/v1/health" if is_get => json_response(StatusCode::OK, &json!({ "status": "ok" })),
        "/api/v1/health/ready" if is_get => json_response(StatusCode::OK, &json!({ "status": "ready" })),
        "/api/v1/agent/commands" if is_get => {
            match refused(hub, &peer, Point::Poll, request.headers(), id).await {
                Some(refusal) => refusal,
                None => longpoll::commands(hub, &peer, &request, id).await,
            }
        }
        "/api/v1/agent/events" if request.method() == Method::POST => {
            match refused(hub, &peer, Point::Post, request.headers(), id).await {
                Some(refusal) => refusal,
                None => longpoll::events(hub, &peer, request, id).await,
            }
        }
        path if rest::is_here(path) => rest::answer(hub, &peer, request, id).await,
        path if is_get && is_under_ws(path) => not_found(),
        "/api/v1/agent/events" if is_get => not_found(),
        "/api/v1/agent/events" => not_allowed("POST"),
        "/api/v1/health" | "/api/v1/health/ready" | "/api/v1/agent/commands" | GATEWAY => not_allowed("GET"),
        "/metrics" if is_get => unauthenticated(),
        "/healthz" => not_found(),
        path if path == "/api" || path.starts_with("/api/") => not_found(),
        _ if is_get => dashboard(),
        _ => not_allowed("GET"),
    }
}

/// `/ws` and what is below it, however many slashes stand in between.
fn is_under_ws(path: &str) -> bool {
    let path = path.trim_start_matches('/');
    path == "ws" || path.starts_with("ws/")
}

/// The metrics are for those with a token of their own, and none is emulated.
fn unauthenticated() -> Response<Body> {
    let mut response = detail(StatusCode::UNAUTHORIZED, "Unauthorized");
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Any other page is the dashboard's on the real brain: an agent with a wrong base path sees HTML and 200.
fn dashboard() -> Response<Body> {
    let page = "<!doctype html><html><head><title>z4j (mock)</title></head><body>mock-brain: the real \
                brain shows its dashboard here.</body></html>\n";
    with_type(StatusCode::OK, "text/html; charset=utf-8", page.to_owned())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Says that the connection ends with this answer.
pub(crate) fn closing(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The client's request id if it is usable, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    match given.filter(|id| (1..=64).contains(&id.len())) {
        Some(id) => id.to_owned(),
        None => format!("req_{}", random::hex::<8>()),
    }
}

pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(crate) fn text(status: StatusCode, body: &str) -> Response<Body> {
    with_type(status, "text/plain", body.to_owned())
}

pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    with_type(status, "application/json", body.to_string())
}

/// A refusal of the framework's kind: `{"detail": …}`.
pub(crate) fn detail(status: StatusCode, detail: impl Into<Value>) -> Response<Body> {
    json_response(status, &json!({ "detail": detail.into() }))
}

/// A refusal of the brain's own kind.
pub(crate) fn domain_error(
    status: StatusCode,
    code: &str,
    message: &str,
    id: &str,
    details: &Value,
) -> Response<Body> {
    let body = json!({ "error": code, "message": message, "request_id": id, "details": details });
    json_response(status, &body)
}

fn not_found() -> Response<Body> {
    detail(StatusCode::NOT_FOUND, "Not Found")
}

pub(crate) fn not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

fn too_large(most: u64) -> Response<Body> {
    let body = json!({
        "error": "payload_too_large",
        "message": format!("request body exceeds {most} bytes"),
        "request_id": null,
        "details": { "reason": "content_length_exceeded" },
    });
    let mut response = json_response(StatusCode::PAYLOAD_TOO_LARGE, &body);
    response.headers_mut().insert(NO_REQUEST_ID, HeaderValue::from_static("1"));
    closing(response)
}
