//! What can be waited for.
//!
//! Owns the conditions and how each is looked at: cheaply, because that happens with every frame.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::hub::Hub;
use crate::quote::quote;
use crate::registry::RegistryError;

/// Something that a test waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "until", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Condition {
    /// So many events were accepted, of an agent if one is named.
    Events {
        /// How many at least.
        count: u64,
        /// The agent's name; none for all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
    },
    /// So many events came again.
    Duplicates {
        /// How many at least.
        count: u64,
    },
    /// A session is accepted and lives.
    Session {
        /// Of this agent, by its name, `PROJECT/NAME` or UUID; none for any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
        /// Of this worker; none for any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker: Option<String>,
    },
    /// No session lives.
    NoSession {
        /// Of this agent, by its name, `PROJECT/NAME` or UUID; none for any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
    },
    /// A command has come to its end.
    Command {
        /// Its UUID.
        id: String,
    },
    /// So many violations were found.
    Violations {
        /// How many at least.
        count: usize,
    },
}

/// Why a condition never comes to hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConditionError {
    /// There is no such agent.
    #[error(transparent)]
    Agent(#[from] RegistryError),
    /// There is no such command.
    #[error("no command {}", quote(.0))]
    NoCommand(String),
}

impl Condition {
    /// So many events at least, of whichever agents.
    #[must_use]
    pub const fn events(count: u64) -> Self {
        Self::Events { count, agent: None }
    }

    /// A session of this worker.
    #[must_use]
    pub fn worker(id: &str) -> Self {
        Self::Session { agent: None, worker: Some(id.to_owned()) }
    }

    /// No session of any agent.
    #[must_use]
    pub const fn no_session() -> Self {
        Self::NoSession { agent: None }
    }

    /// Whether what it names is there.
    pub(crate) fn check(&self, hub: &Hub) -> Result<(), ConditionError> {
        if let Some(name) = self.agent() {
            hub.registry.named(Some(name))?;
        }
        match self {
            Self::Command { id } if hub.commands.is_final(id).is_none() => {
                Err(ConditionError::NoCommand(id.clone()))
            }
            _ => Ok(()),
        }
    }

    fn agent(&self) -> Option<&str> {
        match self {
            Self::Events { agent, .. } | Self::Session { agent, .. } | Self::NoSession { agent } => {
                agent.as_deref()
            }
            _ => None,
        }
    }

    /// Whether it holds now. What names an agent or command that is not there does not.
    pub(crate) fn holds(&self, hub: &Hub) -> bool {
        let Ok(agent) = self.agent_id(hub) else { return false };
        match self {
            Self::Events { count, .. } => hub.store.accepted_of(agent) >= *count,
            Self::Duplicates { count } => hub.store.duplicates() >= *count,
            Self::Session { worker, .. } => hub.sessions.is_online(agent, worker.as_deref()),
            Self::NoSession { .. } => hub.sessions.live_of(agent) == 0,
            Self::Command { id } => hub.commands.is_final(id) == Some(true),
            Self::Violations { count } => hub.violations.count() >= *count,
        }
    }

    fn agent_id(&self, hub: &Hub) -> Result<Option<Uuid>, RegistryError> {
        self.agent().map(|name| Ok(hub.registry.named(Some(name))?.id)).transpose()
    }

    /// What there is of it now, in words.
    pub(crate) fn seen(&self, hub: &Hub) -> String {
        let agent = self.agent_id(hub).ok().flatten();
        match self {
            Self::Events { .. } => format!("{} accepted", hub.store.accepted_of(agent)),
            Self::Duplicates { .. } => format!("{} came again", hub.store.duplicates()),
            Self::Session { .. } | Self::NoSession { .. } => {
                format!("{} sessions live", hub.sessions.live_of(agent))
            }
            Self::Command { id } => match hub.commands.get(id) {
                Some(command) => format!("it is {}", command.status.as_str()),
                None => "it is not there".to_owned(),
            },
            Self::Violations { .. } => format!("{} were found", hub.violations.count()),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events { count, .. } => write!(f, "{count} events")?,
            Self::Duplicates { count } => write!(f, "{count} duplicates")?,
            Self::Session { worker: Some(worker), .. } => {
                write!(f, "a session with worker {}", quote(worker))?;
            }
            Self::Session { .. } => f.write_str("a session")?,
            Self::NoSession { .. } => f.write_str("the end of all sessions")?,
            Self::Command { id } => write!(f, "the end of command {}", quote(id))?,
            Self::Violations { count } => write!(f, "{count} violations")?,
        }
        self.agent().map_or(Ok(()), |agent| write!(f, " of agent {}", quote(agent)))
    }
}
