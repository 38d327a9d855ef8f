//! Projects and agents: who may connect, and with which secrets.
//!
//! Owns identities and the token look-up. Must not print a token or secret, and must not decide what a
//! refused token leads to.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use z4j_protocol::{Binding, HmacSecret};

/// A project: agents of one project sign with one secret.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) id: Uuid,
    pub(crate) slug: String,
    pub(crate) secret: HmacSecret,
}

impl Project {
    /// Whether an agent that says this name means this project: its slug, or its UUID as text.
    pub(crate) fn is_called(&self, name: &[u8]) -> bool {
        name == self.slug.as_bytes() || name.eq_ignore_ascii_case(self.id.to_string().as_bytes())
    }
}

/// An agent, as it was minted.
pub(crate) struct Agent {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) project: Arc<Project>,
}

impl Agent {
    /// What signatures of one of its sessions are bound to.
    pub(crate) fn binding(&self, session_id: &str) -> Binding {
        Binding {
            agent_id: self.id.to_string(),
            project_id: self.project.id.to_string(),
            session_id: session_id.to_owned(),
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
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Every agent of this brain. The first one is what `Brain::credentials` tells.
pub(crate) struct Registry {
    pub(crate) primary: Arc<Agent>,
    pub(crate) others: Vec<Arc<Agent>>,
}

impl Registry {
    fn agents(&self) -> impl Iterator<Item = &Arc<Agent>> {
        std::iter::once(&self.primary).chain(&self.others)
    }

    /// The agent of a bearer token. Takes the same time whichever token it is.
    pub(crate) fn by_token(&self, token: &str) -> Option<Arc<Agent>> {
        let same = |agent: &&Arc<Agent>| {
            constant_time::verify_slices_are_equal(agent.token.as_bytes(), token.as_bytes()).is_ok()
        };
        self.agents().filter(same).last().cloned()
    }

    /// The agent of a name; the primary one is preferred.
    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<Agent>> {
        self.agents().find(|agent| agent.name == name).cloned()
    }

    /// Every agent's name.
    pub(crate) fn names(&self) -> Vec<String> {
        self.agents().map(|agent| agent.name.clone()).collect()
    }
}
