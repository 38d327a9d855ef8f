//! `/mock/v1/agents` and `/mock/v1/projects`: who is let in.
//!
//! Owns the bodies. Answers bear tokens: whoever may ask is the brain's own user.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};

use super::{Api, EnvAnswer, Items, Refusal};
use crate::quote::quote;
use crate::registry::{Agent, AgentInfo, Credentials};
use crate::state;

/// `POST /mock/v1/agents`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddAgent {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) project: Option<String>,
}

/// `PUT /mock/v1/agents`: there are to be agents of these names, `PREFIX1` to `PREFIXn`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnsureAgents {
    pub(crate) prefix: String,
    pub(crate) count: usize,
    #[serde(default)]
    pub(crate) project: Option<String>,
}

/// Most agents of one request.
const MAX_ENSURED: usize = 100_000;

/// `POST /mock/v1/projects`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddProject {
    pub(crate) slug: String,
}

/// `POST /mock/v1/agents/{name}/token`: a token that is made up, unless one is given.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetToken {
    #[serde(default)]
    pub(crate) token: Option<String>,
}

pub(super) async fn list(State(api): State<Arc<Api>>) -> Json<Items<AgentInfo>> {
    Json(Items { items: api.hub.registry.list() })
}

pub(super) async fn add(
    State(api): State<Arc<Api>>,
    body: Result<Json<AddAgent>, JsonRejection>,
) -> Result<Json<EnvAnswer>, Refusal> {
    let Json(AddAgent { name, project }) = body.map_err(|error| Refusal::unreadable(error.body_text()))?;
    let agent = api.hub.registry.add_agent(&name, project.as_deref())?;
    tracing::info!(agent = %agent.name, project = %agent.project.slug, "agent added");
    Ok(answer(&api, &agent))
}

/// Makes those that are not there, in one change of the state, and tells what all of them connect with.
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

pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Items<AgentInfo>>, Refusal> {
    let Path(name) = name.map_err(|error| Refusal::unreadable(error.body_text()))?;
    api.hub.revoke(&name)?;
    tracing::info!(agent = %name, "agent revoked");
    Ok(list(State(api)).await)
}

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

pub(super) async fn add_project(
    State(api): State<Arc<Api>>,
    body: Result<Json<AddProject>, JsonRejection>,
) -> Result<Json<AddProject>, Refusal> {
    let Json(AddProject { slug }) = body.map_err(|error| Refusal::unreadable(error.body_text()))?;
    api.hub.registry.add_project(&slug)?;
    tracing::info!(project = %slug, "project added");
    Ok(Json(AddProject { slug }))
}

fn answer(api: &Api, agent: &Agent) -> Json<EnvAnswer> {
    Json(EnvAnswer {
        brain_url: api.brain_url.clone(),
        credentials: agent.credentials(),
        ca_file: api.ca_file.clone(),
    })
}
