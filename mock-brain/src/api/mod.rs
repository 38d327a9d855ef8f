//! The control API: `/mock/v1/…` on an address of its own, for the other subcommands.
//!
//! Owns who may use it: a bearer token from `control.json`, no foreign Host and no Origin, so that no web
//! page can (DNS rebinding). Must not be reachable on the agent port.

pub(crate) mod agents;
pub(crate) mod certificates;
pub(crate) mod commands;
mod error;
pub(crate) mod journal;
pub(crate) mod wait;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::constant_time;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::dashboard;
use crate::fault::FaultSpec;
use crate::fault::table::ActiveFault;
use crate::hub::Hub;
use crate::registry::Credentials;
use crate::sessions::SessionInfo;
use crate::store::StoredEvent;
use crate::verdict;
use crate::violation::Violation;

pub(crate) use error::{ApiError, ErrorCode, Refusal};

/// Largest request body.
const MAX_BODY: usize = 64 << 10;

/// A list with a name, as every list here is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Items<T> {
    pub(crate) items: Vec<T>,
}

/// `GET /mock/v1/events`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Events {
    pub(crate) items: Vec<StoredEvent>,
    pub(crate) duplicates: u64,
}

/// `GET /mock/v1/env`.
#[derive(Serialize, Deserialize)]
pub(crate) struct EnvAnswer {
    /// `https://127.0.0.1:7700/`
    pub(crate) brain_url: String,
    #[serde(flatten)]
    pub(crate) credentials: Credentials,
    /// The CA file's path, with TLS.
    pub(crate) ca_file: Option<String>,
}

/// `POST /mock/v1/faults`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetFault {
    pub(crate) spec: String,
}

/// The API of one brain.
pub(crate) struct Api {
    pub(crate) hub: Arc<Hub>,
    pub(crate) token: String,
    /// The API's own address, which the Host header must name.
    pub(crate) address: SocketAddr,
    pub(crate) brain_url: String,
    pub(crate) ca_file: Option<String>,
    pub(crate) state_dir: PathBuf,
    /// Told when the brain is to end.
    pub(crate) shutdown: Arc<Notify>,
}

impl Api {
    /// The Host header, if it names this address.
    pub(crate) fn own_host<'h>(&self, headers: &'h HeaderMap) -> Result<&'h str, Refusal> {
        let host = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let local = format!("localhost:{}", self.address.port());
        if host == self.address.to_string() || host == local {
            return Ok(host);
        }
        Err(Refusal::new(ErrorCode::ForeignHost, format!("this API is reached as {}", self.address)))
    }
}

/// Serves until the brain stops.
pub(crate) async fn serve(api: Api, listener: TcpListener) -> io::Result<()> {
    let api = Arc::new(api);
    let hub = Arc::clone(&api.hub);
    let stopping = async move { hub.stopping().await };
    let router = dashboard::router(&api).merge(router(api));
    axum::serve(listener, router).with_graceful_shutdown(stopping).await
}

fn router(api: Arc<Api>) -> Router {
    let unknown = || async { Refusal::new(ErrorCode::NotFound, "no such endpoint") };
    let wrong_method =
        || async { Refusal::new(ErrorCode::MethodNotAllowed, "this endpoint does not take that method") };
    Router::new()
        .route("/mock/v1/env", get(env))
        .route("/mock/v1/events", get(events))
        .route("/mock/v1/sessions", get(sessions))
        .route("/mock/v1/agents", get(agents::list).post(agents::add).put(agents::ensure))
        .route("/mock/v1/agents/{name}", delete(agents::revoke))
        .route("/mock/v1/agents/{name}/token", post(agents::set_token))
        .route("/mock/v1/projects", post(agents::add_project))
        .route("/mock/v1/commands", get(commands::list).post(commands::send))
        .route("/mock/v1/commands/{id}", get(commands::one))
        .route("/mock/v1/journal", get(journal::page))
        .route("/mock/v1/certificates", get(certificates::show).post(certificates::issue))
        .route("/mock/v1/certificates/rotate", post(certificates::rotate))
        .route("/mock/v1/violations", get(violations))
        .route("/mock/v1/wait", post(wait::wait))
        .route("/mock/v1/shutdown", post(wait::shutdown))
        .route("/mock/v1/faults", get(faults).post(set_fault).delete(clear_faults))
        .route("/mock/v1/faults/{name}", delete(clear_fault))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), guard))
        .with_state(api)
}

async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if let Err(refusal) = api.own_host(headers) {
        return refusal.into_response();
    }
    if headers.contains_key(ORIGIN) {
        return Refusal::new(ErrorCode::ForeignOrigin, "requests of web pages are not taken").into_response();
    }
    let token = verdict::bearer(headers).unwrap_or_default();
    if constant_time::verify_slices_are_equal(token.as_bytes(), api.token.as_bytes()).is_err() {
        let message = "the bearer token is the one in control.json";
        return Refusal::new(ErrorCode::Unauthenticated, message).into_response();
    }
    next.run(request).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvQuery {
    agent: Option<String>,
}

async fn env(
    State(api): State<Arc<Api>>,
    query: Result<Query<EnvQuery>, QueryRejection>,
) -> Result<Json<EnvAnswer>, Refusal> {
    let Query(query) = query.map_err(|error| Refusal::unreadable(error.body_text()))?;
    let agent = api.hub.registry.named(query.agent.as_deref())?;
    Ok(Json(EnvAnswer {
        brain_url: api.brain_url.clone(),
        credentials: agent.credentials(),
        ca_file: api.ca_file.clone(),
    }))
}

async fn events(State(api): State<Arc<Api>>) -> Result<Json<Events>, Refusal> {
    let hub = Arc::clone(&api.hub);
    let items = journal::on_disk(move || hub.events()).await?;
    Ok(Json(Events { items, duplicates: api.hub.store.duplicates() }))
}

async fn sessions(State(api): State<Arc<Api>>) -> Json<Items<SessionInfo>> {
    Json(Items { items: api.hub.sessions.list() })
}

async fn violations(State(api): State<Arc<Api>>) -> Json<Items<Violation>> {
    Json(Items { items: api.hub.violations.list() })
}

async fn faults(State(api): State<Arc<Api>>) -> Json<Items<ActiveFault>> {
    Json(Items { items: api.hub.faults.list() })
}

async fn set_fault(
    State(api): State<Arc<Api>>,
    body: Result<Json<SetFault>, JsonRejection>,
) -> Result<Json<Items<ActiveFault>>, Refusal> {
    let Json(SetFault { spec }) = body.map_err(|error| Refusal::unreadable(error.body_text()))?;
    api.hub.set_fault(spec.parse::<FaultSpec>()?)?;
    tracing::info!(%spec, "fault set");
    Ok(faults(State(api)).await)
}

async fn clear_faults(State(api): State<Arc<Api>>) -> Json<Items<ActiveFault>> {
    api.hub.clear_faults(None);
    tracing::info!("all faults cleared");
    faults(State(api)).await
}

async fn clear_fault(
    State(api): State<Arc<Api>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Items<ActiveFault>>, Refusal> {
    let Path(name) = name.map_err(|error| Refusal::unreadable(error.body_text()))?;
    if !api.hub.clear_faults(Some(&name)) {
        let message = format!("fault {name:?} is not set");
        return Err(Refusal::new(ErrorCode::NotSet, message));
    }
    tracing::info!(name, "fault cleared");
    Ok(faults(State(api)).await)
}
