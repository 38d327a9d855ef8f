//! `/mock/v1/wait`: answers once something holds; `/mock/v1/shutdown`: ends the brain.
//!
//! Owns the bounds of a wait. What can be waited for is `condition`'s.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::{Api, ApiError, ErrorCode, Refusal};
use crate::Condition;
use crate::fault::duration;

/// How long a request is held where it does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest that a request is held.
const MAX_TIMEOUT: Duration = Duration::from_secs(300);

/// How long to wait.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limit {
    /// Seconds, up to 300; 0 only looks. Without it 10.
    timeout: Option<u64>,
    /// The same in milliseconds.
    timeout_ms: Option<u64>,
}

impl Limit {
    fn time(&self) -> Result<Duration, Refusal> {
        let seconds = self.timeout.map(Duration::from_secs);
        let time = seconds.or(self.timeout_ms.map(Duration::from_millis)).unwrap_or(DEFAULT_TIMEOUT);
        if time > MAX_TIMEOUT {
            let message = "a wait is held for 300 seconds at most; ask again after that";
            return Err(Refusal::new(ErrorCode::BadValue, message));
        }
        Ok(time)
    }
}

/// It holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Came {
    /// What there is, in words.
    pub(crate) seen: String,
    /// How long it took, in milliseconds.
    pub(crate) waited_ms: u64,
}

/// Waits until a condition holds. One that does not come to hold in time is a refusal, so that whoever does
/// not look at the answer fails all the same.
#[utoipa::path(post, path = "/mock/v1/wait", operation_id = "wait", tag = "seen", params(Limit), request_body = Condition, responses(
    (status = 200, description = "what came", body = Came),
    (status = 503, description = "the brain stops, and it did not come: stopping", body = ApiError),
    (status = 504, description = "not in time: wait_timed_out", body = ApiError),
    (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn wait(
    State(api): State<Arc<Api>>,
    limit: Result<Query<Limit>, QueryRejection>,
    body: Result<Json<Condition>, JsonRejection>,
) -> Result<Json<Came>, Refusal> {
    let Query(limit) = limit.map_err(|error| Refusal::unreadable(error.body_text()))?;
    let Json(condition) = body.map_err(|error| Refusal::unreadable(error.body_text()))?;
    let hub = &api.hub;
    let time = limit.time()?;
    condition.check(hub)?;
    let begun = Instant::now();
    // Events of earlier runs are counted once they are known.
    hub.journal.ready().await;
    let held = hub.wait_until(time, || condition.holds(hub)).await;
    let seen = condition.seen(hub);
    if held {
        let waited_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        return Ok(Json(Came { seen, waited_ms }));
    }
    if hub.is_stopping() {
        return Err(Refusal::new(
            ErrorCode::Stopping,
            format!("the brain stops, and {condition} did not come: {seen}"),
        ));
    }
    let message = format!("{condition} did not come within {}: {seen}", duration::text(time));
    Err(Refusal::new(ErrorCode::WaitTimedOut, message))
}

/// What is answered before it ends.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ShuttingDown {
    /// The process that ends.
    pub(crate) pid: u32,
}

/// End the brain: sessions are closed with 1012.
#[utoipa::path(post, path = "/mock/v1/shutdown", operation_id = "shutdown", tag = "brain",
    responses((status = 202, description = "the brain stops", body = ShuttingDown),
    (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn shutdown(State(api): State<Arc<Api>>) -> (StatusCode, Json<ShuttingDown>) {
    api.shutdown.notify_one();
    (StatusCode::ACCEPTED, Json(ShuttingDown { pid: std::process::id() }))
}
