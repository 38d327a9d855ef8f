//! What all connections of one brain share, and its life: running, stopping, idle.
//!
//! Owns the parts and the count of tasks at work. Must not hold rules of its own.

mod command;
mod event;
mod identity;
mod limits;
mod listening;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use z4j_protocol::Timestamp;

use crate::admission::{Admission, Hosts};
use crate::clock;
use crate::commands::Commands;
use crate::fault::table::FaultTable;
use crate::journal::{Entry, Journal, JournalError, Kind};
use crate::listener::Listener;
use crate::longpoll::sessions::LongPollSessions;
use crate::pki::{Pki, PkiError, Profile};
use crate::registry::Registry;
use crate::rest::Logins;
use crate::sessions::{ClosedBy, Serial, Sessions};
use crate::state::StateError;
use crate::store::Store;
use crate::stream::silence::{self, Silence};
use crate::verdict::Closing;
use crate::violation::Violations;
use crate::voice::{Oddities, Release};

pub use limits::Limits;
pub use listening::Farewell;

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

    /// Wakes those who wait for something to happen.
    pub(crate) fn happened(&self) {
        self.activity.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn ordered(&self) {
        self.orders.send_modify(|count| *count = count.wrapping_add(1));
        self.happened();
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

    /// The time that this brain goes by: the machine's, moved by what was set.
    pub(crate) fn now(&self) -> Timestamp {
        let micros = clock::now().unix_micros().saturating_add(self.clock_offset.load(Ordering::Relaxed));
        Timestamp::from_unix_micros(micros)
    }

    /// A session ended; another one of its agent may have to take the commands that wait.
    pub(crate) fn session_ended(&self, serial: Serial, by: ClosedBy, closing: Option<&Closing>) {
        self.commands.session_ended(serial);
        if let Some(agent) = self.sessions.ended(serial, by, closing) {
            self.sessions.deliver_commands(agent);
        }
        self.ordered();
    }

    /// Issues the server's certificate anew; it is on disk before it is shown.
    pub(crate) fn rotate_certificate(&self, profile: Option<Profile>) -> Result<(), StateError> {
        let pki = self.pki.as_ref().ok_or(PkiError::NoTls)?;
        pki.rotate(profile, |authority| self.registry.keep_authority(authority))?;
        tracing::info!("certificate rotated");
        self.journal.record(Entry::new(Kind::Handshake, "certificate-rotated", clock::now()));
        Ok(())
    }

    /// Forgets what was seen, clears the faults and sets the clock right. Live sessions go on.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub(crate) async fn reset(&self) -> Result<(), JournalError> {
        self.journal.check()?;
        self.journal.ready().await;
        self.clear_faults(None);
        self.clock_offset.store(0, Ordering::Relaxed);
        self.journal.reset(|| self.store.clear());
        self.sessions.forget_ended();
        self.commands.clear();
        self.violations.clear();
        let written = self.journal.written().await;
        self.ordered();
        written
    }
}

/// A task at work.
pub(crate) struct TaskGuard(Arc<Hub>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.busy.send_modify(|count| *count -= 1);
    }
}
