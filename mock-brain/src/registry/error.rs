//! Why the registry does not change.
//!
//! Owns the texts: each names the thing, the reason and the way out. Must not quote a token.

use crate::state::StateError;

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
    /// Agents of several projects have that name.
    #[error("there is an agent {name:?} in several projects: say {}", spellings.join(" or "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// What each is called with its project.
        spellings: Vec<String>,
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
