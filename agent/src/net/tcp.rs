//! TCP: every address of a name is tried, and each failure kept.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use nix::libc;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::budget::Budget;

/// How long an address may take before the next one is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// What came of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The kernel said so.
    Errno(i32),
    /// No answer in time.
    TimedOut,
    /// The time for everything was up before this wait had its own in full.
    OutOfTime,
}

impl Failure {
    /// Whether it is one of these errnos.
    pub(crate) fn is_errno_of(self, errnos: &[i32]) -> bool {
        matches!(self, Self::Errno(errno) if errnos.contains(&errno))
    }

    fn from_io(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ETIMEDOUT) => Self::TimedOut,
            Some(errno) => Self::Errno(errno),
            None => Self::Errno(libc::EIO),
        }
    }
}

/// An address that did not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Which.
    pub(crate) address: SocketAddr,
    /// Why.
    pub(crate) failure: Failure,
    /// Whether this machine refuses to send to it at all: a datagram to the same address met EPERM, which
    /// only a rule of its own makes (send(2)).
    pub(crate) forbidden: bool,
}

/// Connects to the first address that answers.
///
/// # Errors
/// None did: what each of them said, in the order of the addresses.
pub(crate) async fn connect(
    addresses: &[SocketAddr],
    budget: &Budget,
) -> Result<(TcpStream, SocketAddr), Vec<Attempt>> {
    let mut failures: Vec<Attempt> = Vec::new();
    let raced = budget.bound(race(addresses, &mut failures)).await;
    let silent = match raced {
        Ok(Some(connected)) => return Ok(connected),
        Err(up) if up.cut => Failure::OutOfTime,
        Ok(None) | Err(_) => Failure::TimedOut,
    };
    let failure = |address: &SocketAddr| {
        let told = failures.iter().find(|attempt| attempt.address == *address);
        told.map_or(silent, |attempt| attempt.failure)
    };
    Err(addresses
        .iter()
        .map(|address| {
            let failure = failure(address);
            Attempt { address: *address, failure, forbidden: is_forbidden(*address, failure) }
        })
        .collect())
}

/// Sends one empty datagram to an address that did not connect: a firewall elsewhere swallows it, one of this
/// machine refuses it with EPERM.
fn is_forbidden(address: SocketAddr, failure: Failure) -> bool {
    let tells = matches!(
        failure,
        Failure::TimedOut
            | Failure::Errno(libc::ECONNREFUSED | libc::EHOSTUNREACH | libc::EACCES | libc::EPERM)
    );
    if !tells || address.ip().is_loopback() {
        return false;
    }
    let local: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let sent = UdpSocket::bind(local).and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.connect(address)?;
        socket.send(&[])
    });
    sent.is_err_and(|error| error.raw_os_error() == Some(libc::EPERM))
}

async fn race(addresses: &[SocketAddr], failures: &mut Vec<Attempt>) -> Option<(TcpStream, SocketAddr)> {
    let mut waiting = addresses.iter().copied();
    let mut running = JoinSet::new();
    loop {
        let started = waiting.next();
        if let Some(address) = started {
            running.spawn(async move { (address, TcpStream::connect(address).await) });
        }
        tokio::select! {
            // Without another address to start there is nothing to do but wait.
            () = tokio::time::sleep(STAGGER), if started.is_some() => {}
            done = running.join_next() => match done {
                None => return None,
                Some(Ok((address, Ok(stream)))) => {
                    // Small frames that are answered: waiting to fill a packet only costs time.
                    let _ = stream.set_nodelay(true);
                    return Some((stream, address));
                }
                Some(Ok((address, Err(error)))) => {
                    let failure = Failure::from_io(&error);
                    failures.push(Attempt { address, failure, forbidden: false });
                }
                Some(Err(_)) => {}
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Budget {
        Budget::new(Duration::from_secs(5), Duration::from_secs(10))
    }

    #[tokio::test]
    async fn a_dead_address_does_not_hold_up_the_next() -> io::Result<()> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let alive = listener.local_addr()?;
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let dead = gone.local_addr()?;
        drop(gone);
        let connected = connect(&[dead, alive], &budget()).await;
        assert_eq!(connected.map(|(_, address)| address).ok(), Some(alive));
        Ok(())
    }

    #[tokio::test]
    async fn every_failure_is_told() -> io::Result<()> {
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let dead = gone.local_addr()?;
        drop(gone);
        let failed = connect(&[dead], &budget()).await.err();
        let refused =
            Attempt { address: dead, failure: Failure::Errno(libc::ECONNREFUSED), forbidden: false };
        assert_eq!(failed, Some(vec![refused]));
        Ok(())
    }
}
