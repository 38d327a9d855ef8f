//! The stream of events.

use std::collections::HashMap;

use maud::{Markup, html};

use super::text::{Tone, badge, none, on_demand, table, time_of_day};
use crate::hub::Hub;
use crate::journal::Line;
use crate::store::StoredEvent;

/// Most rows.
pub(super) const MOST: usize = 100;

pub(super) fn section(events: &[StoredEvent], hub: &Hub) -> Markup {
    html! {
        section aria-labelledby="events-title" {
            h2 #events-title { "Events" }
            (table("events", "Events, newest first", &["Time", "Kind", "Task", "Engine", "Agent", "Verdict"],
                Some(MOST), &newest(events, hub)))
        }
    }
}

/// Accepted events, newest first.
fn newest(events: &[StoredEvent], hub: &Hub) -> Markup {
    let wanted: HashMap<&str, String> = match events {
        [] => HashMap::new(),
        events => {
            let agents = hub.registry.list().into_iter();
            let name = |id: &str, agents: &[crate::registry::AgentInfo]| {
                agents.iter().find(|agent| agent.id == id).map(|agent| agent.name.clone())
            };
            let agents: Vec<_> =
                agents.filter(|agent| events.iter().any(|e| e.agent_id == agent.id)).collect();
            events.iter().filter_map(|e| Some((e.agent_id.as_str(), name(&e.agent_id, &agents)?))).collect()
        }
    };
    html! {
        @for event in events.iter().rev() {
            (row(event, wanted.get(event.agent_id.as_str()).map_or("gone", String::as_str), "accepted"))
        }
        @if events.is_empty() { (none("events", 6, &html! { "No event has come yet." })) }
    }
}

/// What came, newest first.
pub(super) fn added(lines: &[Line]) -> Markup {
    let events: Vec<_> = lines.iter().rev().filter(|line| line.event.is_some()).take(MOST).collect();
    html! {
        @for line in events {
            @if let Some(event) = &line.event {
                (row(event, line.agent.as_deref().unwrap_or("unknown"), &line.detail))
            }
        }
    }
}

fn row(event: &StoredEvent, agent: &str, verdict: &str) -> Markup {
    let accepted = verdict == "accepted";
    let task = if event.task_id.is_empty() { "no task" } else { &event.task_id };
    let name = event.payload.get("task_name").and_then(z4j_protocol::Value::as_str);
    let payload = event.payload.to_canonical().unwrap_or_default();
    html! {
        tr id=[accepted.then(|| format!("e-{}", event.id))] {
            td { (time_of_day(&event.received_at)) }
            td { (badge(tone(&event.kind), &event.kind)) }
            td {
                (on_demand(&html! { code { (task) } }, &payload))
                @if let Some(name) = name { div.hint { (name) } }
            }
            td { (event.engine) }
            td { (agent) }
            td { @if accepted { (badge(Tone::Good, verdict)) } @else { (badge(Tone::Idle, verdict)) } }
        }
    }
}

fn tone(kind: &str) -> Tone {
    match kind {
        "task.succeeded" | "worker.online" | "schedule.run_completed" => Tone::Good,
        "task.failed" | "task.rejected" | "worker.offline" => Tone::Bad,
        "task.retried" | "task.revoked" | "unknown" => Tone::Warn,
        _ => Tone::Idle,
    }
}
