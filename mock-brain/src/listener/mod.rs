//! The listening socket: accepting, TLS, and the faults of these layers.
//!
//! Owns the socket that was passed in; it is never rebound from here to another one, because it may have
//! been made in another network namespace. Must not know what is spoken over a connection.

mod handshake;
mod shaping;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::socket::{Backlog, Shutdown, SockaddrStorage, bind, listen, shutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::clock;
use crate::descriptors;
use crate::fault::table::Site;
use crate::fault::{Fault, Point, Tcp};
use crate::hub::{Hub, TaskGuard};
use crate::journal::{Entry, Kind};
use crate::lock::lock;
use crate::stream::silence::Silence;
use crate::stream::wire::Cut;
use crate::stream::{self, Stream};
use crate::web::{self, Peer};
use handshake::handshake;
use shaping::wire;

/// How long to wait after accept failed for want of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The listening socket, and whether it listens.
pub(crate) struct Listener {
    socket: std::net::TcpListener,
    address: SocketAddr,
    refused: watch::Sender<bool>,
    change: Mutex<()>,
}

impl Listener {
    /// Takes over a bound and listening socket.
    pub(crate) fn new(socket: std::net::TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address, refused: watch::Sender::new(false), change: Mutex::new(()) })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes connects be refused by the kernel, or accepted again.
    pub(crate) fn set_refused(&self, refused: bool) {
        let _one_at_a_time = lock(&self.change);
        if *self.refused.borrow() == refused {
            return;
        }
        let done = if refused {
            self.refused.send_replace(true);
            self.close()
        } else {
            let done = listen(&self.socket, Backlog::MAXCONN);
            self.refused.send_replace(false);
            done
        };
        if let Err(error) = done {
            tracing::error!(%error, address = %self.address, refused, "cannot change the listening state");
        }
    }

    /// Ends listening and keeps the port. Linux takes shutdown(2) on a listening socket and lets go of a
    /// port that it chose itself (bind to port 0), so the same socket is bound to that port again at once.
    /// EINVAL says that it never lost it, and so does EACCES: ports below 1024 are not chosen by the kernel,
    /// and bind(2) asks for the privilege before it looks at the socket.
    fn close(&self) -> nix::Result<()> {
        shutdown(self.socket.as_raw_fd(), Shutdown::Both)?;
        match bind(self.socket.as_raw_fd(), &SockaddrStorage::from(self.address)) {
            Err(nix::Error::EINVAL | nix::Error::EACCES) => Ok(()),
            done => done,
        }
    }

    /// The socket as the runtime polls it. It is a new descriptor each time: the runtime takes the hang-up
    /// that the end of listening is as final, and would not wait on the old one again.
    fn polled(&self) -> io::Result<TcpListener> {
        TcpListener::from_std(self.socket.try_clone()?)
    }
}

/// Takes connections from a [`Listener`], whatever becomes of it.
struct Acceptor<'l> {
    listener: &'l Listener,
    state: watch::Receiver<bool>,
    polled: Option<TcpListener>,
    /// It was said that accepting fails.
    told: bool,
}

impl<'l> Acceptor<'l> {
    fn new(listener: &'l Listener) -> Self {
        Self { listener, state: listener.refused.subscribe(), polled: None, told: false }
    }

    /// The next connection. Never gives up: errors are the machine's, and pass.
    async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.attempt().await {
                Ok(Some(accepted)) => return accepted,
                Ok(None) => {}
                Err(error) => {
                    if !std::mem::replace(&mut self.told, true) {
                        tracing::warn!(%error, "connections cannot be taken, and wait; is `ulimit -n` too low?");
                    }
                    tracing::debug!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// A connection; `None` if the socket began or ended to listen meanwhile.
    async fn attempt(&mut self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        if *self.state.borrow_and_update() {
            self.polled = None;
            let _ = self.state.changed().await;
            return Ok(None);
        }
        let polled = match &mut self.polled {
            Some(polled) => polled,
            empty => empty.insert(self.listener.polled()?),
        };
        let accepted = tokio::select! {
            accepted = polled.accept() => Some(accepted),
            _ = self.state.changed() => None,
        };
        let changed = accepted.is_none() || self.state.has_changed().unwrap_or(false);
        match accepted {
            Some(Ok(accepted)) => Ok(Some(accepted)),
            Some(Err(error)) if !changed => Err(error),
            _ => {
                self.polled = None;
                Ok(None)
            }
        }
    }
}

/// What a connection holds while it lives, its websocket session included.
pub(crate) struct Ticket {
    _permit: OwnedSemaphorePermit,
    _task: TaskGuard,
}

/// Accepts connections until the brain stops.
pub(crate) async fn run(hub: Arc<Hub>) {
    let places = descriptors::connections(hub.limits.connections).min(Semaphore::MAX_PERMITS);
    let permits = Arc::new(Semaphore::new(places));
    let mut acceptor = Acceptor::new(&hub.listener);
    let mut told = false;
    loop {
        if permits.available_permits() == 0 && !std::mem::replace(&mut told, true) {
            tracing::warn!(
                places,
                "every place for a connection is taken, further ones wait until one ends; \
                there are more with a higher --max-connections and `ulimit -n`"
            );
        }
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let (socket, peer) = tokio::select! {
            accepted = acceptor.next() => accepted,
            () = hub.stopping() => return,
        };
        let ticket = Ticket { _permit: permit, _task: hub.task() };
        tokio::spawn(connection(Arc::clone(&hub), socket, peer, ticket));
    }
}

async fn connection(hub: Arc<Hub>, socket: TcpStream, peer: SocketAddr, ticket: Ticket) {
    let note = |kind, type_, detail: &str| {
        hub.journal.record(Entry::of_peer(kind, type_, peer, detail, clock::now()));
    };
    note(Kind::Connection, "tcp", "");
    hub.journal.relieved().await;
    let site = Site::new(Point::Accept, peer.ip());
    if let Some(cut) = hub.faults.take(&site, cut) {
        return carry_out(&hub, cut, socket, peer, "accept");
    }
    // Frames are small and answered one by one: Nagle's algorithm would only delay them.
    let _ = socket.set_nodelay(true);
    let wire = wire(&hub, socket, peer);
    let killed = hub.killed.subscribe();
    let mut down = killed.clone();
    let served = async {
        let stream = match &hub.pki {
            None => Stream::Plain(wire),
            Some(_) => match timeout(hub.limits.handshake, handshake(&hub, wire, peer)).await {
                Ok(Ok(stream)) => {
                    note(Kind::Handshake, "tls", "ok");
                    stream
                }
                Ok(Err(error)) => {
                    note(Kind::Handshake, "tls", &error.to_string());
                    return tracing::debug!(%peer, %error, "TLS handshake failed");
                }
                Err(_) => {
                    note(Kind::Handshake, "tls", "timed out");
                    return tracing::debug!(%peer, "TLS handshake timed out");
                }
            },
        };
        let peer = Peer { address: peer, killed: killed.clone(), _ticket: Arc::new(ticket) };
        web::serve(Arc::clone(&hub), stream, peer).await;
    };
    tokio::select! {
        () = served => {}
        _ = down.changed() => tracing::debug!(%peer, "connection cut: the brain goes down"),
    }
}

/// How a fault cuts a connection, if it does.
pub(crate) const fn cut(fault: &Fault) -> Option<Cut> {
    let Fault::Tcp(fault) = fault else { return None };
    Some(match fault {
        Tcp::Reset => Cut::Reset,
        Tcp::Closed => Cut::Silence(Silence::Closed),
        Tcp::HalfOpen => Cut::Silence(Silence::HalfOpen),
        Tcp::Stall => Cut::Silence(Silence::Stall),
        Tcp::HangUp(time) => Cut::Silence(Silence::HangUp(*time)),
        _ => return None,
    })
}

fn carry_out(hub: &Arc<Hub>, cut: Cut, socket: TcpStream, peer: SocketAddr, point: &str) {
    tracing::info!(%peer, ?cut, point, "fault in the connection");
    match cut {
        Cut::Reset => stream::reset(&socket),
        Cut::Silence(silence) => hub.hold(socket, silence),
    }
}
