//! The stored document: projects, agents, the administrator and the certificate authority.
//!
//! Owns its shape, which the state file has as JSON, and what a new one holds. Must not know where it is kept.
//! It holds every secret: its parts have no `Debug`, but for [`About`], which has none.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock;
use crate::pki::PkiError;
use crate::pki::authority::Authority;
use crate::random;

/// The layout that this program writes.
pub(super) const VERSION: u32 = 1;

/// The state file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    pub(super) version: u32,
    pub(super) master_secret: String,
    pub(super) projects: Vec<StoredProject>,
    pub(super) agents: Vec<StoredAgent>,
    pub(super) authority: Option<Authority>,
    #[serde(default = "Administrator::new")]
    pub(super) administrator: Administrator,
}

impl Stored {
    pub(super) fn new() -> Self {
        Self {
            version: VERSION,
            master_secret: URL_SAFE_NO_PAD.encode(random::bytes::<32>()),
            projects: Vec::new(),
            agents: Vec::new(),
            authority: None,
            administrator: Administrator::new(),
        }
    }

    /// The wanted agent, made if it is not there. Tells whether it or its project was made.
    pub(super) fn ensure_agent(&mut self, slug: &str, name: &str) -> (Uuid, bool) {
        let project = self.projects.iter().find(|project| project.slug == slug).map(|project| project.id);
        let project_id = project.unwrap_or_else(Uuid::new_v4);
        if project.is_none() {
            self.projects.push(StoredProject::new(project_id, slug, About::default()));
        }
        // Who is started with a project means to use it.
        let archived =
            self.projects.iter_mut().find(|project| project.id == project_id && project.about.archived);
        let restored = archived.map(|project| project.about.archived = false).is_some();
        let same = |agent: &&StoredAgent| agent.project_id == project_id && agent.name == name;
        if let Some(agent) = self.agents.iter().find(same) {
            return (agent.id, restored || project.is_none());
        }
        let agent = StoredAgent::mint(project_id, name);
        let id = agent.id;
        self.agents.push(agent);
        (id, true)
    }

    pub(super) fn ensure_authority(&mut self, names: &[String]) -> Result<bool, PkiError> {
        match &mut self.authority {
            Some(authority) => authority.renew(names, clock::now()),
            None => {
                self.authority = Some(Authority::create(names, clock::now())?);
                Ok(true)
            }
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredProject {
    pub(crate) id: Uuid,
    pub(crate) slug: String,
    #[serde(default)]
    pub(crate) about: About,
}

impl StoredProject {
    /// One that is called as its slug, unless it has a name.
    pub(super) fn new(id: Uuid, slug: &str, mut about: About) -> Self {
        if about.name.is_empty() {
            slug.clone_into(&mut about.name);
        }
        Self { id, slug: slug.to_owned(), about }
    }
}

/// What a project is beside its slug. Times are microseconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) environment: String,
    pub(crate) timezone: String,
    pub(crate) default_scheduler_owner: String,
    pub(crate) allowed_schedulers: Option<Vec<String>>,
    /// Its agents are not let in.
    pub(crate) archived: bool,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
}

impl Default for About {
    fn default() -> Self {
        let now = clock::now().unix_micros();
        Self {
            name: String::new(),
            description: None,
            environment: "production".to_owned(),
            timezone: "UTC".to_owned(),
            default_scheduler_owner: "z4j-scheduler".to_owned(),
            allowed_schedulers: None,
            archived: false,
            created_at: now,
            updated_at: now,
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredAgent {
    pub(crate) id: Uuid,
    pub(crate) project_id: Uuid,
    pub(crate) name: String,
    pub(crate) token: String,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) revoked: bool,
    /// Microseconds since 1970.
    #[serde(default)]
    pub(crate) created_at: i64,
}

impl StoredAgent {
    /// A new agent with a token of its own.
    pub(crate) fn mint(project_id: Uuid, name: &str) -> Self {
        let created_at = clock::now().unix_micros();
        let (id, name) = (Uuid::new_v4(), name.to_owned());
        Self { id, project_id, name, token: new_token(), revoked: false, created_at }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// A fresh bearer token, as the real brain's are.
pub(crate) fn new_token() -> String {
    URL_SAFE_NO_PAD.encode(random::bytes::<32>())
}

/// Who logs in over REST.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Administrator {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) password: String,
    /// Microseconds since 1970.
    pub(crate) created_at: i64,
}

impl Administrator {
    /// One with a password that is made up.
    fn new() -> Self {
        Self {
            id: Uuid::new_v4(),
            email: "admin@mock-brain.test".to_owned(),
            password: URL_SAFE_NO_PAD.encode(random::bytes::<16>()),
            created_at: clock::now().unix_micros(),
        }
    }
}
