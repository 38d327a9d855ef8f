//! `/mock/v1/agents` and `/mock/v1/env`: who is let in, and with what.
//!
//! Owns the bodies. Answers bear tokens: whoever may ask is the brain's own user.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Api, ApiError, Items, Refusal};
use crate::quote::quote;
use crate::registry::{Agent, AgentInfo, Credentials};
use crate::state;

/// What an agent is configured with. It bears secrets.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct EnvAnswer {
    /// `https://127.0.0.1:7700/`
    pub(crate) brain_url: String,
    #[serde(flatten)]
    pub(crate) credentials: Credentials,
    /// The CA file's path, with TLS.
    pub(crate) ca_file: Option<String>,
}

/// Whose settings.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnvQuery {
    /// The agent's name, `PROJECT/NAME` or UUID; the one that the brain was started with if it is left out.
    agent: Option<String>,
}

/// An agent to be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddAgent {
    /// Its name.
    pub(crate) name: String,
    /// Its project's slug; that of the brain's first agent if it is left out.
    #[serde(default)]
    pub(crate) project: Option<String>,
}

/// There are to be agents of these names, `PREFIX1` to `PREFIXn`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnsureAgents {
    /// What the names begin with.
    pub(crate) prefix: String,
    /// How many, up to 100,000.
    pub(crate) count: usize,
    /// Their project's slug; that of the brain's first agent if it is left out.
    #[serde(default)]
    pub(crate) project: Option<String>,
}

/// Most agents of one request.
const MAX_ENSURED: usize = 100_000;

/// Another token for an agent.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetToken {
    /// The token; one is made up if it is left out.
    #[serde(default)]
    pub(crate) token: Option<String>,
}

/// What an agent is configured with.
#[utoipa::path(get, path = "/mock/v1/env", operation_id = "get_env", tag = "agents", params(EnvQuery),
    responses((status = 200, description = "what the agent's environment needs", body = EnvAnswer),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn env(
    State(api): State<Arc<Api>>,
    query: Result<Query<EnvQuery>, QueryRejection>,
) -> Result<Json<EnvAnswer>, Refusal> {
    let Query(query) = query.map_err(|error| Refusal::unreadable(error.body_text()))?;
    let agent = api.hub.registry.named(query.agent.as_deref())?;
    Ok(answer(&api, &agent))
}

/// Agents, revoked ones too, in the order in which they were made.
#[utoipa::path(get, path = "/mock/v1/agents", operation_id = "list_agents", tag = "agents",
    responses((status = 200, description = "the agents", body = Items<AgentInfo>),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn list(State(api): State<Arc<Api>>) -> Json<Items<AgentInfo>> {
    Json(Items { items: api.hub.registry.list() })
}

/// Make an agent.
#[utoipa::path(post, path = "/mock/v1/agents", operation_id = "add_agent", tag = "agents", request_body = AddAgent,
    responses((status = 200, description = "what the agent's environment needs", body = EnvAnswer),
        (status = 500, description = "the state directory cannot be written: state", body = ApiError),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    body: Result<Json<AddAgent>, JsonRejection>,
) -> Result<Json<EnvAnswer>, Refusal> {
    let Json(AddAgent { name, project }) = body.map_err(|error| Refusal::unreadable(error.body_text()))?;
    let agent = api.hub.registry.add_agent(&name, project.as_deref())?;
    tracing::info!(agent = %agent.name, project = %agent.project.slug, "agent added");
    Ok(answer(&api, &agent))
}

/// Make the agents that are not there, in one change of the state, and tell what all of them connect with.
#[utoipa::path(put, path = "/mock/v1/agents", operation_id = "ensure_agents", tag = "agents",
    request_body = EnsureAgents,
    responses((status = 200, description = "the agents' credentials", body = Items<Credentials>),
        (status = 500, description = "the state directory cannot be written: state", body = ApiError),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn ensure(
    State(api): State<Arc<Api>>,
    body: Result<Json<EnsureAgents>, JsonRejection>,
) -> Result<Json<Items<Credentials>>, Refusal> {
    let Json(EnsureAgents { prefix, count, project }) =
        body.map_err(|error| Refusal::unreadable(error.body_text()))?;
    if count > MAX_ENSURED {
        return Err(Refusal::unreadable(format!("count: at most {MAX_ENSURED}")));
    }
    let names: Vec<_> = (1..=count).map(|number| format!("{prefix}{number}")).collect();
    let agents = api.hub.registry.ensure_agents(&names, project.as_deref())?;
    tracing::info!(count, prefix = %quote(&prefix), "agents ensured");
    Ok(Json(Items { items: agents.iter().map(|agent| agent.credentials()).collect() }))
}

/// Close an agent's sessions with 4003, and refuse its token from now on.
#[utoipa::path(delete, path = "/mock/v1/agents/{name}", operation_id = "revoke_agent", tag = "agents", params(("name" = String, Path, description = "the agent's name, PROJECT/NAME with an encoded slash, or UUID")),
    responses((status = 200, description = "the agents", body = Items<AgentInfo>),
        (status = 500, description = "the state directory cannot be written: state", body = ApiError),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Items<AgentInfo>>, Refusal> {
    let Path(name) = name.map_err(|error| Refusal::unreadable(error.body_text()))?;
    api.hub.revoke(&name)?;
    tracing::info!(agent = %name, "agent revoked");
    Ok(list(State(api)).await)
}

/// Give an agent another token, which ends a revocation.
#[utoipa::path(post, path = "/mock/v1/agents/{name}/token", operation_id = "set_agent_token", tag = "agents", params(("name" = String, Path, description = "the agent's name, PROJECT/NAME with an encoded slash, or UUID")),
    request_body = SetToken,
    responses((status = 200, description = "what the agent's environment needs", body = EnvAnswer),
        (status = 500, description = "the state directory cannot be written: state", body = ApiError),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn set_token(
    State(api): State<Arc<Api>>,
    name: Result<Path<String>, PathRejection>,
    body: Result<Json<SetToken>, JsonRejection>,
) -> Result<Json<EnvAnswer>, Refusal> {
    let Path(name) = name.map_err(|error| Refusal::unreadable(error.body_text()))?;
    let Json(SetToken { token }) = body.map_err(|error| Refusal::unreadable(error.body_text()))?;
    let agent = api.hub.set_token(&name, &token.unwrap_or_else(state::new_token))?;
    tracing::info!(agent = %name, "agent has a new token");
    Ok(answer(&api, &agent))
}

fn answer(api: &Api, agent: &Agent) -> Json<EnvAnswer> {
    Json(EnvAnswer {
        brain_url: api.brain_url.clone(),
        credentials: agent.credentials(),
        ca_file: api.ca_file.clone(),
    })
}
