//! The names that the real brain would have.
//!
//! Owns the rules for slugs and agent names. Must not know which names are taken.

use crate::state::StateError;

/// The real brain's rule: `^[a-z0-9][a-z0-9-]{1,48}[a-z0-9]$`.
pub(crate) fn check_slug(slug: &str) -> Result<(), StateError> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = (3..=50).contains(&slug.len())
        && slug.bytes().all(inner)
        && !slug.starts_with('-')
        && !slug.ends_with('-');
    if good { Ok(()) } else { Err(StateError::Slug(slug.to_owned())) }
}

/// The real brain's bound.
pub(crate) fn check_agent_name(name: &str) -> Result<(), StateError> {
    let good = (1..=120).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if good { Ok(()) } else { Err(StateError::AgentName(name.to_owned())) }
}
