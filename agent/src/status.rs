//! How a running agent is: the document of `z4j status --json`.
//!
//! Owns the shapes. The supervisor fills in [`LinkStatus`], the buffer its own part, and `control` puts them
//! together.

use serde::{Deserialize, Serialize};

use crate::buffer::BufferStatus;
use crate::ingest::IngestStatus;

/// What the connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LinkState {
    /// Not tried yet.
    #[default]
    Starting,
    /// On the way.
    Connecting,
    /// hello_ack has come (on long-poll: the probe was answered).
    Online,
    /// Waiting before the next attempt; events are buffered.
    BackingOff,
    /// Flushing, then gone.
    Stopping,
}

/// A class of failures; each has its own back-off (reference-agent.md, 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FailureClass {
    /// The network, or anything that may pass.
    Connection,
    /// The brain says that what we send is wrong.
    Protocol,
    /// Credentials.
    Auth,
    /// Versions.
    Incompatible,
}

/// Failures in a row, by class. Only a session that proved itself sets them back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Streaks {
    /// [`FailureClass::Connection`]
    pub(crate) connection: u64,
    /// [`FailureClass::Protocol`]
    pub(crate) protocol: u64,
    /// [`FailureClass::Auth`]
    pub(crate) auth: u64,
    /// [`FailureClass::Incompatible`]
    pub(crate) incompatible: u64,
}

/// The last failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastFailure {
    /// Its class.
    pub(crate) class: FailureClass,
    /// The doctor's code for it, such as `ws.token-rejected`; none where the doctor has none.
    pub(crate) code: Option<String>,
    /// One sentence.
    pub(crate) text: String,
    /// When, ISO 8601.
    pub(crate) at: String,
}

/// How the connection is. Times are ISO 8601.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LinkStatus {
    /// What it is doing.
    pub(crate) state: LinkState,
    /// `websocket` or `long-poll`: the one in use or tried last.
    pub(crate) transport: Option<String>,
    /// The brain's release, where it said it.
    pub(crate) brain_version: Option<String>,
    /// The session's id, while online.
    pub(crate) session_id: Option<String>,
    /// Since when, while online.
    pub(crate) online_since: Option<String>,
    /// When the last hello_ack came.
    pub(crate) last_connect_at: Option<String>,
    /// When the brain last settled a batch.
    pub(crate) last_ack_at: Option<String>,
    /// When the next attempt is due, while backing off.
    pub(crate) next_attempt_at: Option<String>,
    /// Events that the brain settled since this process began.
    pub(crate) settled_events: u64,
    /// Batches that wait for their ack.
    pub(crate) unacked_batches: u64,
    /// Failures in a row.
    pub(crate) streaks: Streaks,
    /// The last failure; kept while online.
    pub(crate) last_failure: Option<LastFailure>,
}

/// What does not change while a process lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The process.
    pub(crate) pid: u32,
    /// This program's version.
    pub(crate) version: String,
    /// When it began, ISO 8601.
    pub(crate) started_at: String,
    /// The brain's URL.
    pub(crate) brain_url: String,
    /// The project's slug or UUID.
    pub(crate) project_id: String,
    /// The configured name.
    pub(crate) agent_name: Option<String>,
    /// The worker slot.
    pub(crate) worker_id: String,
    /// The ingest socket.
    pub(crate) ingest: Option<std::path::PathBuf>,
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// Who.
    #[serde(flatten)]
    pub(crate) identity: Identity,
    /// Seconds since it began.
    pub(crate) uptime_seconds: u64,
    /// The connection.
    pub(crate) link: LinkStatus,
    /// The buffer.
    pub(crate) buffer: BufferStatus,
    /// What came in.
    pub(crate) intake: IngestStatus,
}
