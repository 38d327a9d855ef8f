//! One thing that happened.
//!
//! Owns what an entry can be of, and how much of a peer's bytes it holds.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use z4j_protocol::Timestamp;

use super::event::Sighted;
use crate::batch::owned;
use crate::registry::Agent;

/// Most bytes kept of a frame. A batch with events is kept whole, because they are read from it.
const MAX_RAW: usize = 64 << 10;

/// What an entry is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A TCP connection was accepted.
    Connection,
    /// A TLS handshake, or the first frame of a session.
    Handshake,
    /// A session began or ended.
    Session,
    /// A frame of an agent, and what was decided about it.
    FrameIn,
    /// A frame to an agent.
    FrameOut,
    /// A command, whenever something came of it.
    Command,
    /// A violation.
    Violation,
    /// A fault struck.
    Fault,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Connection,
        Self::Handshake,
        Self::Session,
        Self::FrameIn,
        Self::FrameOut,
        Self::Command,
        Self::Violation,
        Self::Fault,
    ];

    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Handshake => "handshake",
            Self::Session => "session",
            Self::FrameIn => "frame-in",
            Self::FrameOut => "frame-out",
            Self::Command => "command",
            Self::Violation => "violation",
            Self::Fault => "fault",
        }
    }

    /// Every word that `--kind` takes: those of entries, and of the events that batches bear.
    pub(crate) fn words() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(Self::as_str).chain([EVENT])
    }
}

/// The kind of the lines of events, which are not entries of their own.
pub(super) const EVENT: &str = "event";

/// One thing that happened.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(super) at: Timestamp,
    pub(super) kind: Kind,
    /// Of which kind more closely: a frame's type, a fault's name, a rule, a command's state.
    pub(super) type_: String,
    pub(super) session: Option<Arc<str>>,
    pub(super) agent: Option<Arc<Agent>>,
    /// What was decided, or what came of it.
    pub(super) detail: String,
    /// Length of what came or went.
    pub(super) size: usize,
    /// Its first bytes.
    pub(super) raw: Bytes,
    /// What came of a batch's events.
    pub(super) events: Vec<Sighted>,
}

impl Entry {
    pub(crate) fn new(kind: Kind, type_: &str, at: Timestamp) -> Self {
        Self {
            at,
            kind,
            type_: type_.to_owned(),
            session: None,
            agent: None,
            detail: String::new(),
            size: 0,
            raw: Bytes::new(),
            events: Vec::new(),
        }
    }

    /// A thing of a connection.
    pub(crate) fn of_peer(kind: Kind, type_: &str, peer: SocketAddr, detail: &str, at: Timestamp) -> Self {
        let detail = if detail.is_empty() { peer.to_string() } else { format!("{peer}: {detail}") };
        Self::new(kind, type_, at).saying(detail)
    }

    pub(crate) fn of_session(self, session: &Arc<str>) -> Self {
        Self { session: Some(Arc::clone(session)), ..self }
    }

    pub(crate) fn of_agent(self, agent: Option<&Arc<Agent>>) -> Self {
        Self { agent: agent.cloned(), ..self }
    }

    pub(crate) fn saying(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    /// With the bytes of a frame, the first ones of a long one.
    pub(crate) fn with(self, raw: &Bytes) -> Self {
        let kept = if raw.len() <= MAX_RAW { owned(raw) } else { Bytes::copy_from_slice(&raw[..MAX_RAW]) };
        Self { size: raw.len(), raw: kept, ..self }
    }

    /// With a batch, and what came of its events.
    pub(crate) fn with_batch(self, raw: &Bytes, events: Vec<Sighted>) -> Self {
        if events.is_empty() {
            return self.with(raw);
        }
        Self { size: raw.len(), raw: raw.clone(), events, ..self }
    }

    /// What it counts for in the bound.
    pub(super) fn weight(&self) -> usize {
        /// A row with its columns, roughly.
        const ROW: usize = 128;
        ROW + self.raw.len() + self.detail.len() + self.events.len() * size_of::<Sighted>()
    }
}
