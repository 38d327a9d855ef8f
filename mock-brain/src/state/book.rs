//! The book of a running brain: the stored document, and its changes.
//!
//! Owns that a change is on disk before it is in effect. Must not decide which names are free, nor what a
//! change means for those who are connected.

use std::collections::HashSet;
use std::path::PathBuf;

use uuid::Uuid;
use z4j_protocol::HmacSecret;

use crate::clock;
use crate::pki::authority::Authority;
use crate::registry::Project;
use crate::state::StateError;
use crate::state::directory::save;
use crate::state::document::{About, Administrator, Stored, StoredAgent, StoredProject};
use crate::state::name::{check_agent_name, check_slug};

/// The stored state of a running brain. A change is on disk before it is in effect.
pub(crate) struct Book {
    pub(super) dir: Option<PathBuf>,
    pub(super) stored: Stored,
}

impl Book {
    pub(crate) fn projects(&self) -> impl Iterator<Item = Project> {
        self.stored.projects.iter().map(|project| self.project(project))
    }

    pub(crate) fn agents(&self) -> &[StoredAgent] {
        &self.stored.agents
    }

    fn project(&self, stored: &StoredProject) -> Project {
        let secret = HmacSecret::derive(self.stored.master_secret.as_bytes(), stored.id);
        Project { id: stored.id, slug: stored.slug.clone(), secret, about: stored.about.clone() }
    }

    pub(crate) const fn administrator(&self) -> &Administrator {
        &self.stored.administrator
    }

    /// Changes a project, and returns it as it is now; `None` if there is none.
    pub(crate) fn change_project(
        &mut self,
        id: Uuid,
        change: impl FnOnce(&mut StoredProject),
    ) -> Result<Option<Project>, StateError> {
        let Some(stored) = self.stored.projects.iter().find(|project| project.id == id) else {
            return Ok(None);
        };
        let mut changed = stored.clone();
        change(&mut changed);
        check_slug(&changed.slug)?;
        changed.about.updated_at = clock::now().unix_micros();
        let made = self.project(&changed);
        self.change(|stored| {
            for project in stored.projects.iter_mut().filter(|project| project.id == id) {
                project.clone_from(&changed);
            }
        })?;
        Ok(Some(made))
    }

    pub(crate) fn add_project(&mut self, slug: &str, about: About) -> Result<Project, StateError> {
        check_slug(slug)?;
        let project = StoredProject::new(Uuid::new_v4(), slug, about);
        let made = self.project(&project);
        self.change(|stored| stored.projects.push(project))?;
        Ok(made)
    }

    /// Adds agents; revoked ones of the same project and name give way to them.
    pub(crate) fn add_agents(&mut self, agents: &[StoredAgent]) -> Result<(), StateError> {
        if agents.is_empty() {
            return Ok(());
        }
        for agent in agents {
            check_agent_name(&agent.name)?;
        }
        self.change(|stored| {
            let new: HashSet<_> =
                agents.iter().map(|agent| (agent.project_id, agent.name.as_str())).collect();
            stored.agents.retain(|old| !(old.revoked && new.contains(&(old.project_id, old.name.as_str()))));
            stored.agents.extend_from_slice(agents);
        })
    }

    /// Gives an agent another token, which ends a revocation, or revokes it.
    pub(crate) fn set_token(&mut self, id: Uuid, token: Option<&str>) -> Result<(), StateError> {
        self.change(|stored| {
            for agent in stored.agents.iter_mut().filter(|agent| agent.id == id) {
                agent.revoked = token.is_none();
                if let Some(token) = token {
                    token.clone_into(&mut agent.token);
                }
            }
        })
    }

    /// Keeps the authority with what it issued last.
    pub(crate) fn set_authority(&mut self, authority: &Authority) -> Result<(), StateError> {
        self.change(|stored| stored.authority = Some(authority.clone()))
    }

    fn change(&mut self, change: impl FnOnce(&mut Stored)) -> Result<(), StateError> {
        match &self.dir {
            None => change(&mut self.stored),
            Some(dir) => {
                let mut next = self.stored.clone();
                change(&mut next);
                save(dir, &next)?;
                self.stored = next;
            }
        }
        Ok(())
    }
}
