//! Agents and their workers over REST: mint, list, revoke.
//!
//! Owns their shapes. A minted agent's token is told once here; `mock-brain env` tells it again.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::answer::{Answer, Refused, empty, json as answer, micros, time, without_zone};
use super::body::Fields;
use crate::BRAIN_VERSION;
use crate::clock;
use crate::hub::Hub;
use crate::presence::{Presence, Worker};
use crate::registry::{Agent, Project, RegistryError};
use crate::state::StateError;
use crate::web::AgentRequest;

#[derive(Serialize)]
struct Shown {
    id: String,
    project_id: String,
    name: String,
    state: &'static str,
    protocol_version: String,
    framework_adapter: String,
    engine_adapters: Vec<String>,
    scheduler_adapters: Vec<String>,
    capabilities: BTreeMap<String, Vec<String>>,
    last_seen_at: Option<String>,
    last_connect_at: Option<String>,
    created_at: String,
    is_outdated: bool,
    host_name: Option<String>,
    agent_version: Option<String>,
    version_status: Option<&'static str>,
}

impl Shown {
    fn of(hub: &Hub, agent: &Agent) -> Self {
        let presence = hub.sessions.presence(agent.id);
        let state = match &presence {
            None => "unknown",
            Some(presence) if presence.is_online(clock::now()) => "online",
            Some(_) => "offline",
        };
        let seen = presence.as_ref().map(|presence| time(presence.seen_at));
        let connected = presence.as_ref().map(|presence| time(presence.connected_at));
        let greeting = presence.and_then(|presence| presence.greeting);
        let version = greeting.as_ref().map(|greeting| greeting.agent_version.clone());
        let word = |text: &str| if text.is_empty() { "unknown".to_owned() } else { text.to_owned() };
        Self {
            id: agent.id.to_string(),
            project_id: agent.project.id.to_string(),
            name: agent.name.clone(),
            state,
            protocol_version: greeting.as_ref().map_or("0".to_owned(), |said| said.protocol_version.clone()),
            framework_adapter: word(greeting.as_ref().map_or("", |said| &said.framework)),
            last_seen_at: seen,
            last_connect_at: connected,
            created_at: micros(agent.created_at),
            is_outdated: version.as_deref().is_some_and(is_outdated),
            version_status: version.as_deref().map(|it| if is_outdated(it) { "outdated" } else { "current" }),
            agent_version: version,
            host_name: greeting.as_ref().and_then(|said| said.host_name.clone()),
            engine_adapters: greeting.as_ref().map(|said| said.engines.clone()).unwrap_or_default(),
            scheduler_adapters: greeting.as_ref().map(|said| said.schedulers.clone()).unwrap_or_default(),
            capabilities: greeting.map(|said| said.capabilities).unwrap_or_default(),
        }
    }
}

/// Whether a release is older than this brain's, by its first two numbers.
fn is_outdated(release: &str) -> bool {
    let numbers = |text: &str| -> Option<(u32, u32)> {
        let mut parts = text.split('.').map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    };
    numbers(release) < numbers(BRAIN_VERSION)
}

/// The agents of a project that are let in, in the order in which they were made.
pub(super) fn of_project(hub: &Hub, project: &Project) -> Vec<Arc<Agent>> {
    let own = |agent: &Arc<Agent>| agent.project.id == project.id && !agent.revoked;
    hub.registry.agents().into_iter().filter(own).collect()
}

/// The newest first.
pub(super) fn list(hub: &Hub, project: &Project) -> Answer {
    let agents = of_project(hub, project);
    answer(StatusCode::OK, &agents.iter().rev().map(|agent| Shown::of(hub, agent)).collect::<Vec<_>>())
}

#[derive(Serialize)]
struct Minted {
    agent: Shown,
    token: String,
    hmac_secret: String,
}

pub(super) async fn mint(hub: &Arc<Hub>, slug: &str, request: AgentRequest) -> Answer {
    let mut fields = Fields::read(request, &hub.limits).await?;
    let name = fields.text("name", 1..=200);
    fields.done()?;
    let project = super::active(hub, slug)?;
    let agent = hub.registry.add_agent(&name, Some(&project.slug)).map_err(|error| match error {
        RegistryError::Taken(_) => {
            let message = "an agent with that name already exists in this project";
            Refused::conflict(message, json!({ "name": name }))
        }
        // Longer or odder than an agent could say in its hello.
        RegistryError::State(StateError::AgentName(_)) => Refused::invalid(vec![json!({
            "type": "value_error", "loc": ["body", "name"], "msg": error.to_string(), "input": name,
        })]),
        error => Refused::internal(&error),
    })?;
    tracing::info!(agent = %agent.name, project = %project.slug, "agent minted");
    let token = agent.token.clone();
    let hmac_secret = agent.project.secret.to_text();
    answer(StatusCode::CREATED, &Minted { agent: Shown::of(hub, &agent), token, hmac_secret })
}

/// Revokes an agent; one that is revoked already stays so.
pub(super) fn revoke(hub: &Hub, slug: &str, id: &str) -> Answer {
    let uuid = super::commands::uuid(id, "agent_id")?;
    let project = super::active(hub, slug)?;
    let agents = hub.registry.agents();
    let agent = agents.iter().find(|agent| agent.id == uuid && agent.project.id == project.id);
    let details = json!({ "agent_id": id });
    let agent = agent.ok_or_else(|| Refused::not_found("agent not found", details))?;
    if !agent.revoked {
        hub.revoke_agent(agent).map_err(|error| Refused::internal(&error))?;
        tracing::info!(agent = %agent.name, "agent revoked");
    }
    Ok(empty())
}

#[derive(Serialize)]
struct ShownWorker {
    id: Uuid,
    agent_id: Uuid,
    project_id: Uuid,
    worker_id: Option<String>,
    role: Option<String>,
    framework: String,
    pid: Option<u64>,
    started_at: Option<String>,
    state: &'static str,
    last_seen_at: String,
    last_connect_at: String,
    created_at: String,
    updated_at: String,
}

pub(super) fn workers(hub: &Hub, project: &Project) -> Answer {
    let now = clock::now();
    let mut rows = Vec::new();
    for agent in of_project(hub, project) {
        let Some(Presence { workers, .. }) = hub.sessions.presence(agent.id) else { continue };
        rows.extend(workers.into_iter().map(|worker: Worker| ShownWorker {
            id: worker.id,
            agent_id: agent.id,
            project_id: project.id,
            state: if worker.is_online(now) { "online" } else { "offline" },
            worker_id: worker.worker_id,
            role: worker.role,
            framework: worker.framework,
            pid: worker.pid,
            started_at: worker.started_at.as_deref().map(without_zone),
            last_seen_at: time(worker.seen_at),
            last_connect_at: time(worker.connected_at),
            created_at: time(worker.created_at),
            updated_at: time(worker.changed_at),
        }));
    }
    answer(StatusCode::OK, &rows)
}
