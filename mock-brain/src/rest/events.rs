//! Events over REST: those of one task, the newest first.
//!
//! Owns the shape of an event. Every look reads the store from its beginning: it is there for tests.

use std::collections::VecDeque;
use std::sync::Arc;

use http::StatusCode;
use serde::Serialize;
use z4j_protocol::Value;

use super::answer::{Answer, json, on_disk, without_zone};
use super::query::{Query, cursor};
use crate::hub::Hub;
use crate::store::StoredEvent;

#[derive(Serialize)]
struct Shown {
    id: String,
    project_id: String,
    agent_id: String,
    engine: String,
    task_id: String,
    kind: String,
    occurred_at: String,
    payload: Value,
}

impl Shown {
    fn of(event: &StoredEvent) -> Self {
        Self {
            id: event.id.clone(),
            project_id: event.project_id.clone(),
            agent_id: event.agent_id.clone(),
            engine: event.engine.clone(),
            task_id: event.task_id.clone(),
            kind: event.kind.clone(),
            occurred_at: without_zone(&event.occurred_at),
            payload: event.payload.clone(),
        }
    }
}

/// A page of items.
#[derive(Serialize)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next_cursor: Option<String>,
}

pub(super) async fn list(hub: &Arc<Hub>, slug: &str, query: &Query) -> Answer {
    let [engine, task_id] = query.needed(["engine", "task_id"])?;
    let (limit, before) = (query.limit()?, query.cursor());
    let project = super::active(hub, slug)?.id.to_string();
    let hub = Arc::clone(hub);
    let page = on_disk(move || {
        // Of the matches before the cursor the last ones stay.
        let (mut matches, mut kept) = (0, VecDeque::new());
        hub.each_event(|event| {
            if event.project_id == project && event.engine == engine && event.task_id == task_id {
                matches += 1;
                if before.is_none_or(|before| matches < before) {
                    kept.push_back((matches, Shown::of(event)));
                    if kept.len() > limit {
                        kept.pop_front();
                    }
                }
            }
        })?;
        // Of a full page the real brain does not know whether it is the last one.
        let first = kept.front().map(|(nth, _)| *nth).filter(|_| kept.len() == limit);
        let items = kept.into_iter().rev().map(|(_, event)| event).collect();
        Ok(Page { items, next_cursor: first.map(cursor) })
    })
    .await?;
    json(StatusCode::OK, &page)
}
