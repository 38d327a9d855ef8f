//! The ingest server: takes connections until the agent stops.
//!
//! Owns how many there may be, and the socket's life. What a connection says is `connection`'s.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::budget::Budget;
use super::connection::{Common, Connection, told_to_stop};
use super::group::Tally;
use super::{Intake, Listener};
use crate::instance::LOOK;
use crate::orders::Orders;
use crate::words::errno_text;

/// Most connections at once.
const MAX_CONNECTIONS: usize = 256;
/// Most connections with a long line that is not complete: each may hold a megabyte.
const LONG_LINES: usize = 4;
/// Descriptors that are left for everything else: the link, the buffer, the control socket, programs.
const RESERVED: u64 = 24;
/// Wait after accept(2) failed, most likely for want of file descriptors. Whoever connects waits in the kernel.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// After so long without trouble the next one is told of again.
const QUIET: Duration = Duration::from_secs(60);
/// How long connections may take to end when the agent stops.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Serves until the order to stop; then what was read is stored and answered.
pub(crate) async fn serve(listener: Listener, intake: Intake, mut orders: watch::Receiver<Orders>) {
    let mut server = Server::new(listener, intake);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let for_connections = orders.clone();
    loop {
        tokio::select! {
            accepted = server.listener.accept(), if server.resume_at.is_none() => {
                server.accept(accepted, &for_connections);
            }
            () = until(server.resume_at) => server.resume_at = None,
            Some(_) = server.connections.join_next() => {}
            _ = looks.tick() => server.look().await,
            () = told_to_stop(&mut orders) => break,
        }
        server.count();
    }
    server.stop().await;
}

/// Most connections under a limit of descriptors (`RLIMIT_NOFILE`).
fn most_under(descriptors: u64) -> usize {
    usize::try_from(descriptors.saturating_sub(RESERVED))
        .map_or(MAX_CONNECTIONS, |most| most.clamp(1, MAX_CONNECTIONS))
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

struct Server {
    listener: Listener,
    common: Common,
    connections: JoinSet<()>,
    /// Most connections.
    most: usize,
    /// When connections are taken again.
    resume_at: Option<Instant>,
    /// When connections were refused last.
    refused_at: Option<Instant>,
    /// The socket's name cannot be taken again, and that was said.
    unlinked: bool,
}

impl Server {
    fn new(listener: Listener, intake: Intake) -> Self {
        let long_lines = Arc::new(Semaphore::new(LONG_LINES));
        let common = Common { intake, budget: Budget::default(), long_lines };
        let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        Self {
            listener,
            common,
            connections: JoinSet::new(),
            most: most_under(descriptors),
            resume_at: None,
            refused_at: None,
            unlinked: false,
        }
    }

    fn accept(&mut self, accepted: io::Result<UnixStream>, orders: &watch::Receiver<Orders>) {
        match accepted {
            Ok(stream) if self.connections.len() < self.most => {
                let connection = Connection::new(stream, self.common.clone());
                self.connections.spawn(connection.run(orders.clone()));
            }
            Ok(stream) => {
                let most = self.most;
                let reason = format!("the agent serves {most} connections, which is all it will");
                let reply = Tally::default().fail("too-many-connections", &reason);
                let _ = stream.try_write(&reply.to_line());
                let way_out = if most < MAX_CONNECTIONS {
                    "raise the limit of descriptors (LimitNOFILE=, ulimit -n), or keep connections open and share them"
                } else {
                    "keep connections open and share them"
                };
                self.refused(&format!("{most} are open, which is all there may be: {way_out}"));
            }
            Err(error) => {
                self.resume_at = Some(Instant::now() + ACCEPT_PAUSE);
                self.refused(&errno_text(&error));
            }
        }
    }

    /// Says that connections are refused, once for as long as that lasts.
    fn refused(&mut self, why: &str) {
        let now = Instant::now();
        if self.refused_at.replace(now).is_none_or(|last| now.duration_since(last) > QUIET) {
            tracing::warn!("new connections for events are refused for now: {why}");
        }
    }

    /// Takes the name again if it is gone.
    async fn look(&mut self) {
        if !self.listener.is_unlinked() {
            return;
        }
        let path = self.listener.path().to_owned();
        match self.listener.again().await {
            Ok(listener) => {
                // A warning is the buffer's, where events were at stake.
                tracing::info!("{} was removed by somebody; made again", path.display());
                self.listener = listener;
                self.unlinked = false;
            }
            Err(error) => {
                if !self.unlinked {
                    tracing::warn!(
                        "the socket for events was removed by somebody, and cannot be made again: {error}"
                    );
                }
                self.unlinked = true;
            }
        }
    }

    fn count(&self) {
        let count = u64::try_from(self.connections.len()).unwrap_or(u64::MAX);
        self.common.intake.counters.connections.store(count, Ordering::Relaxed);
    }

    async fn stop(mut self) {
        drop(self.listener);
        let ended =
            timeout(STOP_PATIENCE, async { while self.connections.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            let left = self.connections.len();
            tracing::warn!("{left} connections for events did not end in {} s", STOP_PATIENCE.as_secs());
        }
        self.common.intake.counters.connections.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::bind;
    use crate::ingest::tests::intake;

    #[test]
    fn descriptors_are_left_for_everything_else() {
        for (descriptors, most) in [(0, 1), (32, 8), (1_024, MAX_CONNECTIONS), (u64::MAX, MAX_CONNECTIONS)] {
            assert_eq!(most_under(descriptors), most, "{descriptors}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_served_is_refused_and_does_not_hold_others_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let mut server = Server::new(bind(&path).await.unwrap(), intake(dir.path()));
        server.most = 1;
        let (_commander, orders) = crate::orders::Commander::new();
        let _served = UnixStream::connect(&path).await.unwrap();
        server.accept(server.listener.accept().await, &orders);
        let mut refused = UnixStream::connect(&path).await.unwrap();
        server.accept(server.listener.accept().await, &orders);
        let mut said = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut refused, &mut said).await.unwrap();
        assert!(said.contains("too-many-connections"), "{said}");
        assert_eq!((server.connections.len(), server.resume_at), (1, None));
        server.accept(Err(io::Error::from_raw_os_error(nix::libc::EMFILE)), &orders);
        assert!(server.resume_at.is_some());
    }

    #[tokio::test]
    async fn a_name_that_was_removed_is_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/agent.sock");
        let mut server = Server::new(bind(&path).await.unwrap(), intake(dir.path()));
        std::fs::remove_dir_all(dir.path().join("run")).unwrap();
        assert!(UnixStream::connect(&path).await.is_err());
        server.look().await;
        assert!(UnixStream::connect(&path).await.is_ok());
        // Where that cannot be, the server lives on.
        std::fs::remove_dir_all(dir.path().join("run")).unwrap();
        std::fs::write(dir.path().join("run"), "in the way").unwrap();
        server.look().await;
        std::fs::remove_file(dir.path().join("run")).unwrap();
        server.look().await;
        assert!(UnixStream::connect(&path).await.is_ok());
    }
}
