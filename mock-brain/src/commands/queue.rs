//! The commands of one brain: the queue of each agent, and the results.
//!
//! Owns the rules of reference behaviour: who is handed what and how often, what a result changes, and when
//! time is over. Bounded; the oldest finished ones go first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use z4j_protocol::{CanonicalText, Object, Timestamp, Value};

use super::{CommandError, CommandInfo, CommandState, Delivery, NewCommand, Parts, stored};
use crate::journal::{Entry, Journal, JournalError, Kind, Table};
use crate::lock::lock;
use crate::quote::quote;
use crate::registry::Agent;

/// Most commands kept.
const MAX_COMMANDS: usize = 10_000;
/// Most characters kept of a result's error.
const MAX_ERROR_CHARS: usize = 1_024;
/// What long-poll hands out again while there is no result.
const REDELIVERED: [&str; 8] = [
    "cancel_task",
    "reconcile_task",
    "schedule.resync",
    "schedule.enable",
    "schedule.disable",
    "schedule.fire",
    "schedule.trigger_now",
    "schedule.trigger_now.via_scheduler",
];
/// What long-poll hands out only to those who say that they can retry by reference.
const CONTRACTED: [&str; 2] = ["retry_task", "bulk_retry"];

#[derive(Serialize, Deserialize)]
struct Record {
    info: CommandInfo,
    agent: Uuid,
    engine: Option<String>,
    #[serde(with = "stored::text")]
    payload: CanonicalText,
    claim: Option<String>,
    #[serde(with = "stored::time")]
    issued_at: Timestamp,
    /// When it was sent first.
    #[serde(with = "stored::times")]
    dispatched: Option<Timestamp>,
    /// When it was sent last.
    #[serde(with = "stored::times")]
    sent_at: Option<Timestamp>,
}

/// The serial number of a command: the order in which they were issued.
type Serial = u64;

#[derive(Default)]
struct Inner {
    next: Serial,
    records: BTreeMap<Serial, Record>,
    by_id: HashMap<Uuid, Serial>,
    /// The unfinished ones of each agent.
    open: HashMap<Uuid, BTreeSet<Serial>>,
    open_count: usize,
}

/// What a long-poll request may be handed.
pub(crate) struct Wanted<'w> {
    /// Most commands.
    pub(crate) most: usize,
    /// Whether those that wait are for it, and not for a websocket.
    pub(crate) pending: bool,
    /// Engines whose tasks it can retry by reference.
    pub(crate) contracts: &'w [String],
}

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

/// The commands of one brain.
pub(crate) struct Commands {
    timeout: Duration,
    redeliver_after: Duration,
    inner: Mutex<Inner>,
    journal: Arc<Journal>,
}

impl Commands {
    /// The commands of earlier runs, and room for more.
    pub(crate) fn new(
        timeout: Duration,
        redeliver_after: Duration,
        journal: &Arc<Journal>,
    ) -> Result<Self, JournalError> {
        let mut inner = Inner::default();
        for (serial, record) in journal.kept(Table::Commands)? {
            inner.insert(serial, record);
        }
        Ok(Self { timeout, redeliver_after, inner: Mutex::new(inner), journal: Arc::clone(journal) })
    }

    /// Journals a command as it is now.
    fn keep(&self, serial: Serial, record: &Record, now: Timestamp) {
        self.journal.put(Table::Commands, serial, record);
        let CommandInfo { id, agent_name, action, status, .. } = &record.info;
        let detail = format!("{id} {} to {}", quote(action), quote(agent_name));
        self.journal.record(Entry::new(Kind::Command, status.as_str(), now).saying(detail));
    }

    /// Puts a command in its agent's queue.
    pub(crate) fn issue(
        &self,
        agent: &Agent,
        command: NewCommand,
        now: Timestamp,
    ) -> Result<CommandInfo, CommandError> {
        let claim = command.delivery_claim_token.clone();
        let (issued_by, idempotency_key) = (command.issued_by.clone(), command.idempotency_key.clone());
        let parts = Parts::of(command, &agent.project.slug)?;
        let mut inner = lock(&self.inner);
        if let Some(gone) = inner.make_room()? {
            self.journal.forget(Table::Commands, gone);
        }
        let id = Uuid::new_v4();
        let engine = parts.engine().map(str::to_owned);
        let info = CommandInfo {
            id: id.to_string(),
            agent_name: agent.name.clone(),
            agent_id: agent.id.to_string(),
            project_id: agent.project.id.to_string(),
            issued_by,
            idempotency_key,
            action: parts.action,
            target: parts.target,
            parameters: parts.parameters,
            status: CommandState::Pending,
            result: None,
            error: None,
            deliveries: 0,
            acks: 0,
            ignored_results: 0,
            issued_at: now.to_string(),
            dispatched_at: None,
            completed_at: None,
            timeout_at: later(now, self.timeout),
        };
        let record = Record {
            info: info.clone(),
            agent: agent.id,
            engine,
            payload: parts.payload,
            claim,
            issued_at: now,
            dispatched: None,
            sent_at: None,
        };
        let serial = inner.next;
        self.keep(serial, &record, now);
        inner.insert(serial, record);
        Ok(info)
    }

    /// The oldest command that waits for an agent, now sent over a websocket.
    pub(crate) fn push(&self, agent: Uuid, now: Timestamp) -> Option<Delivery> {
        self.hand_out(agent, now, 1, |record| record.info.status == CommandState::Pending).pop()
    }

    /// What a long-poll request is handed: what waits, and some of what was sent again.
    pub(crate) fn poll(&self, agent: Uuid, wanted: &Wanted<'_>, now: Timestamp) -> Vec<Delivery> {
        self.hand_out(agent, now, wanted.most, |record| {
            let action = record.info.action.as_str();
            if CONTRACTED.contains(&action) {
                let engine = record.engine.as_ref();
                if !engine.is_some_and(|engine| wanted.contracts.contains(engine)) {
                    return false;
                }
            }
            match record.sent_at {
                None => wanted.pending,
                Some(sent) => REDELIVERED.contains(&action) && is_over(sent, self.redeliver_after, now),
            }
        })
    }

    fn hand_out(
        &self,
        agent: Uuid,
        now: Timestamp,
        most: usize,
        wanted: impl Fn(&Record) -> bool,
    ) -> Vec<Delivery> {
        let mut inner = lock(&self.inner);
        let Inner { records, open, .. } = &mut *inner;
        let mut out = Vec::new();
        for serial in open.get(&agent).into_iter().flatten() {
            if out.len() == most {
                break;
            }
            let Some(record) = records
                .get_mut(serial)
                .filter(|record| wanted(record) && !is_over(record.counted_from(), self.timeout, now))
            else {
                continue;
            };
            record.info.status = CommandState::Dispatched;
            record.info.deliveries += 1;
            record.info.dispatched_at.get_or_insert_with(|| now.to_string());
            if record.dispatched.is_none() {
                record.info.timeout_at = later(now, self.timeout);
            }
            record.dispatched.get_or_insert(now);
            record.sent_at = Some(now);
            self.keep(*serial, record, now);
            out.push(Delivery { id: record.info.id.clone(), payload: record.payload.clone() });
        }
        out
    }

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

    /// Ends the commands whose time is over. Tells whether there was one.
    pub(crate) fn sweep(&self, now: Timestamp) -> bool {
        let mut inner = lock(&self.inner);
        let open = inner.open.values().flatten();
        let over: Vec<_> = open
            .filter_map(|serial| inner.records.get(serial))
            .filter(|record| is_over(record.counted_from(), self.timeout, now))
            .map(|record| record.info.id.clone())
            .collect();
        for id in &over {
            if let Some((serial, record)) = inner.close(id, CommandState::Timeout, now) {
                self.keep(serial, record, now);
            }
        }
        !over.is_empty()
    }

    /// How long until a sweep may find something.
    pub(crate) fn sweep_interval(&self) -> Duration {
        (self.timeout / 12).clamp(Duration::from_millis(10), Duration::from_secs(5))
    }

    /// How long until something may be handed out again.
    pub(crate) const fn redeliver_after(&self) -> Duration {
        self.redeliver_after
    }

    pub(crate) fn get(&self, id: &str) -> Option<CommandInfo> {
        let inner = lock(&self.inner);
        let serial = inner.by_id.get(&Uuid::try_parse(id).ok()?)?;
        Some(inner.records.get(serial)?.info.clone())
    }

    /// Whether a command has come to its end; `None` if there is no such command.
    pub(crate) fn is_final(&self, id: &str) -> Option<bool> {
        let inner = lock(&self.inner);
        let serial = inner.by_id.get(&Uuid::try_parse(id).ok()?)?;
        Some(inner.records.get(serial)?.info.status.is_final())
    }

    /// Forgets all commands, also those that wait. What comes of those that were sent is nobody's.
    pub(crate) fn clear(&self) {
        let mut inner = lock(&self.inner);
        for serial in inner.records.keys() {
            self.journal.forget(Table::Commands, *serial);
        }
        *inner = Inner { next: inner.next, ..Inner::default() };
    }

    /// The newest commands, newest first.
    pub(crate) fn newest(&self, most: usize) -> Vec<CommandInfo> {
        lock(&self.inner).records.values().rev().take(most).map(|record| record.info.clone()).collect()
    }

    /// Every command that is kept, oldest first.
    pub(crate) fn list(&self) -> Vec<CommandInfo> {
        lock(&self.inner).records.values().map(|record| record.info.clone()).collect()
    }
}

impl Record {
    /// From when on its time runs: it is counted anew once it was sent.
    fn counted_from(&self) -> Timestamp {
        self.dispatched.unwrap_or(self.issued_at)
    }

    fn answered(&self, payload: Option<&Object>) -> Answered {
        let told = payload.and_then(|payload| payload.get("delivery_claim_token")).and_then(Value::as_str);
        let echoed = self.claim.is_none() || told == self.claim.as_deref();
        Answered { sent: self.dispatched.is_some(), echoed, acked: self.info.acks > 0 }
    }
}

impl Inner {
    fn insert(&mut self, serial: Serial, record: Record) {
        self.next = serial + 1;
        if let Ok(id) = Uuid::try_parse(&record.info.id) {
            self.by_id.insert(id, serial);
        }
        if !record.info.status.is_final() {
            self.open.entry(record.agent).or_default().insert(serial);
            self.open_count += 1;
        }
        self.records.insert(serial, record);
    }

    fn record(&mut self, agent: Uuid, id: &str) -> Option<(Serial, &mut Record)> {
        let serial = *self.by_id.get(&Uuid::try_parse(id).ok()?)?;
        // A result from another agent than the one that it was sent to is nobody's.
        let record = self.records.get_mut(&serial).filter(|record| record.agent == agent)?;
        Some((serial, record))
    }

    fn close(&mut self, id: &str, status: CommandState, now: Timestamp) -> Option<(Serial, &Record)> {
        let serial = *self.by_id.get(&Uuid::try_parse(id).ok()?)?;
        let record = self.records.get_mut(&serial)?;
        record.info.status = status;
        record.info.completed_at = Some(now.to_string());
        if status == CommandState::Timeout {
            record.info.error = Some("no result came in time".to_owned());
        }
        let agent = record.agent;
        if let Some(open) = self.open.get_mut(&agent) {
            self.open_count -= usize::from(open.remove(&serial));
            if open.is_empty() {
                self.open.remove(&agent);
            }
        }
        Some((serial, record))
    }

    /// Makes room for one more, and tells which had to go.
    fn make_room(&mut self) -> Result<Option<Serial>, CommandError> {
        if self.open_count >= MAX_COMMANDS {
            return Err(CommandError::Full(self.open_count));
        }
        if self.records.len() >= MAX_COMMANDS {
            let done = self.records.iter().find(|(_, record)| record.info.status.is_final());
            let done = done.map(|(serial, record)| (*serial, record.info.id.clone()));
            if let Some((serial, id)) = done {
                self.records.remove(&serial);
                Uuid::try_parse(&id).ok().and_then(|id| self.by_id.remove(&id));
                return Ok(Some(serial));
            }
        }
        Ok(None)
    }
}

/// So much later, ISO 8601.
fn later(time: Timestamp, by: Duration) -> String {
    let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_unix_micros(time.unix_micros().saturating_add(micros)).to_string()
}

fn is_over(since: Timestamp, limit: Duration, now: Timestamp) -> bool {
    now.micros_since(since) >= i64::try_from(limit.as_micros()).unwrap_or(i64::MAX)
}
