//! `/mock/v1/journal`: what was noted, a page at a time, and what is being noted.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use utoipa::IntoParams;

use super::commands::MAX_WAIT;
use super::seen::known_agent;
use super::{Api, ApiError, ErrorCode, Refusal};
use crate::journal::{Kind, Page, Wanted};

/// Most entries of a page.
const MAX_ENTRIES: usize = 1_000;

/// Which entries. With a limit of 0 only the newest number is told.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Behind this number.
    #[serde(default)]
    after: u64,
    /// From how many entries at most, up to 1000.
    limit: Option<usize>,
    /// Seconds to wait for the first line.
    #[serde(default)]
    wait: u64,
    /// `connection`, `handshake`, `session`, `frame-in`, `frame-out`, `event`, `command`, `violation`, `fault`.
    kind: Option<String>,
    /// A frame's type, an event's kind, a rule, a fault's name, a state.
    #[serde(rename = "type")]
    type_: Option<String>,
    /// An agent's name, `PROJECT/NAME` or UUID.
    agent: Option<String>,
}

/// What was noted, oldest first, a page at a time.
#[utoipa::path(get, path = "/mock/v1/journal", operation_id = "read_journal", tag = "seen", params(Asked),
    responses((status = 200, description = "journal entries and where the next page starts", body = Page),
        (status = 500, description = "the journal cannot be read: journal, internal", body = ApiError),
        (status = "4XX", description = "refused: what, why and the way out", body = ApiError)))]
pub(super) async fn page(
    State(api): State<Arc<Api>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Page>, Refusal> {
    let Query(asked) = asked.map_err(|error| Refusal::unreadable(error.body_text()))?;
    let agent = known_agent(&api, asked.agent.as_deref())?;
    if let Some(kind) = &asked.kind {
        known_kind(kind)?;
    }
    let limit = asked.limit.unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES);
    let agent = agent.map(|agent| (agent.project.id, agent.name.clone()));
    let Asked { after, kind, type_, .. } = asked;
    let mut wanted = Wanted { after, limit, kind, type_, agent };
    let until = Instant::now() + Duration::from_secs(asked.wait.min(MAX_WAIT));
    let mut changes = api.hub.journal.changes();
    loop {
        changes.mark_unchanged();
        let (hub, ask) = (Arc::clone(&api.hub), wanted.clone());
        let page = on_disk(move || hub.journal.page(&ask)).await??;
        if !page.items.is_empty() || page.more || limit == 0 {
            return Ok(Json(page));
        }
        wanted.after = page.next;
        tokio::select! {
            changed = timeout_at(until, changes.changed()) => {
                if !matches!(changed, Ok(Ok(()))) {
                    return Ok(Json(page));
                }
            }
            () = api.hub.stopping() => return Ok(Json(page)),
        }
    }
}

/// Refuses a kind that no entry is of; types are open, because agents make them.
fn known_kind(kind: &str) -> Result<(), Refusal> {
    if Kind::words().any(|word| word == kind) {
        return Ok(());
    }
    let known = Kind::words().collect::<Vec<_>>().join(", ");
    Err(Refusal::new(ErrorCode::BadValue, format!("no kind {kind:?}; there are: {known}")))
}

/// Does what may wait for the disk, where others do not wait for it.
pub(crate) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Refusal::new(ErrorCode::Internal, error))
}
