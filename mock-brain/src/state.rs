//! The state directory: what a brain keeps between two starts, and the lock on it.
//!
//! Owns the files and their modes: the directory 0700, all files 0600 but the CA certificate. Everything
//! lives in one file, replaced by a rename, so that a half-written state cannot be. Must not log secrets.

use std::collections::HashSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::fcntl::{Flock, FlockArg, OFlag};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use z4j_protocol::HmacSecret;

use crate::clock;
use crate::pki::PkiError;
use crate::pki::authority::Authority;
use crate::random;
use crate::registry::{Project, Registry};

const STATE_FILE: &str = "state.json";
const LOCK_FILE: &str = "lock";
/// The CA certificate's file name, for `SSL_CERT_FILE`.
pub(crate) const CA_FILE: &str = "ca.pem";
/// The layout that this program writes.
const VERSION: u32 = 1;
/// Largest state file that is read, and so written: room for some 200,000 agents.
const MAX_STATE_BYTES: u64 = 64 << 20;

/// Why the state cannot be used. The text names the thing, the reason and the way out.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file or the directory cannot be read or written.
    #[error("state directory {path:?}: {error}; choose another one with --state-dir")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others can write there.
    #[error("state directory {0:?} is writable by others; choose one of your own with --state-dir")]
    Shared(PathBuf),
    /// Another `serve` has it.
    #[error(
        "state directory {0:?} is in use by another mock-brain serve; stop that one, or choose another \
         directory with --state-dir"
    )]
    InUse(PathBuf),
    /// The state file is not what this program writes.
    #[error("state file {path:?}: {reason}; move it away to start with a new CA and new credentials")]
    Broken {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A project slug that the real brain would not have.
    #[error("project {0:?} is no slug: 3 to 50 lower-case letters, digits and inner hyphens")]
    Slug(String),
    /// An agent name that the real brain would not have.
    #[error("agent name {0:?} is not usable: 1 to 120 characters, no control characters")]
    AgentName(String),
    /// Certificates cannot be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredProject {
    pub(crate) id: Uuid,
    pub(crate) slug: String,
    #[serde(default)]
    pub(crate) about: About,
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// The state file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    master_secret: String,
    projects: Vec<StoredProject>,
    agents: Vec<StoredAgent>,
    authority: Option<Authority>,
    #[serde(default = "Administrator::new")]
    administrator: Administrator,
}

impl Stored {
    fn new() -> Self {
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
    fn ensure_agent(&mut self, slug: &str, name: &str) -> (Uuid, bool) {
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

    fn ensure_authority(&mut self, names: &[String]) -> Result<bool, PkiError> {
        match &mut self.authority {
            Some(authority) => authority.renew(names, clock::now()),
            None => {
                self.authority = Some(Authority::create(names, clock::now())?);
                Ok(true)
            }
        }
    }
}

impl StoredAgent {
    /// A new agent with a token of its own.
    pub(crate) fn mint(project_id: Uuid, name: &str) -> Self {
        let created_at = clock::now().unix_micros();
        let (id, name) = (Uuid::new_v4(), name.to_owned());
        Self { id, project_id, name, token: new_token(), revoked: false, created_at }
    }
}

impl StoredProject {
    /// One that is called as its slug, unless it has a name.
    fn new(id: Uuid, slug: &str, mut about: About) -> Self {
        if about.name.is_empty() {
            slug.clone_into(&mut about.name);
        }
        Self { id, slug: slug.to_owned(), about }
    }
}

/// A fresh bearer token, as the real brain's are.
pub(crate) fn new_token() -> String {
    URL_SAFE_NO_PAD.encode(random::bytes::<32>())
}

/// The stored state of a running brain. A change is on disk before it is in effect.
pub(crate) struct Book {
    dir: Option<PathBuf>,
    stored: Stored,
}

impl Book {
    pub(crate) fn projects(&self) -> impl Iterator<Item = Project> {
        self.stored.projects.iter().map(|project| self.project(project))
    }

    pub(crate) fn agents(&self) -> &[StoredAgent] {
        &self.stored.agents
    }

    fn project(&self, stored: &StoredProject) -> Project {
        let secret = HmacSecret::derive(self.stored.master_secret.as_bytes(), stored.id);
        Project { id: stored.id, slug: stored.slug.clone(), secret, about: stored.about.clone() }
    }

    pub(crate) const fn administrator(&self) -> &Administrator {
        &self.stored.administrator
    }

    /// Changes a project, and returns it as it is now; `None` if there is none.
    pub(crate) fn change_project(
        &mut self,
        id: Uuid,
        change: impl FnOnce(&mut StoredProject),
    ) -> Result<Option<Project>, StateError> {
        let Some(stored) = self.stored.projects.iter().find(|project| project.id == id) else {
            return Ok(None);
        };
        let mut changed = stored.clone();
        change(&mut changed);
        check_slug(&changed.slug)?;
        changed.about.updated_at = clock::now().unix_micros();
        let made = self.project(&changed);
        self.change(|stored| {
            for project in stored.projects.iter_mut().filter(|project| project.id == id) {
                project.clone_from(&changed);
            }
        })?;
        Ok(Some(made))
    }

    pub(crate) fn add_project(&mut self, slug: &str, about: About) -> Result<Project, StateError> {
        check_slug(slug)?;
        let project = StoredProject::new(Uuid::new_v4(), slug, about);
        let made = self.project(&project);
        self.change(|stored| stored.projects.push(project))?;
        Ok(made)
    }

    /// Adds agents; revoked ones of the same project and name give way to them.
    pub(crate) fn add_agents(&mut self, agents: &[StoredAgent]) -> Result<(), StateError> {
        if agents.is_empty() {
            return Ok(());
        }
        for agent in agents {
            check_agent_name(&agent.name)?;
        }
        self.change(|stored| {
            let new: HashSet<_> =
                agents.iter().map(|agent| (agent.project_id, agent.name.as_str())).collect();
            stored.agents.retain(|old| !(old.revoked && new.contains(&(old.project_id, old.name.as_str()))));
            stored.agents.extend_from_slice(agents);
        })
    }

    /// Gives an agent another token, which ends a revocation, or revokes it.
    pub(crate) fn set_token(&mut self, id: Uuid, token: Option<&str>) -> Result<(), StateError> {
        self.change(|stored| {
            for agent in stored.agents.iter_mut().filter(|agent| agent.id == id) {
                agent.revoked = token.is_none();
                if let Some(token) = token {
                    token.clone_into(&mut agent.token);
                }
            }
        })
    }

    /// Keeps the authority with what it issued last.
    pub(crate) fn set_authority(&mut self, authority: &Authority) -> Result<(), StateError> {
        self.change(|stored| stored.authority = Some(authority.clone()))
    }

    fn change(&mut self, change: impl FnOnce(&mut Stored)) -> Result<(), StateError> {
        match &self.dir {
            None => change(&mut self.stored),
            Some(dir) => {
                let mut next = self.stored.clone();
                change(&mut next);
                save(dir, &next)?;
                self.stored = next;
            }
        }
        Ok(())
    }
}

/// What a brain starts with.
pub(crate) struct State {
    pub(crate) registry: Registry,
    pub(crate) authority: Option<Authority>,
    /// Held as long as the brain runs.
    pub(crate) lock: Option<Flock<File>>,
}

/// What the state must have.
pub(crate) struct Wanted<'w> {
    pub(crate) project: &'w str,
    pub(crate) agent: &'w str,
    pub(crate) tls: bool,
    pub(crate) names: &'w [String],
}

impl State {
    /// Reads the state of a directory, or makes a new one, and adds what is wanted and not there. Without a
    /// directory everything is new and stays in memory.
    pub(crate) fn open(dir: Option<&Path>, wanted: &Wanted<'_>) -> Result<Self, StateError> {
        check_slug(wanted.project)?;
        check_agent_name(wanted.agent)?;
        let (lock, mut stored) = match dir {
            None => (None, Stored::new()),
            Some(dir) => (Some(claim(dir)?), load(dir)?.unwrap_or_else(Stored::new)),
        };
        let (primary, new_agent) = stored.ensure_agent(wanted.project, wanted.agent);
        let new_certificate = wanted.tls && stored.ensure_authority(wanted.names)?;
        if let Some(dir) = dir {
            if new_agent || new_certificate {
                save(dir, &stored)?;
            }
            if let Some(authority) = stored.authority.as_ref().filter(|_| wanted.tls) {
                replace(dir, CA_FILE, 0o644, authority.root.pem.as_bytes())?;
            }
        }
        let authority = stored.authority.clone().filter(|_| wanted.tls);
        let book = Book { dir: dir.map(Path::to_owned), stored };
        let registry = Registry::new(book, primary).ok_or_else(|| StateError::Broken {
            path: dir.unwrap_or(Path::new("")).join(STATE_FILE),
            reason: "an agent is of no project".to_owned(),
        })?;
        Ok(Self { registry, authority, lock })
    }
}

/// The project slug and agent name that a directory was first used with, to start with where no flag says.
#[must_use]
pub(crate) fn first_names(dir: &Path) -> Option<(String, String)> {
    let stored = load(dir).ok()??;
    let agent = stored.agents.first()?;
    let project = stored.projects.iter().find(|project| project.id == agent.project_id)?;
    Some((project.slug.clone(), agent.name.clone()))
}

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

fn failed(path: PathBuf) -> impl FnOnce(io::Error) -> StateError {
    |error| StateError::Io { path, error }
}

/// Makes the directory if it is not there, and locks it.
fn claim(dir: &Path) -> Result<Flock<File>, StateError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed(dir.to_owned()))?;
    let mode = dir.metadata().map_err(failed(dir.to_owned()))?.permissions().mode();
    if mode & 0o022 != 0 {
        return Err(StateError::Shared(dir.to_owned()));
    }
    let path = dir.join(LOCK_FILE);
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).mode(0o600);
    // A link would make a file of somebody else's choice.
    let file = file.custom_flags(OFlag::O_NOFOLLOW.bits()).open(&path);
    let file = file.map_err(failed(path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::Error::EWOULDBLOCK => StateError::InUse(dir.to_owned()),
        errno => failed(dir.join(LOCK_FILE))(errno.into()),
    })
}

fn load(dir: &Path) -> Result<Option<Stored>, StateError> {
    let path = dir.join(STATE_FILE);
    let bytes = match read_bounded(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StateError::Io { path, error }),
    };
    // serde_json's message may quote a value, and the values here are secrets: only the place is told.
    let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| StateError::Broken {
        path: path.clone(),
        reason: format!("not a state file, line {} column {}", error.line(), error.column()),
    })?;
    match stored.version {
        VERSION => Ok(Some(stored)),
        version => {
            Err(StateError::Broken { path, reason: format!("written by another version (layout {version})") })
        }
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(File::open(path)?, MAX_STATE_BYTES), &mut bytes)?;
    Ok(bytes)
}

fn save(dir: &Path, stored: &Stored) -> Result<(), StateError> {
    let text = serde_json::to_vec_pretty(stored).map_err(io::Error::from);
    let text = text.map_err(failed(dir.join(STATE_FILE)))?;
    if text.len() as u64 > MAX_STATE_BYTES {
        let error = io::Error::other(format!("more than {MAX_STATE_BYTES} bytes of projects and agents"));
        return Err(failed(dir.join(STATE_FILE))(error));
    }
    replace(dir, STATE_FILE, 0o600, &text)
}

/// Writes a file of the state directory so that readers see the old or the new one.
pub(crate) fn replace(dir: &Path, name: &str, mode: u32, bytes: &[u8]) -> Result<(), StateError> {
    let path = dir.join(name);
    let temporary = dir.join(format!("{name}.new"));
    let write = || {
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        // What cannot be made again must outlive a power cut; the rest may be lost, and syncing takes time.
        if name == STATE_FILE {
            file.sync_all()?;
        }
        std::fs::rename(&temporary, &path)
    };
    write().map_err(failed(path.clone()))
}
