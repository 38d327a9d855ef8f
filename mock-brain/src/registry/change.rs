//! Changes of the registry: new projects and agents, other names, other tokens.
//!
//! Owns that names and tokens are one agent's only, and that the book has a change before anybody sees it. Must
//! not decide what becomes of sessions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use crate::lock::lock;
use crate::registry::token::token_key;
use crate::registry::{Agent, Inner, Project, Registry, RegistryError};
use crate::state::{About, StoredAgent, StoredProject};

/// Longest token, in bytes.
const MAX_TOKEN_BYTES: usize = 512;

impl Registry {
    /// Makes a project.
    pub(crate) fn add_project(&self, slug: &str, about: About) -> Result<Arc<Project>, RegistryError> {
        let mut inner = lock(&self.0);
        inner.check_free(slug, None)?;
        let project = Arc::new(inner.book.add_project(slug, about)?);
        inner.projects.push(Arc::clone(&project));
        Ok(project)
    }

    /// Changes a project, its slug too; its agents are of the changed one from now on, and sessions go on.
    pub(crate) fn change_project(
        &self,
        slug: &str,
        change: impl FnOnce(&mut StoredProject),
    ) -> Result<Arc<Project>, RegistryError> {
        let mut inner = lock(&self.0);
        let none = || RegistryError::NoProject(slug.to_owned());
        let index = inner.projects.iter().position(|project| project.slug == slug).ok_or_else(none)?;
        let old = Arc::clone(&inner.projects[index]);
        let mut wanted = StoredProject { id: old.id, slug: old.slug.clone(), about: old.about.clone() };
        change(&mut wanted);
        inner.check_free(&wanted.slug, Some(old.id))?;
        let active = inner.projects.iter().filter(|project| !project.about.archived).count();
        if wanted.about.archived && !old.about.archived && active == 1 {
            return Err(RegistryError::LastProject(slug.to_owned()));
        }
        let changed = inner.book.change_project(old.id, |stored| *stored = wanted)?.ok_or_else(none)?;
        let changed = Arc::new(changed);
        inner.projects[index] = Arc::clone(&changed);
        inner.adopt(&changed);
        Ok(changed)
    }

    /// Makes an agent of a project, or of the primary agent's one.
    pub(crate) fn add_agent(&self, name: &str, project: Option<&str>) -> Result<Arc<Agent>, RegistryError> {
        let mut inner = lock(&self.0);
        let project = inner.project(project)?;
        if inner.agents.iter().any(|agent| agent.is(&project, name) && !agent.revoked) {
            return Err(RegistryError::Taken(format!("agent {name:?}")));
        }
        let stored = StoredAgent::mint(project.id, name);
        inner.book.add_agents(std::slice::from_ref(&stored))?;
        inner.agents.retain(|agent| !agent.is(&project, name));
        Ok(inner.take_in(&stored, &project))
    }

    /// The agents of these names, those that are not there made in one change.
    pub(crate) fn ensure_agents(
        &self,
        names: &[String],
        project: Option<&str>,
    ) -> Result<Vec<Arc<Agent>>, RegistryError> {
        let mut inner = lock(&self.0);
        let project = inner.project(project)?;
        let live = inner.agents.iter().filter(|agent| agent.project.id == project.id && !agent.revoked);
        let known: HashMap<String, Arc<Agent>> =
            live.map(|agent| (agent.name.clone(), Arc::clone(agent))).collect();
        let missing = names.iter().filter(|name| !known.contains_key(*name));
        let minted: Vec<_> = missing.map(|name| StoredAgent::mint(project.id, name)).collect();
        inner.book.add_agents(&minted)?;
        let new: HashSet<_> = minted.iter().map(|stored| stored.name.as_str()).collect();
        inner.agents.retain(|agent| !(agent.project.id == project.id && new.contains(agent.name.as_str())));
        let mut made =
            minted.iter().map(|stored| inner.take_in(stored, &project)).collect::<Vec<_>>().into_iter();
        Ok(names.iter().filter_map(|name| known.get(name).cloned().or_else(|| made.next())).collect())
    }

    /// Gives an agent another token, which ends a revocation; without one, revokes it. The old token is
    /// refused from now on.
    pub(crate) fn set_token(&self, agent: &Agent, token: Option<&str>) -> Result<Arc<Agent>, RegistryError> {
        let usable = |token: &str| {
            (1..=MAX_TOKEN_BYTES).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !token.is_none_or(usable) {
            return Err(RegistryError::Token);
        }
        let mut inner = lock(&self.0);
        let holder = token.and_then(|token| inner.tokens.get(&token_key(token)));
        if holder.is_some_and(|holder| holder.id != agent.id) {
            return Err(RegistryError::Taken("that token, of another agent,".to_owned()));
        }
        inner.book.set_token(agent.id, token)?;
        let Some(index) = inner.agents.iter().position(|known| known.id == agent.id) else {
            return Err(RegistryError::NoAgent { name: agent.name.clone(), known: Vec::new() });
        };
        let mut changed = Agent::clone(&inner.agents[index]);
        inner.tokens.remove(&token_key(&changed.token));
        changed.revoked = token.is_none();
        if let Some(token) = token {
            token.clone_into(&mut changed.token);
        }
        let changed = Arc::new(changed);
        if token.is_some() {
            inner.tokens.insert(token_key(&changed.token), Arc::clone(&changed));
        }
        inner.agents[index] = Arc::clone(&changed);
        Ok(changed)
    }
}

impl Inner {
    /// The project of a slug, or the primary agent's one.
    fn project(&self, slug: Option<&str>) -> Result<Arc<Project>, RegistryError> {
        let wanted = |found: &&Arc<Project>| match slug {
            Some(slug) => found.slug == slug,
            None => found.id == self.primary.0,
        };
        let found = self.projects.iter().find(wanted).cloned();
        let none = || RegistryError::NoProject(slug.unwrap_or_default().to_owned());
        let project = found.ok_or_else(none)?;
        if project.about.archived {
            return Err(RegistryError::Archived(project.slug.clone()));
        }
        Ok(project)
    }

    /// Takes in an agent that the book has.
    fn take_in(&mut self, stored: &StoredAgent, project: &Arc<Project>) -> Arc<Agent> {
        let agent = Arc::new(Agent::new(stored, project));
        self.agents.push(Arc::clone(&agent));
        self.tokens.insert(token_key(&agent.token), Arc::clone(&agent));
        agent
    }

    /// Whether no other project has that slug.
    fn check_free(&self, slug: &str, own: Option<Uuid>) -> Result<(), RegistryError> {
        let taken = |project: &Arc<Project>| project.slug == slug && Some(project.id) != own;
        if self.projects.iter().any(taken) {
            return Err(RegistryError::Taken(format!("project {slug:?}")));
        }
        Ok(())
    }

    /// Makes the agents of a project those of the project as it is now.
    fn adopt(&mut self, project: &Arc<Project>) {
        for agent in self.agents.iter_mut().filter(|agent| agent.project.id == project.id) {
            let changed = Arc::new(Agent { project: Arc::clone(project), ..Agent::clone(agent) });
            if !changed.revoked {
                self.tokens.insert(token_key(&changed.token), Arc::clone(&changed));
            }
            *agent = changed;
        }
    }
}
