//! `control.json`: how the other subcommands find a running `serve`.
//!
//! Owns the file's content. It bears a token and is 0600; `Debug` does not show it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::state::{self, StateError};

/// The file's name in the state directory.
const FILE: &str = "control.json";

/// The address that a client on this machine uses for one that is listened on.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Where the control API listens, and what it takes to use it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Control {
    /// `http://ADDRESS`
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) pid: u32,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("url", &self.url).field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl Control {
    /// Tells others of this `serve`.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), StateError> {
        let text = serde_json::to_vec(self)
            .map_err(|error| StateError::Io { path: dir.join(FILE), error: error.into() })?;
        state::replace(dir, FILE, 0o600, &text)
    }

    /// What a `serve` of this directory left; `None` if there is none.
    pub(crate) fn read(dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(dir.join(FILE)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, "control.json is not what serve writes")
            })?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn remove(dir: &Path) {
        if let Err(error) = std::fs::remove_file(dir.join(FILE)) {
            tracing::warn!(%error, "control.json cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_all_is_reached_on_loopback() {
        for (listened, reached) in [
            ("0.0.0.0:7", "127.0.0.1:7"),
            ("[::]:7", "[::1]:7"),
            ("192.0.2.1:7", "192.0.2.1:7"),
            ("127.0.0.1:7", "127.0.0.1:7"),
        ] {
            assert_eq!(reachable(listened.parse().unwrap()).to_string(), reached);
        }
    }
}
