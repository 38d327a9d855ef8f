//! Tasks over REST: what events say of each task, folded together.
//!
//! Owns the rules of the fold and the shape of a task. Two readings of the store make a page: the first finds
//! the tasks, the second reads what is large of those on the page only.

use std::collections::HashMap;
use std::sync::Arc;

use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;
use z4j_protocol::{Timestamp, Value};

use super::answer::{Answer, Refused, json as answer, on_disk, without_zone};
use super::query::{Query, cursor};
use crate::hub::Hub;
use crate::store::{StoredEvent, name_based};

/// The kinds of task events, with the state that each leads to. Of two in the same second the later in this
/// list counts.
const STATES: [(&str, &str); 8] = [
    ("task.sent", "pending"),
    ("task.received", "received"),
    ("task.started", "started"),
    ("task.retried", "retry"),
    ("task.succeeded", "success"),
    ("task.failed", "failure"),
    ("task.revoked", "revoked"),
    ("task.rejected", "rejected"),
];
/// The words of the filter, in the real brain's order.
pub(super) const STATE_WORDS: [&str; 9] =
    ["pending", "received", "started", "success", "failure", "retry", "revoked", "rejected", "unknown"];

/// The words of the other filter, in the real brain's order.
const PRIORITIES: [&str; 4] = ["critical", "high", "normal", "low"];

/// A task.
#[derive(Serialize)]
pub(super) struct Task {
    id: Uuid,
    project_id: String,
    engine: String,
    task_id: String,
    pub(super) name: String,
    queue: Option<String>,
    pub(super) state: &'static str,
    pub(super) priority: String,
    pub(super) args: Value,
    pub(super) kwargs: Value,
    result: Value,
    exception: Option<String>,
    traceback: Option<String>,
    retry_count: u64,
    eta: Option<String>,
    received_at: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
    runtime_ms: Option<u64>,
    worker_name: Option<String>,
    parent_task_id: Option<String>,
    root_task_id: Option<String>,
    tags: Vec<String>,
    created_at: String,
    updated_at: String,
    /// When the state was reached, and its place in the list.
    #[serde(skip)]
    reached: (String, usize),
}

/// What tells tasks of a project apart.
pub(super) type Key = (String, String);

impl Task {
    fn new(event: &StoredEvent) -> Self {
        let project = Uuid::try_parse(&event.project_id).unwrap_or_default();
        Self {
            id: name_based(project, &["task", &event.engine, &event.task_id]),
            project_id: event.project_id.clone(),
            engine: event.engine.clone(),
            task_id: event.task_id.clone(),
            name: "unknown".to_owned(),
            queue: None,
            state: "unknown",
            priority: "normal".to_owned(),
            args: Value::Null,
            kwargs: Value::Null,
            result: Value::Null,
            exception: None,
            traceback: None,
            retry_count: 0,
            eta: None,
            received_at: None,
            started_at: None,
            finished_at: None,
            runtime_ms: None,
            worker_name: None,
            parent_task_id: None,
            root_task_id: None,
            tags: Vec::new(),
            created_at: without_zone(&event.received_at),
            updated_at: String::new(),
            reached: (String::new(), 0),
        }
    }

    fn small(&mut self, event: &StoredEvent) {
        let text = |key: &str| event.payload.get(key).and_then(Value::as_str).map(str::to_owned);
        let at = without_zone(&event.occurred_at);
        if let Some(rank) = STATES.iter().position(|(kind, _)| *kind == event.kind) {
            let reached = (at.clone(), rank + 1);
            if reached >= self.reached {
                self.state = STATES[rank].1;
                self.reached = reached;
            }
        }
        let place = match event.kind.as_str() {
            "task.received" => Some(&mut self.received_at),
            "task.started" => Some(&mut self.started_at),
            "task.succeeded" | "task.failed" | "task.revoked" | "task.rejected" => {
                Some(&mut self.finished_at)
            }
            _ => None,
        };
        if let Some(place) = place {
            *place = Some(at);
        }
        self.retry_count += u64::from(event.kind == "task.retried");
        self.name = text("task_name").unwrap_or(std::mem::take(&mut self.name));
        self.priority = text("priority").unwrap_or(std::mem::take(&mut self.priority));
        self.queue = text("queue").or(self.queue.take());
        self.worker_name = text("worker").or(self.worker_name.take());
        self.eta = text("eta").or(self.eta.take());
        self.parent_task_id = text("parent_task_id").or(self.parent_task_id.take());
        self.root_task_id = text("root_task_id").or(self.root_task_id.take());
        let runtime = event.payload.get("runtime_ms").filter(|value| !value.is_null());
        let millis = |value: &Value| value.deserialize::<f64>().ok();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
        let runtime = runtime.and_then(millis).map(|millis| millis as u64);
        self.runtime_ms = runtime.or(self.runtime_ms);
        self.updated_at = without_zone(&event.received_at);
    }

    fn large(&mut self, event: &StoredEvent) {
        let value = |key: &str| event.payload.get(key).filter(|value| !value.is_null()).cloned();
        let text = |key: &str| event.payload.get(key).and_then(Value::as_str).map(str::to_owned);
        self.args = value("args").unwrap_or(std::mem::replace(&mut self.args, Value::Null));
        self.kwargs = value("kwargs").unwrap_or(std::mem::replace(&mut self.kwargs, Value::Null));
        self.result = value("result").unwrap_or(std::mem::replace(&mut self.result, Value::Null));
        self.exception = text("exception").or(self.exception.take());
        self.traceback = text("traceback").or(self.traceback.take());
    }
}

/// Which tasks.
struct Wanted {
    project: String,
    filters: Vec<(String, String)>,
    /// Not received before.
    since: Option<Timestamp>,
    /// Not received after.
    until: Option<Timestamp>,
}

impl Wanted {
    fn of(query: &Query, project: String, [since, until]: [Option<Timestamp>; 2]) -> Result<Self, Refused> {
        let names = ["state", "priority", "name", "queue", "worker", "search"];
        let filters =
            names.into_iter().filter_map(|name| Some((name.to_owned(), query.get(name)?.to_owned())));
        let state = query.get("state").filter(|state| !STATE_WORDS.contains(state));
        if let Some(state) = state {
            return Err(unknown_word("state", state, &STATE_WORDS));
        }
        let of_priority = |word: &&str| !PRIORITIES.contains(word);
        if let Some(word) = query.get("priority").and_then(|words| words.split(',').find(of_priority)) {
            return Err(unknown_word("priority", word, &PRIORITIES));
        }
        Ok(Self { project, filters: filters.collect(), since, until })
    }

    fn takes(&self, task: &Task) -> bool {
        let received = || task.received_at.as_deref().and_then(|text| Timestamp::parse_or_utc(text).ok());
        let in_time = (self.since.is_none() && self.until.is_none())
            || received().is_some_and(|at| {
                self.since.is_none_or(|since| since <= at) && self.until.is_none_or(|until| at <= until)
            });
        in_time
            && self.filters.iter().all(|(name, value)| match name.as_str() {
                "state" => task.state == value,
                "priority" => value.split(',').any(|word| task.priority == word),
                "name" => task.name == *value,
                "queue" => task.queue.as_ref() == Some(value),
                "worker" => task.worker_name.as_ref() == Some(value),
                _ => task.name.contains(value) || task.task_id.contains(value),
            })
    }
}

fn unknown_word(field: &str, word: &str, known: &[&str]) -> Refused {
    let details = json!({ "field": field, "value": word, "allowed": known });
    let message = format!("invalid task {field} filter");
    Refused::Domain(StatusCode::UNPROCESSABLE_ENTITY, "validation_error", message, details)
}

/// Every task of a project, each with its place in the order in which they came, without what is large.
pub(super) fn fold(hub: &Hub, project: &str) -> Result<Vec<Task>, Refused> {
    let (mut places, mut tasks): (HashMap<Key, usize>, Vec<Task>) = Default::default();
    hub.each_event(|event| {
        if event.project_id != project || event.task_id.is_empty() || !event.kind.starts_with("task.") {
            return;
        }
        let key = (event.engine.clone(), event.task_id.clone());
        let place = *places.entry(key).or_insert_with(|| {
            tasks.push(Task::new(event));
            tasks.len() - 1
        });
        if let Some(task) = tasks.get_mut(place) {
            task.small(event);
        }
    })?;
    Ok(tasks)
}

/// Reads what is large of some tasks.
fn fill(hub: &Hub, project: &str, tasks: &mut [Task]) -> Result<(), Refused> {
    let key = |task: &Task| (task.engine.clone(), task.task_id.clone());
    let places: HashMap<Key, usize> = tasks.iter().enumerate().map(|(nth, task)| (key(task), nth)).collect();
    hub.each_event(|event| {
        let key = (event.engine.clone(), event.task_id.clone());
        let place = places.get(&key).filter(|_| event.project_id == project);
        if let Some(task) = place.and_then(|place| tasks.get_mut(*place)) {
            task.large(event);
        }
    })?;
    Ok(())
}

#[derive(Serialize)]
struct Page {
    items: Vec<Task>,
    next_cursor: Option<String>,
    total_count: Option<usize>,
}

/// The newest first.
pub(super) async fn list(hub: &Arc<Hub>, slug: &str, query: &Query) -> Answer {
    let times = query.times(["since", "until"])?;
    let (limit, before, counted) = (query.limit()?, query.cursor(), query.is_on("include_total"));
    let project = super::active(hub, slug)?.id.to_string();
    let wanted = Wanted::of(query, project, times)?;
    let hub = Arc::clone(hub);
    let page = on_disk(move || {
        let tasks = (1..).zip(fold(&hub, &wanted.project)?).filter(|(_, task)| wanted.takes(task));
        let tasks: Vec<(u64, Task)> = tasks.collect();
        let total_count = counted.then_some(tasks.len());
        let older = tasks.into_iter().rev().filter(|(place, _)| before.is_none_or(|before| *place < before));
        let mut page: Vec<_> = older.take(limit + 1).collect();
        let more = page.len() > limit;
        page.truncate(limit);
        let last = page.last().map(|(place, _)| *place).filter(|_| more);
        let mut items: Vec<Task> = page.into_iter().map(|(_, task)| task).collect();
        fill(&hub, &wanted.project, &mut items)?;
        Ok(Page { items, next_cursor: last.map(cursor), total_count })
    })
    .await?;
    answer(StatusCode::OK, &page)
}

/// A task with all that is known of it.
pub(super) async fn find(hub: &Arc<Hub>, project: String, key: Key) -> Result<Option<Task>, Refused> {
    let hub = Arc::clone(hub);
    let (engine, task_id) = key;
    on_disk(move || {
        let mut found: Option<Task> = None;
        hub.each_event(|event| {
            let own = event.project_id == project && event.engine == engine && event.task_id == task_id;
            if own && event.kind.starts_with("task.") {
                let task = found.get_or_insert_with(|| Task::new(event));
                task.small(event);
                task.large(event);
            }
        })?;
        Ok(found)
    })
    .await
}

pub(super) async fn one(hub: &Arc<Hub>, slug: &str, key: Key) -> Answer {
    let project = super::active(hub, slug)?.id.to_string();
    let details = json!({ "engine": key.0, "task_id": key.1 });
    let task = find(hub, project, key).await?;
    answer(StatusCode::OK, &task.ok_or_else(|| Refused::not_found("task not found", details))?)
}
