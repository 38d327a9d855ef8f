//! The control socket: how a running agent is asked how it is, and told to connect anew.
//!
//! One request, one answer, a JSON line each. Owns both ends and the verbs `status` and `restart`; must not
//! know how the agent does what it is told.

mod client;
mod server;
mod text;
mod verbs;

use serde::{Deserialize, Serialize};

pub(crate) use server::serve;
pub(crate) use verbs::{Printed, RestartArgs, StatusArgs, restart, status};

use crate::status::Snapshot;

/// Longest request line, in bytes.
const MAX_REQUEST_BYTES: u64 = 1024;
/// Longest answer line, in bytes.
const MAX_ANSWER_BYTES: u64 = 1 << 20;
/// How long one exchange may take.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(5);

/// What an agent is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
enum Request {
    /// How it is.
    Status,
    /// To connect anew, at once.
    Restart,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    /// How it is.
    Status(Box<Snapshot>),
    /// It is connecting anew.
    Restarting,
    /// It will not. Here is why.
    Refused(String),
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
