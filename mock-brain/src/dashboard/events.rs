//! The stream of events.

use std::collections::HashMap;

use maud::{Markup, html};

use super::secrets::Secrets;
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
            (table("events", "Events, newest first", &["Time", "Kind", "Task", "Agent", "Verdict"],
                Some(MOST), &newest(events, hub)))
        }
    }
}

/// Accepted events, newest first.
fn newest(events: &[StoredEvent], hub: &Hub) -> Markup {
    let agents: HashMap<String, String> = if events.is_empty() {
        HashMap::new()
    } else {
        hub.registry.list().into_iter().map(|agent| (agent.id, agent.name)).collect()
    };
    let name = |event: &StoredEvent| agents.get(&event.agent_id).map(String::as_str);
    let secrets = Secrets::of(hub, events.iter().filter_map(name));
    html! {
        @for event in events.iter().rev() { (row(event, name(event), "accepted", &secrets)) }
        @if events.is_empty() { (none("events", 5, &html! { "No event has come yet." })) }
    }
}

/// What came, newest first.
pub(super) fn added(lines: &[Line], secrets: &Secrets) -> Markup {
    let events: Vec<_> = lines.iter().rev().filter(|line| line.event.is_some()).take(MOST).collect();
    html! {
        @for line in events {
            @if let Some(event) = &line.event {
                (row(event, line.agent.as_deref(), &line.detail, secrets))
            }
        }
    }
}

fn row(event: &StoredEvent, agent: Option<&str>, verdict: &str, secrets: &Secrets) -> Markup {
    let accepted = verdict == "accepted";
    let task = if event.task_id.is_empty() { "no task" } else { &event.task_id };
    let name = event.payload.get("task_name").and_then(z4j_protocol::Value::as_str);
    let payload = event.payload.to_canonical().unwrap_or_default();
    let hide = |text: &str| secrets.hide(agent, text);
    html! {
        tr id=[accepted.then(|| format!("e-{}", event.id))] {
            td { (time_of_day(&event.received_at)) }
            td { (badge(tone(&event.kind), &hide(&event.kind))) }
            td.text {
                (on_demand(&html! { code { (hide(task)) } }, &hide(&payload)))
                div.hint { (hide(&event.engine)) @if let Some(name) = name { " · " (hide(name)) } }
            }
            td.figure { (super::text::cut(agent.unwrap_or("unknown"), 24).0) }
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
