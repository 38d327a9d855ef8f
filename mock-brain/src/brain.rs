//! One running brain, as a library value: start, look, break, stop.
//!
//! Owns the start-up order and the end. Must not read the environment or print.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::Flock;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::fault::{FaultError, FaultSpec};
use crate::hosts::Hosts;
use crate::hub::{Hub, Limits};
use crate::listener::{self, Listener};
use crate::pki::{Pki, PkiError};
use crate::registry::Credentials;
use crate::sessions::SessionInfo;
use crate::state::{State, StateError, Wanted};
use crate::store::StoredEvent;
use crate::strict::{Violation, Violations};

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
    /// The project's slug.
    pub project: String,
    /// The agent's name.
    pub agent: String,
    /// Record violations.
    pub strict: bool,
    /// Where CA and credentials are kept; all in memory if none.
    pub state_dir: Option<PathBuf>,
    /// Faults that are set from the start.
    pub faults: Vec<FaultSpec>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls: true,
            names: Vec::new(),
            project: "demo".to_owned(),
            agent: "demo-agent".to_owned(),
            strict: false,
            state_dir: None,
            faults: Vec::new(),
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
    /// The listener that was passed in is of no use.
    #[error("the listening socket cannot be used: {0}")]
    Listener(#[from] io::Error),
    /// A fault cannot be set.
    #[error(transparent)]
    Fault(#[from] FaultError),
}

/// A running brain. Dropping it ends it without farewell; [`Brain::stop`] is the orderly way.
pub struct Brain {
    pub(crate) hub: Arc<Hub>,
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
        let Options { tls, names, project, agent, strict, state_dir, faults } = options;
        let wanted = Wanted { project: &project, agent: &agent, tls, names: &names };
        let State { registry, authority, lock } = State::open(state_dir.as_deref(), &wanted)?;
        let pki = authority.map(Pki::new);
        if let Some(pki) = &pki {
            pki.server_config(None)?;
        }
        let hosts = Hosts::new(listener.address(), &names);
        let hub = Arc::new(Hub {
            registry,
            pki,
            store: Default::default(),
            sessions: Default::default(),
            longpoll: Default::default(),
            faults: Default::default(),
            violations: Violations::new(strict),
            listener,
            hosts,
            limits,
            stop: watch::Sender::new(false),
            busy: watch::Sender::new(0),
        });
        for fault in faults {
            hub.set_fault(fault)?;
        }
        tokio::spawn(listener::run(Arc::clone(&hub)));
        Ok(Self { hub, _lock: lock })
    }

    /// The address that agents connect to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.hub.listener.address()
    }

    /// What the agent named in the options is configured with.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.hub.registry.primary.credentials()
    }

    /// The CA certificate that agents are to trust; none without TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<String> {
        self.hub.pki.as_ref().map(|pki| pki.ca_pem().to_owned())
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

    /// Every accepted event once, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<StoredEvent> {
        self.hub.store.list()
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

    /// What clients got wrong although the real brain lets it pass; empty unless the brain is strict.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.hub.violations.list()
    }

    /// Closes every session with 1012, answers what is being asked, and ends. Takes at most a few seconds.
    pub async fn stop(self) {
        self.hub.stop.send_replace(true);
        let mut busy = self.hub.busy.subscribe();
        if timeout(STOP_TIMEOUT, busy.wait_for(|count| *count == 0)).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
    }
}

impl Drop for Brain {
    fn drop(&mut self) {
        self.hub.stop.send_replace(true);
    }
}
