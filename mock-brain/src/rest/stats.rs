//! Queues, workers of engines and counts over REST.
//!
//! Owns their shapes. Queues and workers are those that events name.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value as Json, json};
use z4j_protocol::{Timestamp, Value};

use super::agents::of_project;
use super::answer::{Answer, Refused, json as answer, on_disk, without_zone};
use super::tasks::{self, STATE_WORDS};
use crate::clock;
use crate::commands::CommandState;
use crate::hub::Hub;
use crate::registry::Project;
use crate::store::name_based;

/// Most names kept of a list.
const MAX_NAMES: usize = 10_000;
/// The window of the counts, in hours.
const WINDOW_HOURS: i64 = 24;

/// By engine and name: the first and the last time.
type Named = BTreeMap<(String, String), (String, String)>;

/// Names that events give in a field of their data, by engine, with the first and the last time of receipt.
fn named(hub: &Hub, project: &str, field: &str) -> Result<Named, Refused> {
    let mut names = Named::new();
    hub.each_event(|event| {
        let name = event.payload.get(field).and_then(Value::as_str).filter(|name| !name.is_empty());
        let Some(name) = name.filter(|_| event.project_id == project) else { return };
        let key = (event.engine.clone(), name.to_owned());
        let at = without_zone(&event.received_at);
        if names.len() < MAX_NAMES || names.contains_key(&key) {
            names.entry(key).or_insert_with(|| (at.clone(), String::new())).1.clone_from(&at);
        }
    })?;
    Ok(names)
}

/// What the counts tell of events: tasks by their state, queues, and how many workers there are.
struct Counted {
    by_state: BTreeMap<&'static str, u64>,
    queues: Vec<Json>,
    workers: usize,
}

impl Counted {
    fn of(hub: &Hub, project: &str) -> Result<Self, Refused> {
        let mut by_state = BTreeMap::new();
        for task in tasks::fold(hub, project)? {
            *by_state.entry(task.state).or_default() += 1;
        }
        let queue = |((engine, name), (_, last)): ((String, String), (String, String))| {
            // The real brain counts no messages: an agent's event does not tell them.
            json!({ "name": name, "engine": engine, "pending_count": 0, "broker_type": null, "last_seen_at": last })
        };
        let queues = named(hub, project, "queue")?.into_iter().map(queue).collect();
        Ok(Self { by_state, queues, workers: named(hub, project, "worker")?.len() })
    }
}

pub(super) async fn queues(hub: &Arc<Hub>, project: Arc<Project>) -> Answer {
    let hub = Arc::clone(hub);
    let rows = on_disk(move || {
        let names = named(&hub, &project.id.to_string(), "queue")?;
        let row = |((engine, name), (first, last)): ((String, String), (String, String))| {
            json!({
                "id": name_based(project.id, &["queue", &engine, &name]), "project_id": project.id,
                "name": name, "engine": engine, "broker_type": null, "broker_url_hint": null,
                "last_seen_at": last, "created_at": first,
            })
        };
        Ok(names.into_iter().map(row).collect::<Vec<_>>())
    });
    answer(StatusCode::OK, &rows.await?)
}

pub(super) async fn workers(hub: &Arc<Hub>, project: Arc<Project>) -> Answer {
    let hub = Arc::clone(hub);
    let rows = on_disk(move || {
        let names = named(&hub, &project.id.to_string(), "worker")?;
        let row = |((engine, name), (first, last)): ((String, String), (String, String))| {
            json!({
                "id": name_based(project.id, &["worker", &engine, &name]), "project_id": project.id,
                "engine": engine, "name": name, "hostname": null,
                "pid": null, "concurrency": null, "queues": [], "state": "online", "last_heartbeat": last,
                "load_average": null, "active_tasks": 0, "processed": 0, "failed": 0, "succeeded": 0,
                "retried": 0, "created_at": first,
            })
        };
        Ok(names.into_iter().map(row).collect::<Vec<_>>())
    });
    answer(StatusCode::OK, &rows.await?)
}

pub(super) async fn all(hub: &Arc<Hub>, project: Arc<Project>) -> Answer {
    let id = project.id.to_string();
    let agents = of_project(hub, &project);
    let now = clock::now();
    let online = |id| hub.sessions.presence(id).is_some_and(|presence| presence.is_online(now));
    let agents_online = agents.iter().filter(|agent| online(agent.id)).count();
    let since = now.plus_seconds(-WINDOW_HOURS * 3_600);
    let commands: Vec<_> =
        hub.commands.list().into_iter().filter(|command| command.project_id == id).collect();
    let pending = commands.iter().filter(|command| !command.status.is_final()).count();
    let done = |state: CommandState| {
        let recent =
            |at: &Option<String>| at.as_deref().and_then(|at| Timestamp::parse(at).ok()) >= Some(since);
        commands.iter().filter(|command| command.status == state && recent(&command.completed_at)).count()
    };
    let counted = Arc::clone(hub);
    let Counted { by_state, queues, workers } = on_disk(move || Counted::of(&counted, &id)).await?;
    let of = |state: &str| by_state.get(state).copied().unwrap_or_default();
    let states: Map<String, Json> =
        STATE_WORDS.iter().map(|word| ((*word).to_owned(), of(word).into())).collect();
    let (failed, succeeded) = (of("failure"), of("success"));
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let failure_rate =
        if failed + succeeded == 0 { 0.0 } else { failed as f64 / (failed + succeeded) as f64 };
    let all_online = agents_online == agents.len();
    answer(
        StatusCode::OK,
        &json!({
            "window_hours": WINDOW_HOURS, "tasks_by_state": states, "tasks_total": by_state.values().sum::<u64>(),
            "tasks_failed_24h": failed, "tasks_succeeded_24h": succeeded, "failure_rate_24h": failure_rate,
            "agents_online": agents_online, "agents_offline": agents.len() - agents_online,
            "workers_online": workers, "workers_offline": 0, "commands_pending": pending,
            "commands_completed_24h": done(CommandState::Completed),
            "commands_failed_24h": done(CommandState::Failed),
            "commands_timeout_24h": done(CommandState::Timeout), "queue_depths": queues,
            "system_health": {
                "status": if all_online { "healthy" } else { "critical" }, "agents_all_online": all_online,
                "queue_depth_ok": true, "failure_rate_ok": true, "brain_db_ok": true,
            },
        }),
    )
}
