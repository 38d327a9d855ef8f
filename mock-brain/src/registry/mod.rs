//! Projects and agents: who may connect, and with which secrets.
//!
//! Owns identities and the token look-up. Must not print a token or secret, and must not decide what a
//! refused token leads to.

mod agent;
mod change;
mod credentials;
mod error;
mod list;
mod naming;
mod project;
mod token;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use crate::lock::lock;
use crate::pki::authority::Authority;
use crate::state::{Administrator, Book, StateError};
use token::{TokenKey, token_key};

pub(crate) use agent::Agent;
pub use credentials::Credentials;
pub use error::RegistryError;
pub use list::{AgentInfo, ProjectInfo};
pub(crate) use project::Project;

struct Inner {
    book: Book,
    projects: Vec<Arc<Project>>,
    agents: Vec<Arc<Agent>>,
    /// Tokens that are let in.
    tokens: HashMap<TokenKey, Arc<Agent>>,
    /// The project and name of the agent that `Brain::credentials` tells.
    primary: (Uuid, String),
}

/// Every agent of this brain.
pub(crate) struct Registry(Mutex<Inner>);

impl Registry {
    /// The registry of a book; `None` if an agent is of no project.
    pub(crate) fn new(book: Book, primary: Uuid) -> Option<Self> {
        let projects: Vec<_> = book.projects().map(Arc::new).collect();
        let agents = book.agents().iter().map(|stored| {
            let project = projects.iter().find(|project| project.id == stored.project_id)?;
            Some(Arc::new(Agent::new(stored, project)))
        });
        let agents: Vec<Arc<Agent>> = agents.collect::<Option<_>>()?;
        let tokens = agents.iter().filter(|agent| !agent.revoked);
        let tokens = tokens.map(|agent| (token_key(&agent.token), Arc::clone(agent))).collect();
        let primary = agents.iter().find(|agent| agent.id == primary)?;
        let primary = (primary.project.id, primary.name.clone());
        Some(Self(Mutex::new(Inner { book, projects, agents, tokens, primary })))
    }

    /// The agent that the brain was started with, as it is now.
    pub(crate) fn primary(&self) -> Option<Arc<Agent>> {
        let inner = lock(&self.0);
        let (project, name) = &inner.primary;
        inner.agents.iter().find(|agent| agent.project.id == *project && agent.name == *name).cloned()
    }

    /// The agent of a bearer token that is let in.
    pub(crate) fn by_token(&self, token: &str) -> Option<Arc<Agent>> {
        self.known_token(token).filter(|agent| !agent.project.about.archived)
    }

    /// The agent of a bearer token, though its project may be archived.
    pub(crate) fn known_token(&self, token: &str) -> Option<Arc<Agent>> {
        lock(&self.0).tokens.get(&token_key(token)).cloned()
    }

    /// Whose token it is, though it may be revoked.
    pub(crate) fn whose(&self, token: &str) -> Option<Arc<Agent>> {
        let (key, inner) = (token_key(token), lock(&self.0));
        let revoked = || inner.agents.iter().find(|agent| agent.revoked && token_key(&agent.token) == key);
        inner.tokens.get(&key).or_else(revoked).cloned()
    }

    /// Whether an agent that was let in still would be.
    pub(crate) fn is_live(&self, agent: &Agent) -> bool {
        self.by_token(&agent.token).is_some_and(|now| now.id == agent.id)
    }

    /// Who logs in over REST.
    pub(crate) fn administrator(&self) -> Administrator {
        lock(&self.0).book.administrator().clone()
    }

    /// Every project, in the order in which they were made.
    pub(crate) fn projects(&self) -> Vec<Arc<Project>> {
        lock(&self.0).projects.clone()
    }

    /// Every agent, in the order in which they were made.
    pub(crate) fn agents(&self) -> Vec<Arc<Agent>> {
        lock(&self.0).agents.clone()
    }

    /// The project of a slug.
    pub(crate) fn project(&self, slug: &str) -> Option<Arc<Project>> {
        lock(&self.0).projects.iter().find(|project| project.slug == slug).cloned()
    }

    /// Keeps the certificate authority with what it issued last.
    pub(crate) fn keep_authority(&self, authority: &Authority) -> Result<(), StateError> {
        lock(&self.0).book.set_authority(authority)
    }
}
