//! Packets that vanish: a rule of nft(8), whose program is the real machine's.

use std::io::{self, Read};
use std::process::{Command, Stdio};

use super::reaper::Reaper;

const PROGRAM: &str = "/usr/sbin/nft";

/// Both ways, except for the resolver on loopback.
const DROP: &str = "table inet harness { chain in { type filter hook input priority 0; \
                    ip daddr != 127.0.0.0/8 drop; ip6 daddr != ::1 drop; }; }";

/// Drops packets to and from the machine's addresses.
///
/// # Errors
/// `nft` is not installed, or refuses.
pub(super) fn drop_packets(reaper: &Reaper) -> io::Result<()> {
    run(reaper, DROP)
}

/// Takes it back.
pub(super) fn let_through(reaper: &Reaper) {
    // There may be nothing to take back.
    let _ = run(reaper, "delete table inet harness");
}

fn run(reaper: &Reaper, rules: &str) -> io::Result<()> {
    let mut command = Command::new(PROGRAM);
    command.arg(rules).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let started = reaper.spawn(&mut command);
    let (mut child, _, ended) =
        started.map_err(|error| io::Error::new(error.kind(), format!("nft: {error}")))?;
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said)?;
    }
    let status = ended.recv().map_err(io::Error::other)?;
    if status == 0 { Ok(()) } else { Err(io::Error::other(format!("nft: {}", said.trim()))) }
}
