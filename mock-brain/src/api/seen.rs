//! `/mock/v1/events`, `sessions`, `violations` and `reset`: what this brain saw, and forgetting it.
//!
//! Owns the bodies.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::journal::on_disk;
use super::{Api, ApiError, Items, Refusal};
use crate::sessions::SessionInfo;
use crate::store::StoredEvent;
use crate::violation::Violation;

/// Accepted events.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Events {
    /// Each once, oldest first.
    pub(crate) items: Vec<StoredEvent>,
    /// How many came again.
    pub(crate) duplicates: u64,
}

/// Every accepted event once, oldest first.
#[utoipa::path(get, path = "/mock/v1/events", operation_id = "list_events", tag = "seen",
    responses((status = 200, description = "the events kept", body = Events),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn events(State(api): State<Arc<Api>>) -> Result<Json<Events>, Refusal> {
    let hub = Arc::clone(&api.hub);
    let items = on_disk(move || hub.events()).await?;
    Ok(Json(Events { items, duplicates: api.hub.store.duplicates() }))
}

/// Sessions, live and ended, oldest first; also those that were refused.
#[utoipa::path(get, path = "/mock/v1/sessions", operation_id = "list_sessions", tag = "seen",
    responses((status = 200, description = "the sessions that are open", body = Items<SessionInfo>),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn sessions(State(api): State<Arc<Api>>) -> Json<Items<SessionInfo>> {
    Json(Items { items: api.hub.sessions.list() })
}

/// What clients got wrong.
#[utoipa::path(get, path = "/mock/v1/violations", operation_id = "list_violations", tag = "seen",
    responses((status = 200, description = "the violations kept", body = Items<Violation>),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn violations(State(api): State<Arc<Api>>) -> Json<Items<Violation>> {
    Json(Items { items: api.hub.violations.list() })
}

/// Forget the violations.
#[utoipa::path(delete, path = "/mock/v1/violations", operation_id = "clear_violations", tag = "seen",
    responses((status = 200, description = "the violations kept", body = Items<Violation>),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn clear_violations(State(api): State<Arc<Api>>) -> Json<Items<Violation>> {
    api.hub.violations.clear();
    violations(State(api)).await
}

/// What a reset leaves.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Reset {
    /// Sessions that live, and go on.
    pub(crate) sessions: usize,
}

/// Forget events, sessions that ended, violations, commands and the journal, clear all faults, and set the clock
/// right. Projects, agents, certificates, logins and live sessions stay.
#[utoipa::path(post, path = "/mock/v1/reset", operation_id = "reset", tag = "brain",
    responses((status = 200, description = "what a reset leaves", body = Reset),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn reset(State(api): State<Arc<Api>>) -> Json<Reset> {
    api.hub.reset().await;
    tracing::info!("reset");
    Json(Reset { sessions: api.hub.sessions.live() })
}
