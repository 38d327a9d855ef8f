//! The state: what a brain keeps between two starts.
//!
//! Owns what a brain starts with: the book, the certificates and the lock on the directory, with what is
//! wanted made where it is not there. All files are 0600 but the CA certificate. Must not log secrets.

mod book;
mod directory;
mod document;
mod error;
mod name;

use std::fs::File;
use std::path::Path;

use nix::fcntl::Flock;

use crate::pki::authority::Authority;
use crate::registry::Registry;
use crate::state::directory::{STATE_FILE, claim, load, save};
use crate::state::document::Stored;

pub(crate) use book::Book;
pub(crate) use directory::replace;
pub(crate) use document::{About, Administrator, StoredAgent, StoredProject, new_token};
pub use error::StateError;
pub(crate) use name::{check_agent_name, check_slug};

/// The CA certificate's file name, for `SSL_CERT_FILE`.
pub(crate) const CA_FILE: &str = "ca.pem";

/// What a brain starts with.
pub(crate) struct State {
    pub(crate) registry: Registry,
    pub(crate) authority: Option<Authority>,
    /// Held as long as the brain runs.
    pub(crate) lock: Option<Flock<File>>,
}

/// What the state must have.
pub(crate) struct Wanted<'w> {
    pub(crate) project: &'w str,
    pub(crate) agent: &'w str,
    pub(crate) tls: bool,
    pub(crate) names: &'w [String],
}

impl State {
    /// Reads the state of a directory, or makes a new one, and adds what is wanted and not there. Without a
    /// directory everything is new and stays in memory.
    pub(crate) fn open(dir: Option<&Path>, wanted: &Wanted<'_>) -> Result<Self, StateError> {
        check_slug(wanted.project)?;
        check_agent_name(wanted.agent)?;
        let (lock, mut stored) = match dir {
            None => (None, Stored::new()),
            Some(dir) => (Some(claim(dir)?), load(dir)?.unwrap_or_else(Stored::new)),
        };
        let (primary, new_agent) = stored.ensure_agent(wanted.project, wanted.agent);
        let new_certificate = wanted.tls && stored.ensure_authority(wanted.names)?;
        if let Some(dir) = dir {
            if new_agent || new_certificate {
                save(dir, &stored)?;
            }
            if let Some(authority) = stored.authority.as_ref().filter(|_| wanted.tls) {
                replace(dir, CA_FILE, 0o644, authority.root.pem.as_bytes())?;
            }
        }
        let authority = stored.authority.clone().filter(|_| wanted.tls);
        let book = Book { dir: dir.map(Path::to_owned), stored };
        let registry = Registry::new(book, primary).ok_or_else(|| StateError::Broken {
            path: dir.unwrap_or(Path::new("")).join(STATE_FILE),
            reason: "an agent is of no project".to_owned(),
        })?;
        Ok(Self { registry, authority, lock })
    }
}

/// The project slug and agent name that a directory was first used with, to start with where no flag says.
#[must_use]
pub(crate) fn first_names(dir: &Path) -> Option<(String, String)> {
    let stored = load(dir).ok()??;
    let agent = stored.agents.first()?;
    let project = stored.projects.iter().find(|project| project.id == agent.project_id)?;
    Some((project.slug.clone(), agent.name.clone()))
}
