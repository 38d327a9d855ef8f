//! TCP: every address of a name is tried, and each failure kept.

use std::io;
use std::net::SocketAddr;
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
}

impl Failure {
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
    if let Ok(Some(connected)) = raced {
        return Ok(connected);
    }
    let failure = |address: &SocketAddr| {
        let told = failures.iter().find(|attempt| attempt.address == *address);
        told.map_or(Failure::TimedOut, |attempt| attempt.failure)
    };
    Err(addresses.iter().map(|address| Attempt { address: *address, failure: failure(address) }).collect())
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
                    failures.push(Attempt { address, failure: Failure::from_io(&error) });
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
        let refused = Attempt { address: dead, failure: Failure::Errno(libc::ECONNREFUSED) };
        assert_eq!(failed, Some(vec![refused]));
        Ok(())
    }
}
