//! An agent: who it is, and what its signatures are bound to.
//!
//! Owns its forms for a brain that has it otherwise. It has no `Debug`, because it has a token.

use std::sync::Arc;

use aws_lc_rs::digest;
use uuid::Uuid;
use z4j_protocol::{Binding, HmacSecret};

use crate::random;
use crate::registry::{Credentials, Project};
use crate::state::StoredAgent;
use crate::voice::Release;

/// An agent.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) project: Arc<Project>,
    /// Its token is refused.
    pub(crate) revoked: bool,
    /// Microseconds since 1970.
    pub(crate) created_at: i64,
}

impl Agent {
    pub(super) fn new(stored: &StoredAgent, project: &Arc<Project>) -> Self {
        let StoredAgent { id, name, token, revoked, created_at, .. } = stored.clone();
        Self { id, name, token, project: Arc::clone(project), revoked, created_at }
    }

    /// The SHA-256 of its token in hexadecimal digits.
    pub(crate) fn token_fingerprint(&self) -> String {
        let digest = digest::digest(&digest::SHA256, self.token.as_bytes());
        digest.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    pub(super) fn is(&self, project: &Project, name: &str) -> bool {
        self.project.id == project.id && self.name == name
    }

    /// Its project's slug and its name: what no other is called.
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.project.slug, self.name)
    }

    /// Whether a name means it: its own, which agents of other projects may have too, its full one, or its UUID.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.full_name() == name || Uuid::try_parse(name).is_ok_and(|id| id == self.id)
    }

    /// Whether it is the agent of that name, of that project where one is told.
    pub(crate) fn is_told_as(&self, name: Option<&str>, project_id: Option<&str>) -> bool {
        name == Some(self.name.as_str()) && project_id.is_none_or(|id| id == self.project.id.to_string())
    }

    /// This agent for a brain that has another secret of the project.
    pub(crate) fn with_other_secret(&self) -> Self {
        self.in_project(self.project.id, self.project.slug.clone())
    }

    /// This agent for a brain that has it in another project.
    pub(crate) fn in_other_project(&self) -> Self {
        self.in_project(Uuid::new_v4(), "other-project".to_owned())
    }

    fn in_project(&self, id: Uuid, slug: String) -> Self {
        let (secret, about) = (HmacSecret::derive(&random::bytes::<32>(), id), self.project.about.clone());
        Self { project: Arc::new(Project { id, slug, secret, about }), ..self.clone() }
    }

    /// What signatures of one of its sessions are bound to, as the release has it.
    pub(crate) fn binding(&self, session_id: &str, release: Release) -> Binding {
        Binding {
            agent_id: self.id.to_string(),
            project_id: self.project.id.to_string(),
            session_id: if release.binds_session() { session_id.to_owned() } else { String::new() },
        }
    }

    pub(crate) fn credentials(&self) -> Credentials {
        Credentials {
            project_id: self.project.slug.clone(),
            project_uuid: self.project.id.to_string(),
            agent_name: self.name.clone(),
            agent_id: self.id.to_string(),
            token: self.token.clone(),
            hmac_secret: self.project.secret.to_text(),
        }
    }
}
