//! Ingest: events come in as lines of JSON, and are answered when they are safe on disk.
//!
//! Owns the socket, its protocol, what an event must look like, and `z4j emit`, which speaks that protocol. Must
//! not know the brain or transports; what is accepted goes to the buffer, redacted.
//!
//! # The protocol
//! A Unix stream socket. The client writes one event a line:
//! `{"kind", "engine", "task_id"?, "occurred_at"?, "data"?, "id"?}` (see `event` for the rules); lines are
//! numbered from 1 for each connection, empty ones count and are ignored, a line is at most 1 MiB long. The
//! agent writes replies, one JSON object a line:
//!
//! `{"line":1500,"accepted":1499,"restamped":0,"refused":[{"line":7,"code":"unknown-kind","reason":"…"}]}`
//!
//! - `line`: every line up to this one is settled, which means durable or refused. It grows from reply to reply.
//! - `accepted`, `restamped`: how many events of this connection are durable so far, and how many of those had a
//!   time that no brain keeps, which the time of arrival replaces.
//! - `refused`: the lines that were refused since the reply before. Sending one again will not help.
//! - `error` (`{"code", "reason"}`): no more lines will be taken on this connection. Lines behind `line` are not
//!   stored (those of a failed group neither), and may be sent again on a new one. The agent then reads on for a
//!   moment, so that the client comes to read this, and closes. Codes: those of the buffer (`ENOSPC`, …),
//!   `stopping`, `too-many-connections`, `stalled`.
//!
//! Nobody has to wait for replies: lines that arrive while a group is being stored make up the next group. A
//! client that is done shuts its writing side down and reads until the end; the last reply then covers every
//! line, and a last line without newline counts. A client that goes away without that has its complete lines
//! stored. If the agent goes away, what lies behind the last reply may or may not be stored: events with an `id`
//! of their own can be sent again without being counted twice.
//!
//! `accepted` is therefore exact, order is kept, and a client needs to keep no more than what is unanswered.

mod budget;
mod client;
mod connection;
mod event;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod group;
mod lines;
mod listener;
mod reply;
mod server;
mod stdin;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

pub(crate) use client::{Emission, send};
pub(crate) use listener::{IngestError, Listener, bind};
pub(crate) use reply::LineRefusal;
pub(crate) use server::serve;
pub(crate) use stdin::read_stdin;

use crate::buffer::Buffer;
use crate::clock::Clock;
use crate::redaction::Redactor;

/// What an event passes on its way in. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    /// Where events go.
    pub(crate) buffer: Buffer,
    /// What their data passes first.
    pub(crate) redactor: Arc<Redactor>,
    /// What stamps them.
    pub(crate) clock: Clock,
    /// What happened so far.
    pub(crate) counters: Arc<Counters>,
}

impl Intake {
    /// An intake with counters at zero.
    pub(crate) fn new(buffer: Buffer, redactor: Arc<Redactor>, clock: Clock) -> Self {
        Self { buffer, redactor, clock, counters: Arc::default() }
    }
}

/// Counts what came in, over all connections and stdin.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    refused: AtomicU64,
    restamped: AtomicU64,
    connections: AtomicU64,
}

/// What came in so far, for `z4j status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IngestStatus {
    /// Events that are durable, or were until the brain had them.
    pub(crate) accepted: u64,
    /// Lines that were refused.
    pub(crate) refused: u64,
    /// Accepted events whose time was replaced.
    pub(crate) restamped: u64,
    /// Connections that are open.
    pub(crate) connections: u64,
}

impl Counters {
    /// The numbers now.
    pub(crate) fn status(&self) -> IngestStatus {
        IngestStatus {
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            restamped: self.restamped.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
        }
    }

    /// A group is settled.
    fn settled(&self, settled: group::Settled) {
        self.accepted.fetch_add(settled.accepted, Ordering::Relaxed);
        self.refused.fetch_add(settled.refused, Ordering::Relaxed);
        self.restamped.fetch_add(settled.restamped, Ordering::Relaxed);
    }
}
