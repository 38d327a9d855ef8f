//! Whose request it is.
//!
//! Owns what a fault at the login makes of the sessions that it uses. Must not keep state (`sessions`).

use std::sync::Arc;

use crate::login::Login;
use crate::registry::Agent;

/// Whose request it is, and of which of its sessions.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'c> {
    pub(super) agent: &'c Arc<Agent>,
    pub(super) nonce: &'c str,
    /// What a fault makes of its login.
    pub(super) login: Option<Login>,
}

impl Caller<'_> {
    /// How far the brain's clock is ahead for it, in seconds.
    pub(super) fn ahead(&self) -> i64 {
        self.login.map_or(0, Login::ahead)
    }

    /// Whether the brain verifies its frames with another secret or time.
    pub(super) fn is_misread(&self) -> bool {
        self.login.is_some_and(Login::misreads)
    }

    /// The agent for a brain that has another secret of its project, if this one has.
    pub(super) fn with_other_secret(&self) -> Option<Agent> {
        (self.login == Some(Login::OtherSecret)).then(|| self.agent.with_other_secret())
    }
}
