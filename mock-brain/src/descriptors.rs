//! How many descriptors this process may have.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// How many descriptors agents' connections leave to the rest: the journal, the control API and its clients.
const RESERVED: u64 = 48;

/// How many connections of agents there may be at a time: as many as wanted, if descriptors allow that.
pub(crate) fn connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    let most = usize::try_from(limit.saturating_sub(RESERVED)).unwrap_or(usize::MAX);
    wanted.min(most).max(1)
}

/// Raises the soft limit to the hard one: thousands of connections take as many descriptors, and the usual soft
/// limit of 1024 is there for programs that use select(2), which this one does not.
pub(crate) fn raise() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) }
    });
    if let Err(error) = raised {
        tracing::debug!(%error, "the limit of descriptors stays as it is");
    }
}
