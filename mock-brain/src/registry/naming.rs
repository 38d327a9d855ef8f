//! Which agent is meant: `NAME`, `PROJECT/NAME` or its UUID.
//!
//! Owns the order of these. Names are a project's own, so that several agents may have one; no slug has a slash.

use std::collections::HashSet;
use std::sync::Arc;

use crate::lock::lock;
use crate::registry::{Agent, Registry, RegistryError};

/// Most names in a complaint.
const MAX_NAMES_TOLD: usize = 20;

impl Registry {
    /// The agent that is meant, or the primary one. Of several that have a name, the one that is not revoked.
    pub(crate) fn named(&self, name: Option<&str>) -> Result<Arc<Agent>, RegistryError> {
        let Some(name) = name else { return self.primary().ok_or_else(|| self.no_agent("")) };
        let mut meant = meant(&lock(&self.0).agents, name);
        if meant.iter().any(|agent| !agent.revoked) {
            meant.retain(|agent| !agent.revoked);
        }
        match &meant[..] {
            [] => Err(self.no_agent(name)),
            [agent] => Ok(Arc::clone(agent)),
            several => Err(RegistryError::Ambiguous {
                name: name.to_owned(),
                spellings: several.iter().take(MAX_NAMES_TOLD).map(|agent| agent.full_name()).collect(),
            }),
        }
    }

    /// What an agent is called so that no other is meant.
    pub(crate) fn spelling(&self, agent: &Agent) -> String {
        let is_enough = self.named(Some(&agent.name)).is_ok_and(|named| named.id == agent.id);
        if is_enough { agent.name.clone() } else { agent.full_name() }
    }

    /// The agents of some names, in whichever projects.
    pub(crate) fn all_named(&self, names: &HashSet<&str>) -> Vec<Arc<Agent>> {
        let inner = lock(&self.0);
        inner.agents.iter().filter(|agent| names.contains(agent.name.as_str())).cloned().collect()
    }

    fn no_agent(&self, name: &str) -> RegistryError {
        let inner = lock(&self.0);
        let known = inner.agents.iter().take(MAX_NAMES_TOLD).map(|agent| agent.name.clone()).collect();
        RegistryError::NoAgent { name: name.to_owned(), known }
    }
}

fn meant(agents: &[Arc<Agent>], name: &str) -> Vec<Arc<Agent>> {
    let mut meant: Vec<_> = agents.iter().filter(|agent| agent.is_called(name)).cloned().collect();
    let rather: [fn(&Agent, &str) -> bool; 2] =
        [|agent, name| agent.full_name() == name, |agent, name| agent.name == name];
    for is_rather in rather {
        if meant.iter().any(|agent| is_rather(agent, name)) {
            meant.retain(|agent| is_rather(agent, name));
            break;
        }
    }
    meant
}
