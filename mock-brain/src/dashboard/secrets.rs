//! Agents' tokens and secrets, taken out of what is shown of their bytes: streams must not bear them even where
//! an agent sends its own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::hub::Hub;
use crate::registry::Agent;
use crate::violation::hidden_of_all;

/// The agents of some rows. Those of several projects may bear one name.
pub(super) struct Secrets(HashMap<String, Vec<Arc<Agent>>>);

impl Secrets {
    pub(super) fn of<'n>(hub: &Hub, names: impl IntoIterator<Item = &'n str>) -> Self {
        let names: HashSet<_> = names.into_iter().collect();
        let mut agents: HashMap<_, Vec<_>> = HashMap::new();
        for agent in hub.registry.all_named(&names) {
            agents.entry(agent.name.clone()).or_default().push(agent);
        }
        Self(agents)
    }

    /// A text of an agent as it may be shown.
    pub(super) fn hide(&self, agent: Option<&str>, text: &str) -> String {
        hidden_of_all(text, agent.and_then(|name| self.0.get(name)).into_iter().flatten())
    }
}
