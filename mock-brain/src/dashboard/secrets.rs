//! Agents' tokens and secrets, taken out of what is shown of their bytes: streams must not bear them even where
//! an agent sends its own.

use std::collections::HashMap;
use std::sync::Arc;

use crate::hub::Hub;
use crate::registry::Agent;
use crate::violation::hidden;

/// The agents of some rows.
pub(super) struct Secrets(HashMap<String, Arc<Agent>>);

impl Secrets {
    pub(super) fn of<'n>(hub: &Hub, names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut agents = HashMap::new();
        for name in names {
            if !agents.contains_key(name)
                && let Ok(agent) = hub.registry.named(Some(name))
            {
                agents.insert(name.to_owned(), agent);
            }
        }
        Self(agents)
    }

    /// A text of an agent as it may be shown.
    pub(super) fn hide(&self, agent: Option<&str>, text: &str) -> String {
        hidden(text, agent.and_then(|name| self.0.get(name)))
    }
}
