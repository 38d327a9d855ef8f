//! The scenario's brain over its restarts: what the steps switch, and what they look at.
//!
//! Owns the listening socket, which outlives every brain on it, and what earlier ones have seen. Must not
//! know steps.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;

use mock_brain::fault::FaultSpec;
use mock_brain::{Brain, Credentials, Options, SessionInfo, StartError, StoredEvent, Violation};
use nix::sys::socket::{Backlog, listen};
use tokio::runtime::Runtime;

use crate::scenario::Scenario;

/// The fault of a brain that nothing listens for.
const REFUSED: &str = "tcp.refused";

/// One brain, running or not.
pub(crate) struct ScenarioBrain {
    runtime: Runtime,
    socket: TcpListener,
    options: Options,
    running: Option<Brain>,
    credentials: Credentials,
    past: Past,
}

/// What brains that have ended saw.
#[derive(Default)]
struct Past {
    events: Vec<StoredEvent>,
    duplicates: u64,
    sessions: Vec<SessionInfo>,
    violations: Vec<Violation>,
}

impl ScenarioBrain {
    /// Starts it. CA and secrets are kept in `folder` between starts.
    ///
    /// # Errors
    /// The brain refuses.
    pub(crate) fn start(
        runtime: Runtime,
        scenario: &Scenario,
        socket: TcpListener,
        folder: PathBuf,
    ) -> Result<Self, StartError> {
        let url = &scenario.brain.url;
        let options = Options {
            tls: url.tls,
            names: vec![url.host.clone()],
            project: scenario.brain.project.clone(),
            agent: scenario.brain.agent.clone(),
            strict: true,
            state_dir: Some(folder),
            faults: scenario.brain.faults.clone(),
        };
        let brain = runtime.block_on(Brain::start(options.clone(), socket.try_clone()?))?;
        let credentials = brain.credentials();
        Ok(Self { runtime, socket, options, running: Some(brain), credentials, past: Past::default() })
    }

    /// Ends it: sessions are closed, and connects are refused. One that is down stays so.
    pub(crate) fn down(&mut self) {
        let Some(brain) = self.running.take() else { return };
        self.options.faults = brain.faults();
        if let Ok(refused) = REFUSED.parse::<FaultSpec>() {
            // A fault that needs nothing can be set on every brain.
            let _ = brain.set_fault(refused);
        }
        let events = brain.events();
        self.past.duplicates += brain.duplicates();
        self.past.sessions.extend(brain.sessions());
        self.past.violations.extend(brain.violations());
        self.past.events.extend(events);
        self.runtime.block_on(brain.stop());
    }

    /// Starts it again, with the faults that it had. One that is up stays so.
    ///
    /// # Errors
    /// The brain refuses.
    pub(crate) fn up(&mut self) -> Result<(), StartError> {
        if self.running.is_some() {
            return Ok(());
        }
        listen(&self.socket, Backlog::MAXCONN).map_err(std::io::Error::from)?;
        let socket = self.socket.try_clone()?;
        let brain = self.runtime.block_on(Brain::start(self.options.clone(), socket))?;
        self.running = Some(brain);
        Ok(())
    }

    /// The brain that runs now.
    pub(crate) const fn running(&self) -> Option<&Brain> {
        self.running.as_ref()
    }

    pub(crate) const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Every accepted event once, and how often events came again.
    pub(crate) fn events(&self) -> (Vec<StoredEvent>, u64) {
        let now = self.running.as_ref().map(Brain::events).unwrap_or_default();
        let mut duplicates = self.past.duplicates + self.running.as_ref().map_or(0, Brain::duplicates);
        if self.past.events.is_empty() {
            return (now, duplicates);
        }
        // A new brain has forgotten what the one before it accepted.
        let mut events = BTreeMap::new();
        for event in self.past.events.iter().cloned().chain(now) {
            if events.insert(event.id.clone(), event).is_some() {
                duplicates += 1;
            }
        }
        (events.into_values().collect(), duplicates)
    }

    /// Sessions, oldest first.
    pub(crate) fn sessions(&self) -> Vec<SessionInfo> {
        let now = self.running.as_ref().map(Brain::sessions).unwrap_or_default();
        self.past.sessions.iter().cloned().chain(now).collect()
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        let now = self.running.as_ref().map(Brain::violations).unwrap_or_default();
        self.past.violations.iter().cloned().chain(now).collect()
    }
}

impl Drop for ScenarioBrain {
    fn drop(&mut self) {
        self.down();
    }
}
