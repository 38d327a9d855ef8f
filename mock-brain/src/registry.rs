//! Projects and agents: who may connect, and with which secrets.
//!
//! Owns identities and the token look-up. Must not print a token or secret, and must not decide what a
//! refused token leads to.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use z4j_protocol::{Binding, HmacSecret};

use crate::lock::lock;
use crate::pki::authority::Authority;
use crate::random;
use crate::state::{About, Administrator, Book, StateError, StoredAgent, StoredProject};
use crate::voice::Release;

/// Longest token, in bytes.
const MAX_TOKEN_BYTES: usize = 512;
/// Most names in a complaint.
const MAX_NAMES_TOLD: usize = 20;

/// A project: agents of one project sign with one secret.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) id: Uuid,
    pub(crate) slug: String,
    pub(crate) secret: HmacSecret,
    pub(crate) about: About,
}

impl Project {
    /// Whether an agent that says this name means this project: its slug, or its UUID as text.
    pub(crate) fn is_called(&self, name: &[u8]) -> bool {
        name == self.slug.as_bytes() || name.eq_ignore_ascii_case(self.id.to_string().as_bytes())
    }
}

/// An agent.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) project: Arc<Project>,
    /// Its token is refused.
    pub(crate) revoked: bool,
    /// Microseconds since 1970.
    pub(crate) created_at: i64,
}

impl Agent {
    fn new(stored: &StoredAgent, project: &Arc<Project>) -> Self {
        let StoredAgent { id, name, token, revoked, created_at, .. } = stored.clone();
        Self { id, name, token, project: Arc::clone(project), revoked, created_at }
    }

    /// The SHA-256 of its token in hexadecimal digits.
    pub(crate) fn token_fingerprint(&self) -> String {
        let digest = digest::digest(&digest::SHA256, self.token.as_bytes());
        digest.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    fn is(&self, project: &Project, name: &str) -> bool {
        self.project.id == project.id && self.name == name
    }

    /// This agent for a brain that has another secret of the project.
    pub(crate) fn with_other_secret(&self) -> Self {
        self.in_project(self.project.id, self.project.slug.clone())
    }

    /// This agent for a brain that has it in another project.
    pub(crate) fn in_other_project(&self) -> Self {
        self.in_project(Uuid::new_v4(), "other-project".to_owned())
    }

    fn in_project(&self, id: Uuid, slug: String) -> Self {
        let (secret, about) = (HmacSecret::derive(&random::bytes::<32>(), id), self.project.about.clone());
        Self { project: Arc::new(Project { id, slug, secret, about }), ..self.clone() }
    }

    /// What signatures of one of its sessions are bound to, as the release has it.
    pub(crate) fn binding(&self, session_id: &str, release: Release) -> Binding {
        Binding {
            agent_id: self.id.to_string(),
            project_id: self.project.id.to_string(),
            session_id: if release.binds_session() { session_id.to_owned() } else { String::new() },
        }
    }

    pub(crate) fn credentials(&self) -> Credentials {
        Credentials {
            project_id: self.project.slug.clone(),
            project_uuid: self.project.id.to_string(),
            agent_name: self.name.clone(),
            agent_id: self.id.to_string(),
            token: self.token.clone(),
            hmac_secret: self.project.secret.to_text(),
        }
    }
}

/// What an agent is configured with. `Debug` shows neither token nor secret; serialising shows both.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Credentials {
    /// The project's slug (`Z4J_PROJECT_ID`).
    pub project_id: String,
    /// The project's UUID, which signatures are bound to.
    pub project_uuid: String,
    /// The agent's name (`Z4J_AGENT_NAME`).
    pub agent_name: String,
    /// The agent's UUID (`Z4J_AGENT_ID`).
    pub agent_id: String,
    /// The bearer token (`Z4J_TOKEN`).
    pub token: String,
    /// The project's signing secret (`Z4J_HMAC_SECRET`).
    pub hmac_secret: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("project_id", &self.project_id)
            .field("project_uuid", &self.project_uuid)
            .field("agent_name", &self.agent_name)
            .field("agent_id", &self.agent_id)
            .finish_non_exhaustive()
    }
}

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

/// Why the registry does not change.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is no such agent.
    #[error("no agent {name:?}; there are: {}", known.join(", "))]
    NoAgent {
        /// What was asked for.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// There is no such project.
    #[error("no project {0:?}; `project add` makes one")]
    NoProject(String),
    /// The project is archived.
    #[error("project {0:?} is archived; `project restore` brings it back")]
    Archived(String),
    /// It is the only project that is not archived.
    #[error("project {0:?} is the last one that is not archived; `project add` makes another one")]
    LastProject(String),
    /// The name is taken.
    #[error("{0} is there already")]
    Taken(String),
    /// A token that no header can carry.
    #[error("a token is 1 to 512 visible ASCII characters")]
    Token,
    /// The name is none, or the state cannot be written.
    #[error(transparent)]
    State(#[from] StateError),
}

/// A token as it is looked up: its SHA-256, so that the look-up's time says nothing about it.
type TokenKey = [u8; 32];

struct Inner {
    book: Book,
    projects: Vec<Arc<Project>>,
    agents: Vec<Arc<Agent>>,
    /// Tokens that are let in.
    tokens: HashMap<TokenKey, Arc<Agent>>,
    /// The project and name of the agent that `Brain::credentials` tells.
    primary: (Uuid, String),
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

    /// Whether an agent that was let in still would be.
    pub(crate) fn is_live(&self, agent: &Agent) -> bool {
        self.by_token(&agent.token).is_some_and(|now| now.id == agent.id)
    }

    /// The agent of a name, or the primary one, which is preferred among equal names.
    pub(crate) fn named(&self, name: Option<&str>) -> Result<Arc<Agent>, RegistryError> {
        let primary = self.primary();
        let Some(name) = name else { return primary.ok_or_else(|| self.no_agent("")) };
        let found = primary.filter(|agent| agent.name == name);
        let found = found.or_else(|| lock(&self.0).agents.iter().find(|agent| agent.name == name).cloned());
        found.ok_or_else(|| self.no_agent(name))
    }

    fn no_agent(&self, name: &str) -> RegistryError {
        let inner = lock(&self.0);
        let known = inner.agents.iter().take(MAX_NAMES_TOLD).map(|agent| agent.name.clone()).collect();
        RegistryError::NoAgent { name: name.to_owned(), known }
    }

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

    /// Keeps the certificate authority with what it issued last.
    pub(crate) fn keep_authority(&self, authority: &Authority) -> Result<(), StateError> {
        lock(&self.0).book.set_authority(authority)
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

fn token_key(token: &str) -> TokenKey {
    let mut key = TokenKey::default();
    key.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    key
}
