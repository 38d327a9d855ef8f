//! `GET /live`: what changed since the page was sent, as server-sent events.
//!
//! Owns the pace and the bounds: a message has the newest rows of the streams, and the lists that are not as
//! they were. Whoever is slower than the brain is told how much was left out, and nothing is kept for them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::sleep;

use super::secrets::Secrets;
use super::{Board, events, wire};
use crate::api::Refusal;
use crate::api::journal::on_disk;
use crate::hub::Hub;
use crate::journal::{JournalError, Line, Wanted};
use crate::store::StoredEvent;

/// Most entries of a message.
const MOST: u64 = 60;
/// How many entries the page begins with.
const MOST_AT_FIRST: u64 = 100;
/// Time between two messages, at least.
const PACE: Duration = Duration::from_millis(250);
/// After which time lists are looked at although nothing was noted: times run, and faults end by themselves.
const LOOK: Duration = Duration::from_secs(1);
/// After which time a browser comes back.
const RETRY: Duration = Duration::from_secs(2);

/// What the streams begin with.
pub(super) struct Seen {
    /// The newest entry's number.
    pub(super) after: u64,
    pub(super) lines: Vec<Line>,
    pub(super) secrets: Secrets,
    pub(super) events: Vec<StoredEvent>,
}

/// The newest entries and events.
pub(super) async fn seen(hub: &Arc<Hub>) -> Result<Seen, Refusal> {
    let hub = Arc::clone(hub);
    let read = move || {
        let after = newest(&hub)?;
        let lines = hub.journal.page(&behind(after.saturating_sub(MOST_AT_FIRST), MOST_AT_FIRST))?.items;
        let secrets = secrets_of(&hub, &lines);
        let events = hub.newest_events(events::MOST)?;
        Ok::<_, JournalError>(Seen { after, lines, secrets, events })
    };
    Ok(on_disk(read).await??)
}

fn behind(after: u64, most: u64) -> Wanted {
    Wanted { after, limit: usize::try_from(most).unwrap_or_default(), ..Wanted::default() }
}

fn secrets_of(hub: &Hub, lines: &[Line]) -> Secrets {
    Secrets::of(hub, lines.iter().filter_map(|line| line.agent.as_deref()))
}

fn newest(hub: &Hub) -> Result<u64, JournalError> {
    Ok(hub.journal.page(&behind(0, 0))?.next)
}

#[derive(Deserialize)]
pub(super) struct After {
    #[serde(default)]
    after: u64,
}

pub(super) async fn follow(
    State(board): State<Arc<Board>>,
    query: Result<Query<After>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let Ok(place) = Arc::clone(&board.viewers).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages are open").into_response();
    };
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let after = last.unwrap_or(query.map_or(0, |Query(After { after })| after));
    let journal = board.hub().journal.changes();
    let activity = board.hub().activity.subscribe();
    let viewer =
        Viewer { board, after, sent: HashMap::new(), journal, activity, is_new: true, _place: place };
    let messages = stream::unfold(viewer, |mut viewer| async {
        let message = viewer.next().await?;
        Some((Ok::<_, Infallible>(message), viewer))
    });
    Sse::new(messages).keep_alive(KeepAlive::default()).into_response()
}

/// Rows that are to be put into an element.
#[derive(Serialize)]
struct Change {
    /// The element's id.
    to: &'static str,
    /// Whether they come before those that are there; else they are all that there are.
    add: bool,
    rows: String,
}

/// A page that is open.
struct Viewer {
    board: Arc<Board>,
    after: u64,
    /// The lists as they were sent.
    sent: HashMap<&'static str, String>,
    journal: watch::Receiver<u64>,
    activity: watch::Receiver<u64>,
    is_new: bool,
    _place: OwnedSemaphorePermit,
}

impl Viewer {
    /// The next message; none once the brain stops.
    async fn next(&mut self) -> Option<Event> {
        let board = Arc::clone(&self.board);
        let hub = board.hub();
        loop {
            if hub.is_stopping() {
                return None;
            }
            if !std::mem::take(&mut self.is_new) {
                tokio::select! {
                    () = self.news() => {}
                    () = hub.stopping() => return None,
                }
            }
            let mut changes = match self.streams().await {
                Ok(changes) => changes,
                Err(refusal) => {
                    tracing::error!(?refusal, "the journal cannot be shown");
                    return None;
                }
            };
            changes.extend(self.lists());
            if !changes.is_empty() {
                let event = Event::default().id(self.after.to_string()).retry(RETRY);
                return event.json_data(&changes).ok();
            }
        }
    }

    /// Returns once there may be something to tell.
    async fn news(&mut self) {
        sleep(PACE).await;
        tokio::select! {
            _ = self.journal.changed() => {}
            _ = self.activity.changed() => {}
            () = sleep(LOOK) => {}
        }
    }

    /// The newest rows of the streams.
    async fn streams(&mut self) -> Result<Vec<Change>, Refusal> {
        let (hub, after) = (Arc::clone(&self.board.api.hub), self.after);
        let read = move || {
            let last = newest(&hub)?;
            // A number of another journal means nothing here.
            let after = after.min(last);
            let from = after.max(last.saturating_sub(MOST));
            Ok::<_, JournalError>((from - after, hub.journal.page(&behind(from, MOST))?))
        };
        let (left_out, page) = on_disk(read).await??;
        self.after = page.next;
        let mut changes = Vec::new();
        let mut add = |to, rows: maud::Markup| {
            if !rows.0.is_empty() {
                changes.push(Change { to, add: true, rows: rows.into_string() });
            }
        };
        if left_out > 0 {
            add("wire", wire::left_out(left_out));
        }
        let secrets = secrets_of(self.board.hub(), &page.items);
        add("wire", wire::added(&page.items, &secrets));
        add("events", events::added(&page.items, &secrets));
        Ok(changes)
    }

    /// The lists that are not as they were.
    fn lists(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (to, rows) in self.board.lists() {
            let rows = rows.into_string();
            if self.sent.get(to) != Some(&rows) {
                self.sent.insert(to, rows.clone());
                changes.push(Change { to, add: false, rows });
            }
        }
        changes
    }
}
