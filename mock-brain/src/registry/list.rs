//! Agents and projects as lists show them.
//!
//! Owns what is shown of each. Must not show a token: the beginning of its fingerprint is enough.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::lock::lock;
use crate::registry::{Agent, Project, Registry};

/// How much of a token's fingerprint lists show.
const SHOWN_DIGITS: usize = 12;

/// An agent as lists show it: without its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentInfo {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub id: String,
    /// Its project's slug.
    pub project: String,
    /// Whether its token is refused.
    pub revoked: bool,
    /// The first twelve hexadecimal digits of its token's SHA-256, as a fault's `who=token:…` takes them.
    #[serde(default)]
    pub token_fingerprint: String,
}

/// A project as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProjectInfo {
    /// Its slug.
    pub slug: String,
    /// Its UUID.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Whether its agents are kept out.
    pub archived: bool,
    /// How many agents it has, revoked ones not counted.
    pub agents: usize,
}

impl Registry {
    /// Every agent, in the order in which they were made.
    pub(crate) fn list(&self) -> Vec<AgentInfo> {
        let told = |agent: &Arc<Agent>| AgentInfo {
            name: agent.name.clone(),
            id: agent.id.to_string(),
            project: agent.project.slug.clone(),
            revoked: agent.revoked,
            token_fingerprint: agent.token_fingerprint()[..SHOWN_DIGITS].to_owned(),
        };
        lock(&self.0).agents.iter().map(told).collect()
    }

    /// Every project as lists show it.
    pub(crate) fn list_projects(&self) -> Vec<ProjectInfo> {
        let inner = lock(&self.0);
        let told = |project: &Arc<Project>| {
            let own = |agent: &&Arc<Agent>| agent.project.id == project.id && !agent.revoked;
            ProjectInfo {
                slug: project.slug.clone(),
                id: project.id.to_string(),
                name: project.about.name.clone(),
                archived: project.about.archived,
                agents: inner.agents.iter().filter(own).count(),
            }
        };
        inner.projects.iter().map(told).collect()
    }
}
