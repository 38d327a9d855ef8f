//! The ingest server: takes connections until the agent stops.
//!
//! Owns how many there may be, and the socket's life. What a connection says is `connection`'s.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

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
/// Wait after accept(2) failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
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
            accepted = server.listener.accept() => server.accept(accepted, &for_connections).await,
            Some(_) = server.connections.join_next() => {}
            _ = looks.tick() => server.look().await,
            () = told_to_stop(&mut orders) => break,
        }
        server.count();
    }
    server.stop().await;
}

struct Server {
    listener: Listener,
    common: Common,
    connections: JoinSet<()>,
    /// accept(2) fails, and that was said.
    failing: bool,
    /// The socket's name cannot be taken again, and that was said.
    unlinked: bool,
}

impl Server {
    fn new(listener: Listener, intake: Intake) -> Self {
        let long_lines = Arc::new(Semaphore::new(LONG_LINES));
        let common = Common { intake, budget: Budget::default(), long_lines };
        Self { listener, common, connections: JoinSet::new(), failing: false, unlinked: false }
    }

    async fn accept(&mut self, accepted: io::Result<UnixStream>, orders: &watch::Receiver<Orders>) {
        match accepted {
            Ok(stream) if self.connections.len() < MAX_CONNECTIONS => {
                self.failing = false;
                let connection = Connection::new(stream, self.common.clone());
                self.connections.spawn(connection.run(orders.clone()));
            }
            Ok(stream) => {
                let reason = format!("the agent serves {MAX_CONNECTIONS} connections, which is all it will");
                let reply = Tally::default().fail("too-many-connections", &reason);
                let _ = stream.try_write(&reply.to_line());
            }
            Err(error) => {
                if !self.failing {
                    tracing::warn!("no new connection for events: {}", errno_text(&error));
                }
                self.failing = true;
                sleep(ACCEPT_PAUSE).await;
            }
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
