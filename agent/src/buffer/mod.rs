//! The buffer: events and command results that wait for the brain, safe on disk.
//!
//! Owns the file, its bounds, and what was lost. One thread holds the SQLite connection; a [`Buffer`] is a
//! handle to it. What is accepted is durable before the answer comes. Must not know frames or connections.

mod adopt;
mod damage;
mod duties;
mod events;
mod files;
mod first_page;
mod group;
mod lock;
mod open;
mod pending;
mod place;
mod rebuild;
mod records;
mod refusal;
mod results;
mod room;
mod salvage;
mod share;
mod store;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use z4j_protocol::{CanonicalText, Timestamp};

pub(crate) use open::{OpenError, open};
pub(crate) use place::{PlaceError, choose};

use group::Write;
use pending::Deed;

/// Most requests that wait for the writer; callers wait behind them.
const QUEUE: usize = 64;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// `Z4J_BUFFER_MAX_EVENTS`
    pub(crate) events: u64,
    /// `Z4J_BUFFER_MAX_BYTES`
    pub(crate) bytes: u64,
}

/// The code of a refusal by a buffer that is closed: nothing will be stored any more.
pub(crate) const CLOSED: &str = "closed";

/// An event on its way into the buffer: canonical text, complete, redacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewEvent {
    /// The event (protocol.md, Session).
    pub(crate) text: CanonicalText,
}

/// An event in the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its place: later events have higher ones, and a place is never used twice.
    pub(crate) id: i64,
    /// The event.
    pub(crate) text: CanonicalText,
}

/// The result of a command that the brain may not know yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredResult {
    /// The command's id.
    pub(crate) command_id: String,
    /// The payload of its `command_result`.
    pub(crate) payload: CanonicalText,
}

/// What the buffer remembers of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remembered {
    /// Nothing; from now on it is remembered as begun.
    New,
    /// It has begun, and has no result yet.
    Begun,
    /// Its result.
    Done(StoredResult),
}

/// Why nothing can be stored right now. The agent lives on, and the next attempt may succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{text}")]
pub(crate) struct Refused {
    /// A stable word: `ENOSPC`, `EDQUOT`, `EFBIG`, `EROFS`, `EIO`, `too-large`, `no-place`, `closed`, …
    pub(crate) code: String,
    /// One sentence, with the path and the way out.
    pub(crate) text: String,
}

/// What was lost, by reason and by kind (protocol.md, telemetry_loss): each lost record counts once in one of
/// the first two and once in one of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loss {
    /// Evicted because the buffer was full.
    pub(crate) capacity_evicted: u64,
    /// Refused by the brain or for the frame limit, or unreadable in a damaged file.
    pub(crate) content_rejected: u64,
    /// Lost events.
    pub(crate) events: u64,
    /// Lost command results.
    pub(crate) command_results: u64,
}

/// How the buffer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BufferStatus {
    /// The file.
    pub(crate) path: PathBuf,
    /// The file's own id, a UUID without hyphens.
    pub(crate) buffer_id: String,
    /// Events that wait.
    pub(crate) events: u64,
    /// Their text, in bytes.
    pub(crate) bytes: u64,
    /// Results of commands that are not settled.
    pub(crate) unsettled_results: u64,
    /// When the oldest waiting event was accepted, in microseconds since 1970.
    pub(crate) oldest_at_micros: Option<i64>,
    /// When the buffer last became empty, in microseconds since 1970.
    pub(crate) emptied_at_micros: Option<i64>,
    /// The highest place in use: it grows with every append.
    pub(crate) last_id: i64,
    /// What was lost.
    pub(crate) loss: Loss,
    /// Why the last write failed; none after one that worked.
    pub(crate) refused: Option<Refused>,
}

/// How much to read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Most events.
    pub(crate) events: usize,
    /// Most bytes of text, commas included; the first event comes whatever its size.
    pub(crate) bytes: usize,
}

/// A handle to the buffer. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<BufferStatus>,
    largest_event: u64,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What the writer is asked for.
#[derive(Debug)]
enum Request {
    Write(Write),
    Read(i64, Limit, oneshot::Sender<Vec<Row>>),
    Unsettled(oneshot::Sender<Vec<StoredResult>>),
    Mark(String),
    Close(oneshot::Sender<()>),
}

impl Buffer {
    /// Stores events, in order. They are durable when this returns.
    ///
    /// # Errors
    /// None of them is stored. `too-large`: one of them is larger than the whole buffer may be.
    pub(crate) async fn append(&self, events: Vec<NewEvent>) -> Result<(), Refused> {
        let largest = events.iter().map(|event| events::size(event.text.as_str())).max().unwrap_or_default();
        if largest > self.largest_event {
            let most = self.largest_event;
            return Err(Refused {
                code: "too-large".to_owned(),
                text: format!(
                    "an event of {largest} bytes can never fit into a buffer of {most}: raise \
                     Z4J_BUFFER_MAX_BYTES"
                ),
            });
        }
        self.ask(|answer| Request::Write(Write::Append(events, answer))).await?
    }

    /// The events behind a place, oldest first.
    pub(crate) async fn read(&self, after: i64, limit: Limit) -> Vec<Row> {
        self.ask(|answer| Request::Read(after, limit, answer)).await.unwrap_or_default()
    }

    /// Forgets the events from one place to another, both included: the brain has settled them.
    pub(crate) async fn settle(&self, first: i64, last: i64) {
        self.tell(Deed::Settle(first, last)).await;
    }

    /// Forgets an event that no brain will take, and counts it.
    pub(crate) async fn reject(&self, id: i64) {
        self.tell(Deed::Reject(id)).await;
    }

    /// What is known of a command. One that is new is remembered as begun, durably, with its
    /// `delivery_claim_token`: should this process die while it runs, the result that says so echoes that.
    ///
    /// # Errors
    /// That cannot be stored.
    pub(crate) async fn begin_command(&self, id: &str, claim: Option<&str>) -> Result<Remembered, Refused> {
        let (id, claim) = (id.to_owned(), claim.map(str::to_owned));
        self.ask(|answer| Request::Write(Write::Begin { id, claim, answer })).await?
    }

    /// Stores the result of a command, durably.
    ///
    /// # Errors
    /// It cannot be stored now. It is kept in memory, is among the unsettled ones, and is stored as soon as
    /// that works; only the end of this process would lose it.
    pub(crate) async fn finish_command(&self, result: StoredResult) -> Result<(), Refused> {
        self.ask(|answer| Request::Write(Write::Deed(Deed::Finish(result), Some(answer)))).await?
    }

    /// The results that are not settled, oldest first.
    pub(crate) async fn unsettled_results(&self) -> Vec<StoredResult> {
        self.ask(Request::Unsettled).await.unwrap_or_default()
    }

    /// The brain has these results. They are still remembered for a while, to answer duplicates.
    pub(crate) async fn settle_results(&self, command_ids: Vec<String>) {
        self.tell(Deed::SettleResults(command_ids)).await;
    }

    /// Settles a result that no brain will take, and counts it.
    pub(crate) async fn reject_result(&self, command_id: String) {
        self.tell(Deed::RejectResult(command_id)).await;
    }

    /// The brain has been told of these losses: whoever adopts this buffer tells the others only.
    pub(crate) async fn reported(&self, loss: Loss) {
        self.tell(Deed::Reported(loss)).await;
    }

    /// Whose events these are from now on ([`z4j_protocol::HmacSecret::deployment`]): the secret was replaced.
    pub(crate) async fn mark(&self, deployment: String) {
        let _ = self.requests.send(Request::Mark(deployment)).await;
    }

    /// How the buffer is now; also a way to wait for a change.
    pub(crate) fn status(&self) -> watch::Receiver<BufferStatus> {
        self.status.clone()
    }

    /// Closes the file once everything before this is done, and removes it if nothing in it is needed.
    pub(crate) async fn close(&self) {
        let _ = self.ask(Request::Close).await;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Closing is the last thing that it does: this does not wait.
        let _ = thread.map(JoinHandle::join);
    }

    async fn tell(&self, deed: Deed) {
        let _ = self.requests.send(Request::Write(Write::Deed(deed, None))).await;
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Refused> {
        let closed = || Refused { code: CLOSED.to_owned(), text: "the buffer is closed".to_owned() };
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())
    }
}

impl BufferStatus {
    /// How long the oldest waiting event has been here, in seconds.
    pub(crate) fn oldest_age_seconds(&self, now: Timestamp) -> Option<f64> {
        let age = now.micros_since(Timestamp::from_unix_micros(self.oldest_at_micros?));
        Some(std::time::Duration::from_micros(u64::try_from(age).unwrap_or_default()).as_secs_f64())
    }
}
