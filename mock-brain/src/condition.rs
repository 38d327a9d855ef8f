//! What can be waited for.
//!
//! Owns the conditions and how each is looked at: cheaply, because that happens with every frame.

use serde::{Deserialize, Serialize};

use crate::hub::Hub;

/// Something that a test waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "until", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Condition {
    /// So many events were accepted since the brain started.
    Events {
        /// How many at least.
        count: u64,
    },
    /// So many events came again.
    Duplicates {
        /// How many at least.
        count: u64,
    },
    /// A session is accepted and lives.
    Session {
        /// Of this worker; none for any.
        #[serde(default)]
        worker: Option<String>,
    },
    /// No session lives.
    NoSession,
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

impl Condition {
    /// Whether it holds now. A command that is not there never comes to its end.
    pub(crate) fn holds(&self, hub: &Hub) -> bool {
        match self {
            Self::Events { count } => hub.store.accepted() >= *count,
            Self::Duplicates { count } => hub.store.duplicates() >= *count,
            Self::Session { worker } => hub.sessions.is_online(worker.as_deref()),
            Self::NoSession => hub.sessions.live() == 0,
            Self::Command { id } => hub.commands.is_final(id) == Some(true),
            Self::Violations { count } => hub.violations.count() >= *count,
        }
    }
}
