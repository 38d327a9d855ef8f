//! A command as it is kept.
//!
//! Owns its form in the journal and from when on its time runs. Must not change what came of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use z4j_protocol::{CanonicalText, Timestamp};

use crate::commands::{CommandInfo, stored};
use crate::sessions::Serial;

/// A command with what its agent is handed, and when it was.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) info: CommandInfo,
    pub(super) agent: Uuid,
    pub(super) engine: Option<String>,
    #[serde(with = "stored::text")]
    pub(super) payload: CanonicalText,
    pub(super) claim: Option<String>,
    #[serde(with = "stored::time")]
    pub(super) issued_at: Timestamp,
    /// When it was sent first.
    #[serde(with = "stored::times")]
    pub(super) dispatched: Option<Timestamp>,
    /// When it was sent last.
    #[serde(with = "stored::times")]
    pub(super) sent_at: Option<Timestamp>,
    /// The websocket session that it was sent over last, while that one is there. No session outlives a brain.
    #[serde(skip)]
    pub(super) over: Option<Serial>,
}

impl Record {
    /// From when on its time runs: it is counted anew once it was sent.
    pub(super) fn counted_from(&self) -> Timestamp {
        self.dispatched.unwrap_or(self.issued_at)
    }
}

/// So much later, ISO 8601.
pub(super) fn later(time: Timestamp, by: Duration) -> String {
    let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_unix_micros(time.unix_micros().saturating_add(micros)).to_string()
}

/// Whether so much time has gone by.
pub(super) fn is_over(since: Timestamp, limit: Duration, now: Timestamp) -> bool {
    now.micros_since(since) >= i64::try_from(limit.as_micros()).unwrap_or(i64::MAX)
}
