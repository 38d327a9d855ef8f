//! `/mock/v1/projects` and `/mock/v1/login`: what the REST API does too, and what it has no way for.
//!
//! Owns the bodies. An answer to a login bears a password and cookies.

use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Api, ApiError, Items, Refusal};
use crate::registry::ProjectInfo;

/// A project to be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddProject {
    /// 3 to 50 lower-case letters, digits and inner hyphens.
    pub(crate) slug: String,
}

/// Projects, archived ones too, in the order in which they were made.
#[utoipa::path(get, path = "/mock/v1/projects", operation_id = "list_projects", tag = "agents",
    responses((status = 200, description = "the projects", body = Items<ProjectInfo>),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn list(State(api): State<Arc<Api>>) -> Json<Items<ProjectInfo>> {
    Json(Items { items: api.hub.registry.list_projects() })
}

/// Make a project.
#[utoipa::path(post, path = "/mock/v1/projects", operation_id = "add_project", tag = "agents", request_body = AddProject,
    responses((status = 200, description = "the project made", body = AddProject),
        (status = 500, description = "the state directory cannot be written: state", body = ApiError),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    body: Result<Json<AddProject>, JsonRejection>,
) -> Result<Json<AddProject>, Refusal> {
    let Json(AddProject { slug }) = body.map_err(|error| Refusal::unreadable(error.body_text()))?;
    api.hub.registry.add_project(&slug, Default::default())?;
    tracing::info!(project = %slug, "project added");
    Ok(Json(AddProject { slug }))
}

/// Archive a project: sessions of its agents are closed with 4003, and their tokens are refused.
#[utoipa::path(post, path = "/mock/v1/projects/{slug}/archive", operation_id = "archive_project", tag = "agents", params(("slug" = String, Path)),
    responses((status = 200, description = "the projects", body = Items<ProjectInfo>),
        (status = 500, description = "the state directory cannot be written: state", body = ApiError),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn archive(
    State(api): State<Arc<Api>>,
    slug: Result<Path<String>, PathRejection>,
) -> Result<Json<Items<ProjectInfo>>, Refusal> {
    let Path(slug) = slug.map_err(|error| Refusal::unreadable(error.body_text()))?;
    api.hub.archive(&slug)?;
    tracing::info!(project = %slug, "project archived");
    Ok(list(State(api)).await)
}

/// End the archiving of a project, for which the real brain has no way.
#[utoipa::path(post, path = "/mock/v1/projects/{slug}/restore", operation_id = "restore_project", tag = "agents", params(("slug" = String, Path)),
    responses((status = 200, description = "the projects", body = Items<ProjectInfo>),
        (status = 500, description = "the state directory cannot be written: state", body = ApiError),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn restore(
    State(api): State<Arc<Api>>,
    slug: Result<Path<String>, PathRejection>,
) -> Result<Json<Items<ProjectInfo>>, Refusal> {
    let Path(slug) = slug.map_err(|error| Refusal::unreadable(error.body_text()))?;
    api.hub.restore(&slug)?;
    tracing::info!(project = %slug, "project restored");
    Ok(list(State(api)).await)
}

/// A login to the REST API on the agent port.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct LoggedIn {
    /// Where the API is: `https://127.0.0.1:7700/`.
    pub(crate) brain_url: String,
    /// What `POST /api/v1/auth/login` takes.
    pub(crate) email: String,
    /// What it takes too.
    pub(crate) password: String,
    /// The Cookie header of a session that is open already.
    pub(crate) cookie: String,
    /// The X-CSRF-Token header, which requests that change something need.
    pub(crate) csrf_token: String,
}

impl fmt::Debug for LoggedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedIn").field("brain_url", &self.brain_url).finish_non_exhaustive()
    }
}

/// Log in to the REST API without a password.
#[utoipa::path(post, path = "/mock/v1/login", operation_id = "log_in", tag = "brain",
    responses((status = 200, description = "where the REST API of the agent port is, and what it lets in: a login's e-mail address and password, and the headers of a session", body = LoggedIn),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn log_in(State(api): State<Arc<Api>>) -> Json<LoggedIn> {
    let administrator = api.hub.registry.administrator();
    let login = api.hub.logins.open();
    Json(LoggedIn {
        brain_url: api.brain_url.clone(),
        email: administrator.email,
        password: administrator.password,
        cookie: login.cookie_header(),
        csrf_token: login.csrf,
    })
}
