//! `/mock/v1/events`, `sessions`, `violations` and `reset`: what this brain saw, and forgetting it.
//!
//! Owns the bodies.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::journal::on_disk;
use super::{Api, ApiError, Items, Refusal};
use crate::registry::Agent;
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

/// Whose.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whose {
    /// The agent's name, `PROJECT/NAME` or UUID; everybody's if it is left out.
    agent: Option<String>,
}

/// The agent of a name, if there is one: of a typo nothing would be told, and nothing reads as all is well.
pub(super) fn known_agent(api: &Api, name: Option<&str>) -> Result<Option<Arc<Agent>>, Refusal> {
    Ok(name.map(|name| api.hub.registry.named(Some(name))).transpose()?)
}

/// Every accepted event once, oldest first.
#[utoipa::path(get, path = "/mock/v1/events", operation_id = "list_events", tag = "seen",
    responses((status = 200, description = "the events kept", body = Events),
        (status = 500, description = "the journal cannot be read: journal, internal", body = ApiError),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn events(State(api): State<Arc<Api>>) -> Result<Json<Events>, Refusal> {
    let hub = Arc::clone(&api.hub);
    let items = on_disk(move || hub.events()).await??;
    Ok(Json(Events { items, duplicates: api.hub.store.duplicates() }))
}

/// Sessions, live and ended, oldest first; also those that were refused.
#[utoipa::path(get, path = "/mock/v1/sessions", operation_id = "list_sessions", tag = "seen", params(Whose),
    responses((status = 200, description = "the sessions kept", body = Items<SessionInfo>),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn sessions(
    State(api): State<Arc<Api>>,
    whose: Result<Query<Whose>, QueryRejection>,
) -> Result<Json<Items<SessionInfo>>, Refusal> {
    let Query(whose) = whose.map_err(|error| Refusal::unreadable(error.body_text()))?;
    let mut items = api.hub.sessions.list();
    if let Some(agent) = known_agent(&api, whose.agent.as_deref())? {
        items.retain(|one| agent.is_told_as(one.agent_name.as_deref(), one.project_id.as_deref()));
    }
    Ok(Json(Items { items }))
}

/// What clients got wrong.
#[utoipa::path(get, path = "/mock/v1/violations", operation_id = "list_violations", tag = "seen", params(Whose),
    responses((status = 200, description = "the violations kept", body = Items<Violation>),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn violations(
    State(api): State<Arc<Api>>,
    whose: Result<Query<Whose>, QueryRejection>,
) -> Result<Json<Items<Violation>>, Refusal> {
    let Query(whose) = whose.map_err(|error| Refusal::unreadable(error.body_text()))?;
    let mut items = api.hub.violations.list();
    if let Some(agent) = known_agent(&api, whose.agent.as_deref())? {
        items.retain(|one| agent.is_told_as(one.agent.as_deref(), one.project_id.as_deref()));
    }
    Ok(Json(Items { items }))
}

/// Forget the violations.
#[utoipa::path(delete, path = "/mock/v1/violations", operation_id = "clear_violations", tag = "seen",
    responses((status = 200, description = "the violations kept", body = Items<Violation>),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn clear_violations(State(api): State<Arc<Api>>) -> Json<Items<Violation>> {
    api.hub.violations.clear();
    Json(Items { items: api.hub.violations.list() })
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
        (status = 500, description = "the journal cannot be written: journal", body = ApiError),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn reset(State(api): State<Arc<Api>>) -> Result<Json<Reset>, Refusal> {
    api.hub.reset().await?;
    tracing::info!("reset");
    Ok(Json(Reset { sessions: api.hub.sessions.live() }))
}
