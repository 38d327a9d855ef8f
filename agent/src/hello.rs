//! The hello: who connects, and what it can do.
//!
//! One function builds it for every connection, the doctor's as well as the agent's: a hello replaces what
//! the brain knows of the agent, so two versions of it would fight. Must not detect anything itself.

use z4j_protocol::payload::{Hello, Host};
use z4j_protocol::{PROTOCOL_VERSION_TEXT, Timestamp};

use crate::config::{Config, Framework};
use crate::engine::Abilities;

/// Protocol features that every connection offers.
pub(crate) const RUNTIME_FEATURES: [&str; 2] = ["retry_by_reference", "external_schedule_protocol_v1"];

/// Longest `worker_id` that a brain takes, in characters.
const MAX_WORKER_ID_CHARS: usize = 128;

/// Which slot a connection takes.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    /// The slot's name: another connection of that name is replaced.
    pub(crate) id: String,
    /// The process.
    pub(crate) pid: u32,
    /// Since when.
    pub(crate) started_at: Timestamp,
    /// What it is for; the doctor has none.
    pub(crate) role: Option<String>,
}

impl Worker {
    /// The doctor's slot: one per machine, so that no live worker is replaced and no rows pile up.
    pub(crate) fn doctor(host_name: &str, pid: u32, started_at: Timestamp) -> Self {
        let id = format!("doctor-{host_name}").chars().take(MAX_WORKER_ID_CHARS).collect();
        Self { id, pid, started_at, role: None }
    }
}

/// Builds the payload of a hello.
pub(crate) fn build(
    config: &Config,
    framework: Framework,
    abilities: &Abilities,
    agent_version: &str,
    worker: &Worker,
) -> Hello {
    Hello {
        protocol_version: PROTOCOL_VERSION_TEXT.to_owned(),
        agent_version: agent_version.to_owned(),
        framework: framework.as_str().to_owned(),
        engines: abilities.engines.clone(),
        schedulers: Vec::new(),
        capabilities: abilities.capabilities.clone(),
        host: Host { name: config.agent_name.clone() },
        worker_id: Some(worker.id.clone()),
        worker_role: worker.role.clone(),
        worker_pid: Some(u64::from(worker.pid)),
        worker_started_at: Some(worker.started_at.to_string()),
        runtime_features: RUNTIME_FEATURES.map(str::to_owned).to_vec(),
        project_id: Some(config.project_id.clone()),
    }
}
