//! The routes: which request gets which answer.
//!
//! Owns the paths, their methods, the bound on bodies and the Host rule. Must not know what an agent's frames
//! mean.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, Response, StatusCode};
use serde_json::json;

use crate::fault::Point;
use crate::hub::Hub;
use crate::web::fault::refused;
use crate::web::request::{AgentRequest, content_length};
use crate::web::response::{dashboard, json_response, not_allowed, not_found, too_large, unauthenticated};
use crate::web::{GATEWAY, Peer};
use crate::{longpoll, rest};

pub(super) async fn route(hub: &Arc<Hub>, peer: Peer, request: AgentRequest, id: &str) -> Response<Body> {
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
        "/api/v1/agent/commands" if is_get => match refused(hub, &peer, Point::Poll, &request, id).await {
            Some(refusal) => refusal,
            None => longpoll::commands(hub, &peer, &request, id).await,
        },
        "/api/v1/agent/events" if request.method() == Method::POST => {
            match refused(hub, &peer, Point::Post, &request, id).await {
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
