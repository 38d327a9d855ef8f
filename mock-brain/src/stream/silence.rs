//! Connections that say nothing any more: open for good, or until they are closed without a word.
//!
//! Owns them until they end. Must not answer.

use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How often a connection that is not read from is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long a connection that was closed from here is read from: closing it with bytes unread would send a
/// RST (RFC 1122, 4.2.2.13).
const LINGER: Duration = Duration::from_secs(10);

/// How a connection is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// What comes is read, and lost.
    HalfOpen,
    /// Nothing is read, so that the peer's window fills.
    Stall,
    /// As half-open, and closed after a time.
    HangUp(Duration),
    /// Closed at once.
    Closed,
}

/// Holds a connection until it ends.
pub(crate) async fn hold(socket: TcpStream, silence: Silence) {
    match silence {
        Silence::HalfOpen => swallow(&socket).await,
        Silence::Stall => stall(&socket).await,
        Silence::HangUp(time) => {
            if timeout(time, swallow(&socket)).await.is_err() {
                close(&socket).await;
            }
        }
        Silence::Closed => close(&socket).await,
    }
}

/// Sends a FIN, and reads until the peer sends its own.
async fn close(socket: &TcpStream) {
    if let Ok(socket) = socket.as_fd().try_clone_to_owned() {
        let _ = std::net::TcpStream::from(socket).shutdown(Shutdown::Write);
    }
    let _ = timeout(LINGER, swallow(socket)).await;
}

async fn swallow(socket: &TcpStream) {
    let mut lost = vec![0; 16 << 10];
    while socket.readable().await.is_ok() {
        match socket.try_read(&mut lost) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

async fn stall(socket: &TcpStream) {
    while let Ok(ready) = socket.ready(Interest::READABLE).await {
        if ready.is_read_closed() || ready.is_error() {
            return;
        }
        // What is there to read stays there, and would be reported at once again.
        sleep(LOOK).await;
    }
}
