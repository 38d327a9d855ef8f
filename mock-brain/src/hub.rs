//! What all connections of one brain share, and its life: running, stopping, idle.
//!
//! Owns the parts and the count of tasks at work. Must not hold rules of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use z4j_protocol::{DEFAULT_MAX_FRAME_BYTES, Frame, FrameType, Timestamp};

use crate::admission::{Admission, Hosts};
use crate::clock;
use crate::commands::{Answered, CommandError, CommandInfo, Commands, NewCommand};
use crate::fault::table::{self, FaultTable};
use crate::fault::{FaultError, FaultSpec, Point};
use crate::journal::{Entry, Journal, JournalError, Kind};
use crate::listener::Listener;
use crate::longpoll::sessions::LongPollSessions;
use crate::pki::{Pki, PkiError, Profile};
use crate::quote::quote;
use crate::registry::{Agent, Project, Registry, RegistryError};
use crate::rest::Logins;
use crate::sessions::{ClosedBy, Serial, Sessions};
use crate::state::StateError;
use crate::store::{Store, StoredEvent};
use crate::stream::silence::{self, Silence};
use crate::verdict::Closing;
use crate::violation::{Found, Rule, Violations};
use crate::voice::{Oddities, Release};

/// The brain's times and sizes. The defaults are the real brain's where it has them; head and body are bounded so that
/// silent connections do not use up the places there are.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A session without a frame for this long is closed with 4408.
    pub idle: Duration,
    /// How often a connection is pinged; one whose pong is missing for as long again is closed.
    pub ping: Duration,
    /// How long the peer may take to answer a close frame.
    pub close: Duration,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long a request's head may take, from the accepted connection or the last answer on.
    pub head: Duration,
    /// How long a request's body may take.
    pub body: Duration,
    /// How long a command waits to be sent, and then for its result.
    pub command: Duration,
    /// After how long a long-poll agent is handed some commands again.
    pub redelivery: Duration,
    /// Seconds between heartbeats that agents are told.
    pub heartbeat_seconds: u64,
    /// Largest frame over a websocket, in bytes; a larger message is closed with 4400.
    pub frame_bytes: u64,
    /// Largest request body, in bytes; a larger one gets 413.
    pub body_bytes: u64,
    /// Most connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// Most WebSocket handshakes and long-poll requests of an address in a minute; 0 for any number.
    pub connects: u32,
    /// Most worker slots of one agent; one more is closed with 4429.
    pub workers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(90),
            ping: Duration::from_secs(60),
            close: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            body: Duration::from_secs(20),
            command: Duration::from_secs(60),
            redelivery: Duration::from_secs(10),
            heartbeat_seconds: 10,
            frame_bytes: DEFAULT_MAX_FRAME_BYTES,
            body_bytes: 8_192,
            connections: 4_096,
            connects: 600,
            workers: 64,
        }
    }
}

/// How connections end when a brain goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// As of a process that was killed: they just end.
    None,
    /// As of one that restarts: websockets are closed with 1012.
    Restart,
}

/// The shared parts of one brain.
pub(crate) struct Hub {
    pub(crate) registry: Registry,
    pub(crate) pki: Option<Pki>,
    pub(crate) store: Store,
    pub(crate) journal: Arc<Journal>,
    pub(crate) sessions: Sessions,
    pub(crate) longpoll: LongPollSessions,
    pub(crate) commands: Commands,
    pub(crate) faults: FaultTable,
    pub(crate) violations: Violations,
    pub(crate) listener: Listener,
    /// Names that a Host header may bear.
    pub(crate) hosts: Hosts,
    /// Who may come, and how often.
    pub(crate) admission: Admission,
    pub(crate) limits: Limits,
    /// How odd it is; only a strict brain is.
    pub(crate) oddities: Option<Oddities>,
    /// The release that is spoken as.
    pub(crate) release: Release,
    /// Something happened that somebody may wait for.
    pub(crate) activity: watch::Sender<u64>,
    /// What a long-poll request waits for: commands, and who is let in.
    pub(crate) orders: watch::Sender<u64>,
    /// The brain went down: connections end.
    pub(crate) killed: watch::Sender<Farewell>,
    /// The brain is down until it is told to come up.
    pub(crate) down: AtomicBool,
    /// How far this brain's clock is ahead of the machine's, in microseconds.
    pub(crate) clock_offset: AtomicI64,
    /// Who is logged in.
    pub(crate) logins: Logins,
    /// Where tasks are started from whatever thread.
    pub(crate) runtime: Handle,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) busy: watch::Sender<usize>,
}

impl Hub {
    /// Returns once the brain is to stop.
    pub(crate) async fn stopping(&self) {
        // An error would mean that the sender is gone, and it lives in `self`.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Whether the brain is to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Counts a task as at work until the guard is dropped.
    pub(crate) fn task(self: &Arc<Self>) -> TaskGuard {
        self.busy.send_modify(|count| *count += 1);
        TaskGuard(Arc::clone(self))
    }

    /// Wakes those who wait for something to happen.
    pub(crate) fn happened(&self) {
        self.activity.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Every accepted event that is kept, oldest first. Waits for the disk, if the journal is there.
    pub(crate) fn events(&self) -> Vec<StoredEvent> {
        if !self.journal.is_on_disk() {
            return self.store.list();
        }
        self.journal.events().unwrap_or_else(|error| {
            tracing::error!(%error, "events cannot be read");
            Vec::new()
        })
    }

    /// The newest accepted events, oldest first. Waits for the disk, if the journal is there.
    pub(crate) fn newest_events(&self, most: usize) -> Result<Vec<StoredEvent>, JournalError> {
        if self.journal.is_on_disk() { self.journal.newest_events(most) } else { Ok(self.store.newest(most)) }
    }

    /// Waits until something holds, and tells whether it came to hold in time. It is looked at whenever
    /// something happened; a brain that stops ends the wait.
    pub(crate) async fn wait_until(&self, limit: Duration, holds: impl Fn() -> bool) -> bool {
        let mut activity = self.activity.subscribe();
        let waiting = async {
            loop {
                activity.mark_unchanged();
                if holds() {
                    return true;
                }
                tokio::select! {
                    _ = activity.changed() => {}
                    () = self.stopping() => return holds(),
                }
            }
        };
        timeout(limit, waiting).await.unwrap_or_else(|_| holds())
    }

    fn ordered(&self) {
        self.orders.send_modify(|count| *count = count.wrapping_add(1));
        self.happened();
    }

    /// Issues a command, and wakes whoever is to deliver it.
    pub(crate) fn send_command(&self, command: NewCommand) -> Result<CommandInfo, CommandError> {
        let agent = self.registry.named(command.agent.as_deref())?;
        if agent.revoked {
            return Err(CommandError::Revoked(agent.name.clone()));
        }
        self.send_command_to(&agent, command)
    }

    /// As [`Hub::send_command`], to this agent.
    pub(crate) fn send_command_to(
        &self,
        agent: &Agent,
        command: NewCommand,
    ) -> Result<CommandInfo, CommandError> {
        let info = self.commands.issue(agent, command, clock::now())?;
        tracing::info!(id = %info.id, agent = %agent.name, action = %quote(&info.action), "command issued");
        self.sessions.deliver_commands(agent.id);
        self.ordered();
        Ok(info)
    }

    /// Takes an answer to a command, if the frame is one, and tells what is wrong with it.
    pub(crate) fn answered(&self, agent: &Agent, frame: &Frame) -> Vec<Found> {
        let id = frame.id().unwrap_or_default();
        let kind = frame.frame_type();
        let answered = match kind {
            FrameType::CommandAck => self.commands.acked(agent.id, id, frame.payload(), clock::now()),
            FrameType::CommandResult => self.commands.finished(agent.id, id, frame.payload(), clock::now()),
            _ => return Vec::new(),
        };
        let Some(Answered { sent, echoed, acked }) = answered else {
            return vec![(Rule::CommandUnknown, format!("{kind} {}", quote(id)))];
        };
        let found = [
            (!sent, Rule::CommandUnknown, "of a command that was not sent yet"),
            (!echoed, Rule::ClaimToken, "lacks the delivery_claim_token"),
            (!acked && kind == FrameType::CommandResult, Rule::ResultUnacked, "was not acknowledged before"),
        ];
        let found = found.into_iter().filter(|(is, ..)| *is);
        found.map(|(_, rule, what)| (rule, format!("{kind} {} {what}", quote(id)))).collect()
    }

    /// Archives a project: sessions of its agents are closed with 4003, and their tokens are refused.
    pub(crate) fn archive(&self, slug: &str) -> Result<Arc<Project>, RegistryError> {
        let project = self.registry.change_project(slug, |project| project.about.archived = true)?;
        for agent in self.registry.agents().iter().filter(|agent| agent.project.id == project.id) {
            self.sessions.revoke(agent.id);
        }
        self.ordered();
        Ok(project)
    }

    /// Ends the archiving of a project.
    pub(crate) fn restore(&self, slug: &str) -> Result<Arc<Project>, RegistryError> {
        let project = self.registry.change_project(slug, |project| project.about.archived = false)?;
        self.ordered();
        Ok(project)
    }

    /// The time that this brain goes by: the machine's, moved by what was set.
    pub(crate) fn now(&self) -> Timestamp {
        let micros = clock::now().unix_micros().saturating_add(self.clock_offset.load(Ordering::Relaxed));
        Timestamp::from_unix_micros(micros)
    }

    /// Shows each accepted event that is kept to somebody, oldest first, some at a time.
    pub(crate) fn each_event(&self, mut show: impl FnMut(&StoredEvent)) -> Result<(), JournalError> {
        let mut after = 0;
        loop {
            let on_disk = self.journal.is_on_disk();
            let slice = if on_disk { self.journal.events_behind(after)? } else { self.store.behind(after) };
            let Some((last, _)) = slice.last() else { return Ok(()) };
            after = *last;
            slice.iter().for_each(|(_, event)| show(event));
        }
    }

    /// Refuses an agent from now on: its sessions are closed with 4003, and its token with 4401 or 401.
    pub(crate) fn revoke(&self, name: &str) -> Result<(), RegistryError> {
        self.revoke_agent(&*self.registry.named(Some(name))?)
    }

    /// As [`Hub::revoke`], of this agent.
    pub(crate) fn revoke_agent(&self, agent: &Agent) -> Result<(), RegistryError> {
        self.registry.set_token(agent, None)?;
        self.sessions.revoke(agent.id);
        self.ordered();
        Ok(())
    }

    /// Gives an agent another token; the old one is refused from now on, and sessions go on.
    pub(crate) fn set_token(&self, name: &str, token: &str) -> Result<Arc<Agent>, RegistryError> {
        let agent = self.registry.named(Some(name))?;
        let changed = self.registry.set_token(&agent, Some(token))?;
        self.ordered();
        Ok(changed)
    }

    /// A session ended; another one of its agent may have to take the commands that wait.
    pub(crate) fn session_ended(&self, serial: Serial, by: ClosedBy, closing: Option<&Closing>) {
        if let Some(agent) = self.sessions.ended(serial, by, closing) {
            self.sessions.deliver_commands(agent);
        }
        self.ordered();
    }

    /// Ends commands whose time is over, until the brain stops.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        let interval = self.commands.sweep_interval();
        loop {
            tokio::select! {
                () = sleep(interval) => {}
                () = self.stopping() => return,
            }
            if self.commands.sweep(clock::now()) {
                self.happened();
            }
        }
    }

    /// Issues the server's certificate anew; it is on disk before it is shown.
    pub(crate) fn rotate_certificate(&self, profile: Option<Profile>) -> Result<(), StateError> {
        let pki = self.pki.as_ref().ok_or(PkiError::NoTls)?;
        pki.rotate(profile, |authority| self.registry.keep_authority(authority))?;
        tracing::info!("certificate rotated");
        self.journal.record(Entry::new(Kind::Handshake, "certificate-rotated", clock::now()));
        Ok(())
    }

    /// Sets a fault; it takes effect before this returns.
    pub(crate) fn set_fault(self: &Arc<Self>, spec: FaultSpec) -> Result<(), FaultError> {
        if spec.needs_tls() && self.pki.is_none() {
            return Err(FaultError::of_spec(&spec, "needs TLS, and this brain runs without (--no-tls)"));
        }
        let turns = if spec.at() == Point::Listen { table::turns(&spec) } else { Vec::new() };
        self.faults.set(spec);
        self.listen_or_not();
        for turn in turns {
            let hub = Arc::clone(self);
            self.runtime.spawn(async move {
                sleep(turn).await;
                hub.listen_or_not();
            });
        }
        Ok(())
    }

    /// Listens, unless a fault or somebody says otherwise.
    fn listen_or_not(&self) {
        let down = self.down.load(Ordering::SeqCst);
        self.listener.set_refused(down || self.faults.refuses_connections());
    }

    /// Stops listening, and ends every connection, with 1012 or without a word.
    pub(crate) fn go_down(&self, farewell: Farewell) {
        self.down.store(true, Ordering::SeqCst);
        self.listen_or_not();
        self.killed.send_replace(farewell);
        self.happened();
    }

    /// Listens again.
    pub(crate) fn come_up(&self) {
        self.down.store(false, Ordering::SeqCst);
        self.listen_or_not();
    }

    /// Keeps a connection open without a word until the peer ends it, or the brain goes.
    pub(crate) fn hold(self: &Arc<Self>, socket: TcpStream, silence: Silence) {
        let task = self.task();
        let mut killed = self.killed.subscribe();
        self.runtime.spawn(async move {
            tokio::select! {
                () = silence::hold(socket, silence) => {}
                _ = killed.changed() => {}
                () = task.0.stopping() => {}
            }
        });
    }

    /// Forgets what was seen, clears the faults and sets the clock right. Live sessions go on.
    pub(crate) async fn reset(&self) {
        self.journal.ready().await;
        self.clear_faults(None);
        self.clock_offset.store(0, Ordering::Relaxed);
        self.journal.reset(|| self.store.clear());
        self.sessions.forget_ended();
        self.commands.clear();
        self.violations.clear();
        self.journal.flushed().await;
        self.ordered();
    }

    /// Takes a fault away; `None` for all. Tells whether there was one.
    pub(crate) fn clear_faults(&self, name: Option<&str>) -> bool {
        let found = self.faults.clear(name);
        self.listen_or_not();
        found
    }
}

/// A task at work.
pub(crate) struct TaskGuard(Arc<Hub>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.busy.send_modify(|count| *count -= 1);
    }
}
