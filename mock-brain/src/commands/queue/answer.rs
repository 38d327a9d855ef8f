//! What an agent answers to a command: the acknowledgement and the result.
//!
//! Owns what a result changes. Must not decide what a wrong answer leads to.

use uuid::Uuid;
use z4j_protocol::{Object, Timestamp, Value};

use crate::commands::CommandState;
use crate::commands::queue::Commands;
use crate::commands::queue::record::Record;
use crate::lock::lock;

/// Most characters kept of a result's error.
const MAX_ERROR_CHARS: usize = 1_024;

/// An answer to a command, as it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The command was sent.
    pub(crate) sent: bool,
    /// The answer echoes what it should.
    pub(crate) echoed: bool,
    /// The command has been acknowledged.
    pub(crate) acked: bool,
}

impl Commands {
    /// A `command_ack`; `None` if it is of no command of the agent's.
    pub(crate) fn acked(
        &self,
        agent: Uuid,
        id: &str,
        payload: Option<&Object>,
        now: Timestamp,
    ) -> Option<Answered> {
        let mut inner = lock(&self.inner);
        let (serial, record) = inner.record(agent, id)?;
        record.info.acks += 1;
        self.keep(serial, record, now);
        Some(record.answered(payload))
    }

    /// A `command_result`; `None` if it is of no command of the agent's.
    pub(crate) fn finished(
        &self,
        agent: Uuid,
        id: &str,
        payload: Option<&Object>,
        now: Timestamp,
    ) -> Option<Answered> {
        self.sweep(now);
        let mut inner = lock(&self.inner);
        let (serial, record) = inner.record(agent, id)?;
        let answered = Some(record.answered(payload));
        if record.info.status.is_final() {
            record.info.ignored_results += 1;
            self.keep(serial, record, now);
            return answered;
        }
        let field = |key| payload.and_then(|payload| payload.get(key)).filter(|value| !value.is_null());
        let error = match field("error") {
            None => None,
            Some(Value::String(text)) => Some(text.chars().take(MAX_ERROR_CHARS).collect()),
            // The real brain drops such a result, and the command runs into its time-out.
            Some(_) => return answered,
        };
        let success = field("status").and_then(Value::as_str) == Some("success");
        record.info.result = field("result").cloned();
        record.info.error = match error {
            None if !success => Some("the agent reported a failure without a text".to_owned()),
            error => error,
        };
        let status = if success { CommandState::Completed } else { CommandState::Failed };
        if let Some((serial, record)) = inner.close(id, status, now) {
            self.keep(serial, record, now);
        }
        answered
    }
}

impl Record {
    fn answered(&self, payload: Option<&Object>) -> Answered {
        let told = payload.and_then(|payload| payload.get("delivery_claim_token")).and_then(Value::as_str);
        let echoed = self.claim.is_none() || told == self.claim.as_deref();
        Answered { sent: self.dispatched.is_some(), echoed, acked: self.info.acks > 0 }
    }
}
