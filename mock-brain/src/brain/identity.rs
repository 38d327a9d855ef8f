//! A running brain's projects, agents and administrator: who may come, and with what.
//!
//! Owns no state: the hub's registry has the identities. Must not print a token or secret.

use crate::brain::Brain;
use crate::registry::{AgentInfo, Credentials, ProjectInfo, RegistryError};

impl Brain {
    /// What the agent named in the options was configured with at the start. Later tokens are told by
    /// [`Brain::credentials_of`].
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    /// What an agent is configured with now.
    ///
    /// # Errors
    /// There is no such agent.
    pub fn credentials_of(&self, agent: &str) -> Result<Credentials, RegistryError> {
        Ok(self.hub.registry.named(Some(agent))?.credentials())
    }

    /// Makes a project.
    ///
    /// # Errors
    /// There is one of that slug, or it is none, or the state cannot be written.
    pub fn add_project(&self, slug: &str) -> Result<(), RegistryError> {
        self.hub.registry.add_project(slug, Default::default()).map(drop)
    }

    /// Every project, archived ones too, in the order in which they were made.
    #[must_use]
    pub fn projects(&self) -> Vec<ProjectInfo> {
        self.hub.registry.list_projects()
    }

    /// Archives a project: sessions of its agents are closed with 4003, and their tokens are refused, with
    /// 4401, or 403 on long-poll.
    ///
    /// # Errors
    /// There is no such project, it is the last one, or the state cannot be written.
    pub fn archive_project(&self, slug: &str) -> Result<(), RegistryError> {
        self.hub.archive(slug).map(drop)
    }

    /// Ends the archiving of a project.
    ///
    /// # Errors
    /// There is no such project, or the state cannot be written.
    pub fn restore_project(&self, slug: &str) -> Result<(), RegistryError> {
        self.hub.restore(slug).map(drop)
    }

    /// The e-mail address and password that log in over REST.
    #[must_use]
    pub fn administrator(&self) -> (String, String) {
        let administrator = self.hub.registry.administrator();
        (administrator.email, administrator.password)
    }

    /// Makes an agent of a project; without one, of the project that the brain was started with.
    ///
    /// # Errors
    /// There is no such project, the name is taken or none, or the state cannot be written.
    pub fn add_agent(&self, name: &str, project: Option<&str>) -> Result<Credentials, RegistryError> {
        Ok(self.hub.registry.add_agent(name, project)?.credentials())
    }

    /// Every agent, revoked ones too, in the order in which they were made.
    #[must_use]
    pub fn agents(&self) -> Vec<AgentInfo> {
        self.hub.registry.list()
    }

    /// Revokes an agent: its sessions are closed with 4003, and its token is refused from now on.
    ///
    /// # Errors
    /// There is no such agent, or the state cannot be written.
    pub fn revoke_agent(&self, agent: &str) -> Result<(), RegistryError> {
        self.hub.revoke(agent)
    }

    /// Gives an agent this token, which ends a revocation. Its old one is refused from now on; its sessions
    /// go on.
    ///
    /// # Errors
    /// There is no such agent, another one has the token, it is none, or the state cannot be written.
    pub fn set_token(&self, agent: &str, token: &str) -> Result<Credentials, RegistryError> {
        Ok(self.hub.set_token(agent, token)?.credentials())
    }
}
