//! The start of a brain: from options to a hub that lets agents in.
//!
//! Owns the order in which the parts are made. Must not bind a socket: that is the caller's.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::admission::{Admission, Hosts};
use crate::brain::{Brain, Options, StartError};
use crate::commands::Commands;
use crate::fault::table::FaultTable;
use crate::fault::{FaultError, FaultSpec};
use crate::hub::{Farewell, Hub, Limits};
use crate::journal::{Journal, JournalError};
use crate::listener::{self, Listener};
use crate::pki::Pki;
use crate::sessions::Sessions;
use crate::state::{State, StateError, Wanted};
use crate::store::Store;
use crate::violation::Violations;
use crate::voice::Oddities;

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
            redeliver,
            release,
            state_dir,
            journal_bytes,
            faults,
            seed,
        } = options;
        let wanted = Wanted { project: &project, agent: &agent, tls, names: &names };
        let State { registry, authority, lock } = State::open(state_dir.as_deref(), &wanted)?;
        let credentials = registry.named(None).map_err(|_| StateError::AgentName(agent))?.credentials();
        let (store, journal) = records(state_dir.as_deref().zip(journal_bytes))?;
        let hub = Arc::new(Hub {
            registry,
            pki: authority.map(|authority| Pki::new(authority, certificate)).transpose()?,
            store,
            sessions: Sessions::new(&journal)?,
            longpoll: Default::default(),
            commands: Commands::new(limits.command, limits.redelivery, strict || redeliver, &journal)?,
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
