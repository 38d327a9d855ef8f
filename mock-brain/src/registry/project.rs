//! A project: agents of one project sign with one secret.
//!
//! Owns what a project is called. Must not print its secret.

use uuid::Uuid;
use z4j_protocol::HmacSecret;

use crate::state::About;

/// A project: agents of one project sign with one secret.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) id: Uuid,
    pub(crate) slug: String,
    pub(crate) secret: HmacSecret,
    pub(crate) about: About,
}

impl Project {
    /// Whether an agent that says this name means this project: its slug, or its UUID as text.
    pub(crate) fn is_called(&self, name: &[u8]) -> bool {
        name == self.slug.as_bytes() || name.eq_ignore_ascii_case(self.id.to_string().as_bytes())
    }
}
