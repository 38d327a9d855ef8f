//! Connections that stay open and say nothing any more.
//!
//! Owns them until the peer ends them. Must not answer.

use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// How often a connection that is not read from is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How a connection is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// What comes is read, and lost.
    HalfOpen,
    /// Nothing is read, so that the peer's window fills.
    Stall,
}

/// Holds a connection until the peer ends it.
pub(crate) async fn hold(socket: TcpStream, silence: Silence) {
    match silence {
        Silence::HalfOpen => swallow(&socket).await,
        Silence::Stall => stall(&socket).await,
    }
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
