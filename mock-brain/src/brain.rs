//! One running brain, as a library value: start, look, break, stop.
//!
//! Owns the start-up order and the end. Must not read the environment or print.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use nix::fcntl::Flock;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::admission::{Admission, Hosts};
use crate::commands::{CommandError, CommandInfo, Commands, NewCommand};
use crate::condition::Condition;
use crate::fault::table::FaultTable;
use crate::fault::{FaultError, FaultSpec};
use crate::hub::{Farewell, Hub, Limits};
use crate::journal::{Journal, JournalError};
use crate::listener::{self, Listener};
use crate::pki::{Certificates, IssuedCertificate, Pki, PkiError, Profile};
use crate::registry::{AgentInfo, Credentials, ProjectInfo, RegistryError};
use crate::sessions::{SessionInfo, Sessions};
use crate::state::{State, StateError, Wanted};
use crate::store::{Store, StoredEvent};
use crate::violation::{Violation, Violations};
use crate::voice::{Oddities, Release};

/// How long sessions may take to end: less than a peer has to answer a close frame, because whoever stops a
/// brain waits for this.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// What a brain is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Speak TLS with a certificate of the brain's own CA.
    pub tls: bool,
    /// Names that the certificate bears beside localhost, 127.0.0.1 and ::1; the first one is its CN.
    pub names: Vec<String>,
    /// What the server shows, and how it speaks TLS.
    pub certificate: Profile,
    /// Names that a Host header may bear, beside those of the certificate.
    pub hosts: Vec<String>,
    /// Networks that agents may come from; any if empty.
    pub admit: Vec<IpNet>,
    /// Proxies whose X-Forwarded-For is believed; 127.0.0.1 if empty.
    pub trusted_proxies: Vec<IpNet>,
    /// The project's slug.
    pub project: String,
    /// The agent's name.
    pub agent: String,
    /// Hold agents to the rules that the real brain leaves free, too, and be odd where agents must not rely on
    /// accidents.
    pub strict: bool,
    /// The release of the real brain that is spoken as.
    pub release: Release,
    /// Where CA and credentials are kept; all in memory if none.
    pub state_dir: Option<PathBuf>,
    /// Keep the journal, and with it events, sessions, violations and commands, in the state directory, and
    /// at most so many bytes of it; all in memory if none.
    pub journal_bytes: Option<u64>,
    /// Faults that are set from the start.
    pub faults: Vec<FaultSpec>,
    /// What the dice of faults with a probability start from.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls: true,
            names: Vec::new(),
            certificate: Profile::default(),
            hosts: Vec::new(),
            admit: Vec::new(),
            trusted_proxies: Vec::new(),
            project: "demo".to_owned(),
            agent: "demo-agent".to_owned(),
            strict: false,
            release: Release::NEWEST,
            state_dir: None,
            journal_bytes: None,
            faults: Vec::new(),
            seed: 0,
        }
    }
}

/// Why a brain does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Certificates cannot be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The listener that was passed in is of no use.
    #[error("the listening socket cannot be used: {0}")]
    Listener(#[from] io::Error),
    /// A fault cannot be set.
    #[error(transparent)]
    Fault(#[from] FaultError),
}

/// Sets the first faults, and lets agents in.
fn open(hub: &Arc<Hub>, faults: Vec<FaultSpec>) -> Result<(), FaultError> {
    for fault in faults {
        hub.set_fault(fault)?;
    }
    tokio::spawn(listener::run(Arc::clone(hub)));
    tokio::spawn(Arc::clone(hub).keep_time());
    Ok(())
}

/// Events and the journal: in a directory, with at most so many bytes, or in memory.
fn records(place: Option<(&Path, u64)>) -> Result<(Store, Arc<Journal>), JournalError> {
    let Some((dir, bytes)) = place else { return Ok((Store::in_memory(), Arc::new(Journal::in_memory()))) };
    let index = Arc::default();
    let journal = Journal::open(dir, bytes, &index)?;
    Ok((Store::indexing(index), Arc::new(journal)))
}

/// A running brain. Dropping it ends it without farewell; [`Brain::stop`] is the orderly way.
pub struct Brain {
    pub(crate) hub: Arc<Hub>,
    credentials: Credentials,
    /// Released when the brain ends.
    _lock: Option<Flock<File>>,
}

impl Brain {
    /// Starts a brain on a socket that is bound and listens, in whichever network namespace. Its tasks run on
    /// the current tokio runtime, which may be a current-thread one.
    ///
    /// # Errors
    /// The state directory, the names, a fault or the socket cannot be used.
    ///
    /// # Panics
    /// There is no tokio runtime.
    #[expect(clippy::unused_async, reason = "starting may come to wait, and needs a runtime all the same")]
    pub async fn start(options: Options, listener: TcpListener) -> Result<Self, StartError> {
        Self::start_with(options, listener, Limits::default())
    }

    /// As [`Brain::start`], with times of your own: for tests of what takes a minute and a half.
    ///
    /// # Errors
    /// As [`Brain::start`].
    ///
    /// # Panics
    /// There is no tokio runtime.
    pub fn start_with(options: Options, listener: TcpListener, limits: Limits) -> Result<Self, StartError> {
        let listener = Listener::new(listener)?;
        let Options {
            tls,
            names,
            certificate,
            hosts,
            admit,
            trusted_proxies,
            project,
            agent,
            strict,
            release,
            state_dir,
            journal_bytes,
            faults,
            seed,
        } = options;
        let wanted = Wanted { project: &project, agent: &agent, tls, names: &names };
        let State { registry, authority, lock } = State::open(state_dir.as_deref(), &wanted)?;
        let credentials = registry.named(None).map_err(|_| StateError::AgentName(agent))?.credentials();
        let pki = authority.map(|authority| Pki::new(authority, certificate)).transpose()?;
        let (store, journal) = records(state_dir.as_deref().zip(journal_bytes))?;
        let hub = Arc::new(Hub {
            registry,
            pki,
            store,
            sessions: Sessions::new(&journal)?,
            longpoll: Default::default(),
            commands: Commands::new(limits.command, limits.redelivery, &journal)?,
            faults: FaultTable::new(seed, &journal),
            violations: Violations::new(strict, &journal)?,
            journal,
            hosts: Hosts::new(listener.address(), names.iter().chain(&hosts)),
            listener,
            admission: Admission::new(admit, trusted_proxies, limits.connects),
            limits,
            oddities: strict.then(|| Oddities::new(seed)),
            release,
            activity: watch::Sender::new(0),
            orders: watch::Sender::new(0),
            killed: watch::Sender::new(Farewell::None),
            down: AtomicBool::new(false),
            clock_offset: AtomicI64::new(0),
            logins: Default::default(),
            runtime: Handle::current(),
            stop: watch::Sender::new(false),
            busy: watch::Sender::new(0),
        });
        open(&hub, faults)?;
        Ok(Self { hub, credentials, _lock: lock })
    }

    /// The address that agents connect to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.hub.listener.address()
    }

    /// What the agent named in the options was configured with at the start. Later tokens are told by
    /// [`Brain::credentials_of`].
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    /// The CA certificate that agents are to trust; none without TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<String> {
        self.hub.pki.as_ref().map(Pki::ca_pem)
    }

    /// What the server shows; none without TLS.
    ///
    /// # Errors
    /// A certificate cannot be read.
    pub fn certificates(&self) -> Result<Option<Certificates>, PkiError> {
        self.hub.pki.as_ref().map(Pki::certificates).transpose()
    }

    /// Issues the server's certificate anew, with another profile if one is given. It is shown from the next
    /// handshake on; connections that are open go on.
    ///
    /// # Errors
    /// This brain runs without TLS, the certificate cannot be made, or the state cannot be written.
    pub fn rotate_certificate(&self, profile: Option<Profile>) -> Result<(), StateError> {
        self.hub.rotate_certificate(profile)
    }

    /// Makes a certificate for a server of these names, or for one client, with its key.
    ///
    /// # Errors
    /// This brain runs without TLS, or there can be no such certificate.
    pub fn issue_certificate(
        &self,
        names: &[String],
        client: bool,
        profile: Profile,
    ) -> Result<IssuedCertificate, PkiError> {
        self.hub.pki.as_ref().ok_or(PkiError::NoTls)?.issue(names, client, profile)
    }

    /// Sets a fault; it is in effect when this returns. One of the same name and point is replaced.
    ///
    /// # Errors
    /// It is a TLS fault, and this brain runs without TLS.
    pub fn set_fault(&self, spec: FaultSpec) -> Result<(), FaultError> {
        self.hub.set_fault(spec)
    }

    /// Clears the faults of a name. Tells whether there was one.
    pub fn clear_fault(&self, name: &str) -> bool {
        self.hub.clear_faults(Some(name))
    }

    /// Clears all faults.
    pub fn clear_faults(&self) {
        self.hub.clear_faults(None);
    }

    /// The faults that are set and not spent, in the order in which they were set.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultSpec> {
        self.hub.faults.list().into_iter().map(|fault| fault.spec).collect()
    }

    /// How often faults have struck so far, spent ones too.
    #[must_use]
    pub fn fault_strikes(&self) -> u64 {
        self.hub.faults.strikes()
    }

    /// Every accepted event once, oldest first; read from the disk if the journal is there.
    #[must_use]
    pub fn events(&self) -> Vec<StoredEvent> {
        self.hub.events()
    }

    /// How many events were accepted so far, in earlier runs of the journal too: as many as [`Brain::events`]
    /// lists, unless there were more than are kept.
    #[must_use]
    pub fn accepted_events(&self) -> u64 {
        self.hub.store.accepted()
    }

    /// How many events came again.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.hub.store.duplicates()
    }

    /// Sessions, live and ended, oldest first; also those that were refused.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.hub.sessions.list()
    }

    /// How many sessions live.
    #[must_use]
    pub fn live_sessions(&self) -> usize {
        self.hub.sessions.live()
    }

    /// How many violations there are.
    #[must_use]
    pub fn violation_count(&self) -> usize {
        self.hub.violations.count()
    }

    /// What agents did that they must not; under strict also what the real brain leaves free.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.hub.violations.list()
    }

    /// Issues a command. It waits until its agent is there, for as long as [`Limits::command`] says.
    ///
    /// # Errors
    /// There is no such agent, it is revoked, or the command is not usable.
    pub fn send_command(&self, command: NewCommand) -> Result<CommandInfo, CommandError> {
        self.hub.send_command(command)
    }

    /// A command by its id.
    #[must_use]
    pub fn command(&self, id: &str) -> Option<CommandInfo> {
        self.hub.commands.get(id)
    }

    /// Every command that is kept, oldest first.
    #[must_use]
    pub fn commands(&self) -> Vec<CommandInfo> {
        self.hub.commands.list()
    }

    /// Waits until something holds, and tells whether it came to hold in time. It is looked at whenever
    /// something happened: it must be cheap, as counts are.
    pub async fn wait_until(&self, limit: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        self.hub.wait_until(limit, || holds(self)).await
    }

    /// Waits until a condition holds, and tells whether it came to hold in time.
    pub async fn wait_for(&self, condition: &Condition, limit: Duration) -> bool {
        self.hub.wait_until(limit, || condition.holds(&self.hub)).await
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

    /// Sets how far this brain's clock is ahead of the machine's, in milliseconds: frames are signed and judged
    /// by it. Time-outs, certificates and the journal go by the machine's.
    pub fn set_clock_offset(&self, millis: i64) {
        self.hub.clock_offset.store(millis.saturating_mul(1_000), Ordering::Relaxed);
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

    /// What an agent is configured with now.
    ///
    /// # Errors
    /// There is no such agent.
    pub fn credentials_of(&self, agent: &str) -> Result<Credentials, RegistryError> {
        Ok(self.hub.registry.named(Some(agent))?.credentials())
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

    /// Takes the brain down: nothing listens on its port any more, and connections end. What it knows, it
    /// keeps. Connects are refused when this returns.
    pub fn down(&self, farewell: Farewell) {
        self.hub.go_down(farewell);
    }

    /// Lets the brain listen on its port again.
    pub fn up(&self) {
        self.hub.come_up();
    }

    /// Closes every session with 1012, answers what is being asked, and ends. Takes at most a few seconds.
    pub async fn stop(self) {
        self.hub.stop.send_replace(true);
        let mut busy = self.hub.busy.subscribe();
        if timeout(STOP_TIMEOUT, busy.wait_for(|count| *count == 0)).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        self.hub.journal.close();
    }
}

impl Drop for Brain {
    fn drop(&mut self) {
        self.hub.stop.send_replace(true);
        // Before the lock goes: the next brain of the directory opens the file.
        self.hub.journal.close();
    }
}
