//! `/mock/v1/clock`: how wrong this brain's clock is.
//!
//! Owns the bodies and the bound of an offset.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Api, ApiError, ErrorCode, Refusal};

/// Furthest that the clock can be off: ten years.
const MAX_OFFSET_MS: i64 = 10 * 365 * 86_400_000;

/// What the clock is set to.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetClock {
    /// How many milliseconds it is ahead of the machine's; behind it if negative.
    pub(crate) offset_ms: i64,
}

/// The clock.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Clock {
    /// ISO 8601.
    pub(crate) now: String,
    /// How many milliseconds it is ahead of the machine's.
    pub(crate) offset_ms: i64,
}

/// The time that frames are signed and judged by.
#[utoipa::path(get, path = "/mock/v1/clock", operation_id = "get_clock", tag = "brain",
    responses((status = 200, description = "the clock as it stands", body = Clock),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn get(State(api): State<Arc<Api>>) -> Json<Clock> {
    let offset_ms = api.hub.clock_offset.load(Ordering::Relaxed) / 1_000;
    Json(Clock { now: api.hub.now().to_string(), offset_ms })
}

/// Make the clock wrong, or right again with 0. Time-outs, certificates and the journal go by the machine's.
#[utoipa::path(put, path = "/mock/v1/clock", operation_id = "set_clock", tag = "brain", request_body = SetClock,
    responses((status = 200, description = "the clock as it stands", body = Clock),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn set(
    State(api): State<Arc<Api>>,
    body: Result<Json<SetClock>, JsonRejection>,
) -> Result<Json<Clock>, Refusal> {
    let Json(SetClock { offset_ms }) = body.map_err(|error| Refusal::unreadable(error.body_text()))?;
    if offset_ms.checked_abs().is_none_or(|offset| offset > MAX_OFFSET_MS) {
        let message = format!("offset_ms {offset_ms}: a clock is off by ten years at most");
        return Err(Refusal::new(ErrorCode::BadValue, message));
    }
    api.hub.clock_offset.store(offset_ms * 1_000, Ordering::Relaxed);
    tracing::info!(offset_ms, "clock set");
    Ok(get(State(api)).await)
}
