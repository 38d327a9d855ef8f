//! Tokens and secrets, taken out of what is kept of a peer's bytes.
//!
//! Owns what stands in their place, and how much of a text is kept. Must not know whose bytes they are.

use std::sync::Arc;

use percent_encoding::percent_decode_str;

use crate::registry::Agent;

/// Most bytes kept of what broke a rule.
const MAX_RAW: usize = 2 << 10;
/// More than the longest token and secret.
const MAX_SECRET: usize = 1 << 10;
/// What stands in place of a secret.
const HIDDEN: &str = "<redacted>";

/// A text without the agent's secrets.
pub(super) fn hidden(text: &str, agent: Option<&Arc<Agent>>) -> String {
    hidden_of_all(text, agent)
}

/// A text without the secrets of some agents.
pub(crate) fn hidden_of_all<'a>(text: &str, agents: impl IntoIterator<Item = &'a Arc<Agent>>) -> String {
    let mut text = text.to_owned();
    for agent in agents {
        let secret = agent.project.secret.to_text();
        for secret in [agent.token.as_str(), secret.trim_end_matches('=')] {
            if !secret.is_empty() && text.contains(secret) {
                text = text.replace(secret, HIDDEN);
            }
        }
    }
    text
}

/// The first bytes as text, without the agent's secrets.
pub(super) fn scrubbed(raw: &[u8], agent: Option<&Arc<Agent>>) -> String {
    begun(raw, |read| hidden(read, agent))
}

/// The beginning of a request's line without the secrets of some agents, decoded if one is hidden in its
/// percent-encoding.
pub(crate) fn line_without_secrets(line: &[u8], agents: &[Arc<Agent>]) -> String {
    begun(line, |read| {
        let shown = hidden_of_all(read, agents);
        let decoded = percent_decode_str(&shown).decode_utf8_lossy().into_owned();
        let without = hidden_of_all(&decoded, agents);
        if without == decoded { shown } else { without }
    })
}

/// The first bytes as text: secrets are taken out before the rest is cut off, so that no half of one stays.
fn begun(raw: &[u8], without_secrets: impl FnOnce(&str) -> String) -> String {
    let read = String::from_utf8_lossy(&raw[..raw.len().min(MAX_RAW + MAX_SECRET)]);
    let mut text = without_secrets(&read);
    text.truncate(text.floor_char_boundary(MAX_RAW));
    text
}
