//! `/mock/v1/faults`: what is broken, and how often it struck.
//!
//! Owns the bodies. The grammar is `fault`'s.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Api, ApiError, ErrorCode, Items, Refusal};
use crate::fault::FaultSpec;
use crate::fault::table::ActiveFault;

/// A fault to be set.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetFault {
    /// As on the command line.
    #[schema(example = "ws.close(code=4401) at hello-ack first 2")]
    pub(crate) spec: String,
}

/// The faults that are set and not spent, in the order in which they were set.
#[utoipa::path(get, path = "/mock/v1/faults", operation_id = "list_faults", tag = "faults",
    responses((status = 200, description = "the faults set", body = Items<ActiveFault>),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn list(State(api): State<Arc<Api>>) -> Json<Items<ActiveFault>> {
    Json(Items { items: api.hub.faults.list() })
}

/// Set a fault; one of the same name, place and `who` is replaced.
#[utoipa::path(post, path = "/mock/v1/faults", operation_id = "set_fault", tag = "faults", request_body = SetFault,
    responses((status = 200, description = "the faults set", body = Items<ActiveFault>),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn set(
    State(api): State<Arc<Api>>,
    body: Result<Json<SetFault>, JsonRejection>,
) -> Result<Json<Items<ActiveFault>>, Refusal> {
    let Json(SetFault { spec }) = body.map_err(|error| Refusal::unreadable(error.body_text()))?;
    api.hub.set_fault(spec.parse::<FaultSpec>()?)?;
    tracing::info!(%spec, "fault set");
    Ok(list(State(api)).await)
}

/// Clear all faults.
#[utoipa::path(delete, path = "/mock/v1/faults", operation_id = "clear_all_faults", tag = "faults",
    responses((status = 200, description = "the faults set", body = Items<ActiveFault>),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn clear_all(State(api): State<Arc<Api>>) -> Json<Items<ActiveFault>> {
    api.hub.clear_faults(None);
    tracing::info!("all faults cleared");
    list(State(api)).await
}

/// Clear the faults of a name.
#[utoipa::path(delete, path = "/mock/v1/faults/{name}", operation_id = "clear_faults_of_a_name", tag = "faults", params(("name" = String, Path)),
    responses((status = 200, description = "the faults set", body = Items<ActiveFault>),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn clear(
    State(api): State<Arc<Api>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Items<ActiveFault>>, Refusal> {
    let Path(name) = name.map_err(|error| Refusal::unreadable(error.body_text()))?;
    if !api.hub.clear_faults(Some(&name)) {
        return Err(Refusal::new(ErrorCode::NotSet, format!("fault {name:?} is not set")));
    }
    tracing::info!(name, "fault cleared");
    Ok(list(State(api)).await)
}
