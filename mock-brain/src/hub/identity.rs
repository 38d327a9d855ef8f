//! Who is let in from now on: projects archived and restored, agents revoked, tokens given.
//!
//! Owns what such a change means for sessions and for those who wait. Must not hold identities (`registry`).

use std::sync::Arc;

use crate::hub::Hub;
use crate::registry::{Agent, Project, RegistryError};

impl Hub {
    /// Archives a project: sessions of its agents are closed with 4003, and their tokens are refused.
    pub(crate) fn archive(&self, slug: &str) -> Result<Arc<Project>, RegistryError> {
        let project = self.registry.change_project(slug, |project| project.about.archived = true)?;
        for agent in self.registry.agents().iter().filter(|agent| agent.project.id == project.id) {
            self.sessions.revoke(agent.id);
        }
        self.ordered();
        Ok(project)
    }

    /// Ends the archiving of a project.
    pub(crate) fn restore(&self, slug: &str) -> Result<Arc<Project>, RegistryError> {
        let project = self.registry.change_project(slug, |project| project.about.archived = false)?;
        self.ordered();
        Ok(project)
    }

    /// Refuses an agent from now on: its sessions are closed with 4003, and its token with 4401 or 401.
    pub(crate) fn revoke(&self, name: &str) -> Result<(), RegistryError> {
        self.revoke_agent(&*self.registry.named(Some(name))?)
    }

    /// As [`Hub::revoke`], of this agent.
    pub(crate) fn revoke_agent(&self, agent: &Agent) -> Result<(), RegistryError> {
        self.registry.set_token(agent, None)?;
        self.sessions.revoke(agent.id);
        self.ordered();
        Ok(())
    }

    /// Gives an agent another token; the old one is refused from now on, and sessions go on.
    pub(crate) fn set_token(&self, name: &str, token: &str) -> Result<Arc<Agent>, RegistryError> {
        let agent = self.registry.named(Some(name))?;
        let changed = self.registry.set_token(&agent, Some(token))?;
        self.ordered();
        Ok(changed)
    }
}
