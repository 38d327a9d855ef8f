//! `/mock/v1/commands`: issuing commands and asking what came of them.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Api, ApiError, ErrorCode, Items, Refusal};
use crate::commands::{CommandInfo, NewCommand};

/// Longest that a request is held, in seconds.
pub(crate) const MAX_WAIT: u64 = 20;

/// How long to wait for the command's end.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wait {
    /// Seconds, up to 20.
    #[serde(default)]
    wait: u64,
}

/// Commands, oldest first.
#[utoipa::path(get, path = "/mock/v1/commands", operation_id = "list_commands", tag = "commands",
    responses((status = 200, description = "the commands, oldest first", body = Items<CommandInfo>),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn list(State(api): State<Arc<Api>>) -> Json<Items<CommandInfo>> {
    Json(Items { items: api.hub.commands.list() })
}

/// Send a command; it waits for its agent.
#[utoipa::path(post, path = "/mock/v1/commands", operation_id = "send_command", tag = "commands", request_body = NewCommand,
    responses((status = 200, description = "the command as it stands", body = CommandInfo),
        (status = 500, description = "the journal cannot be written: journal", body = ApiError),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn send(
    State(api): State<Arc<Api>>,
    body: Result<Json<NewCommand>, JsonRejection>,
) -> Result<Json<CommandInfo>, Refusal> {
    let Json(command) = body.map_err(|error| Refusal::unreadable(error.body_text()))?;
    api.hub.journal.check()?;
    let info = api.hub.send_command(command)?;
    // What was answered is not lost.
    api.hub.journal.written().await?;
    Ok(Json(info))
}

/// One command; with `wait`, once it has come to its end or that time is over.
#[utoipa::path(get, path = "/mock/v1/commands/{id}", operation_id = "get_command", tag = "commands", params(("id" = String, Path), Wait),
    responses((status = 200, description = "the command as it stands", body = CommandInfo),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    wait: Result<Query<Wait>, QueryRejection>,
) -> Result<Json<CommandInfo>, Refusal> {
    let Path(id) = id.map_err(|error| Refusal::unreadable(error.body_text()))?;
    let Query(Wait { wait }) = wait.map_err(|error| Refusal::unreadable(error.body_text()))?;
    let hub = &api.hub;
    let limit = Duration::from_secs(wait.min(MAX_WAIT));
    hub.wait_until(limit, || hub.commands.is_final(&id) != Some(false)).await;
    hub.commands
        .get(&id)
        .map(Json)
        .ok_or_else(|| Refusal::new(ErrorCode::NotFound, format!("no command {}", crate::quote::quote(&id))))
}
