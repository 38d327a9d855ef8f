//! What the service manager is told: ready, alive, how the connection is (sd_notify(3)).
//!
//! Owns the datagrams and when they are due. Without `NOTIFY_SOCKET` it does nothing. The socket's name comes
//! from [`Environment`], which is why the crate sd-notify, which reads the process's, only words the messages.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::buffer::BufferStatus;
use crate::environment::Environment;
use crate::orders::Orders;
use crate::status::{LinkState, LinkStatus};
use crate::words::visible;

/// Longest status line, in characters.
const MAX_STATUS_CHARS: usize = 300;

/// Tells the service manager what becomes of this agent, until it is dropped. Spawn it once events are taken:
/// the agent is ready as soon as it is online, or as the first attempt has failed and the buffer works.
pub(crate) async fn watch(
    environment: Environment,
    mut link: watch::Receiver<LinkStatus>,
    mut buffer: watch::Receiver<BufferStatus>,
    mut orders: watch::Receiver<Orders>,
) {
    let Some(mut manager) = Manager::new(&environment) else { return };
    let mut alive = watchdog(&environment);
    let mut buffer_lives = true;
    loop {
        let (now, given) = (link.borrow_and_update().clone(), *orders.borrow_and_update());
        let refused = buffer.borrow_and_update().refused.as_ref().map(|refused| refused.text.clone());
        manager.tell(&now, refused.as_deref(), given);
        tokio::select! {
            changed = link.changed() => if changed.is_err() { return },
            changed = orders.changed() => if changed.is_err() { return },
            // A buffer that is gone is never heard of again, and the watchdog takes notice.
            changed = buffer.changed(), if buffer_lives => buffer_lives = changed.is_ok(),
            () = tick(alive.as_mut()) => if buffer_lives { manager.send(&[NotifyState::Watchdog]) },
        }
    }
}

/// Half of the time within which the manager wants a sign (sd_watchdog_enabled(3)).
fn watchdog(environment: &Environment) -> Option<tokio::time::Interval> {
    let number = |name: &str| environment.get(name)?.to_str()?.parse::<u64>().ok();
    let is_ours = environment.get("WATCHDOG_PID").is_none()
        || number("WATCHDOG_PID") == Some(u64::from(environment.pid));
    let half = Duration::from_micros(number("WATCHDOG_USEC").filter(|usec| is_ours && *usec > 1)? / 2);
    let mut interval = tokio::time::interval_at(Instant::now(), half);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(interval)
}

async fn tick(interval: Option<&mut tokio::time::Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// The service manager, and what it knows.
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    ready: bool,
    stopping: bool,
    reconnects: u64,
    status: String,
}

impl Manager {
    fn new(environment: &Environment) -> Option<Self> {
        let name = environment.get("NOTIFY_SOCKET")?;
        let made = address(name).and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            // The manager may be slow; the agent does not wait for it.
            socket.set_nonblocking(true)?;
            Ok((socket, address))
        });
        match made {
            Ok((socket, address)) => {
                let status = String::new();
                Some(Self { socket, address, ready: false, stopping: false, reconnects: 0, status })
            }
            Err(error) => {
                tracing::warn!("the service manager is told nothing: NOTIFY_SOCKET: {error}");
                None
            }
        }
    }

    /// Tells what is new.
    fn tell(&mut self, link: &LinkStatus, refused: Option<&str>, orders: Orders) {
        let status = status_text(link, refused);
        if status != self.status {
            self.send(&[NotifyState::Status(&status)]);
            self.status = status;
        }
        let works = match link.state {
            LinkState::Online => true,
            LinkState::BackingOff => refused.is_none(),
            LinkState::Starting | LinkState::Connecting | LinkState::Stopping => false,
        };
        if works && !self.ready {
            self.ready = true;
            self.reconnects = orders.reconnects;
            self.send(&[NotifyState::Ready]);
        }
        if orders.reconnects != self.reconnects && self.ready && !orders.stop {
            self.reconnects = orders.reconnects;
            // Events are taken all the while, so a reload is done as soon as it has begun.
            if let Ok(now) = NotifyState::monotonic_usec_now() {
                self.send(&[NotifyState::Reloading, now]);
                self.send(&[NotifyState::Ready]);
            }
        }
        if orders.stop && !self.stopping {
            self.stopping = true;
            self.send(&[NotifyState::Stopping]);
        }
    }

    /// A message that does not arrive is not worth stopping for.
    fn send(&self, states: &[NotifyState<'_>]) {
        let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
        if let Err(error) = self.socket.send_to_addr(lines.join("\n").as_bytes(), &self.address) {
            tracing::debug!("the service manager does not take {}: {error}", lines.join(", "));
        }
    }
}

/// A path, or a name in the abstract namespace behind an `@`.
fn address(name: &OsStr) -> std::io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        // vsock:, or nothing that is known.
        _ => Err(std::io::Error::other(format!("{name:?} is neither a path nor an abstract name"))),
    }
}

/// One line about the connection, without what changes with every event.
fn status_text(link: &LinkStatus, refused: Option<&str>) -> String {
    let over = link.transport.as_deref().map(|transport| format!(" over {transport}")).unwrap_or_default();
    let mut text = match link.state {
        LinkState::Starting => "starting".to_owned(),
        LinkState::Connecting => "connecting".to_owned(),
        LinkState::Online => {
            let version = link.brain_version.as_deref().unwrap_or("of an unknown release");
            format!("online{over}, brain {version}")
        }
        LinkState::BackingOff => {
            let why = link.last_failure.as_ref().map(|failure| format!(": {}", failure.text));
            format!("offline, events are buffered{}", why.unwrap_or_default())
        }
        LinkState::Stopping => "flushing, then gone".to_owned(),
    };
    if let Some(refused) = refused {
        text = format!("{text}; events are refused: {refused}");
    }
    visible(&text).chars().take(MAX_STATUS_CHARS).collect()
}

#[cfg(test)]
mod tests;
