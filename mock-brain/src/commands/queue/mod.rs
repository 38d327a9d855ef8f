//! The commands of one brain: the queue of each agent, and the results.
//!
//! Owns the life of a command from its issue to its time-out, and its place in the journal. Bounded; the oldest
//! finished ones go first. Must not send anything: it hands out payloads.

mod answer;
mod delivery;
mod id;
mod record;
mod records;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use uuid::Uuid;
use z4j_protocol::Timestamp;

use crate::commands::{CommandError, CommandInfo, CommandState, NewCommand, Parts};
use crate::journal::{Entry, Journal, JournalError, Kind, Table};
use crate::lock::lock;
use crate::quote::quote;
use crate::registry::Agent;
use record::{Record, is_over, later};
use records::{Records, Serial};

pub(crate) use answer::Answered;
pub(crate) use delivery::Wanted;

/// The commands of one brain.
pub(crate) struct Commands {
    timeout: Duration,
    redeliver_after: Duration,
    /// Commands without a result are sent again to whoever connects next, unlike the real brain's.
    redeliver: bool,
    inner: Mutex<Records>,
    journal: Arc<Journal>,
}

impl Commands {
    /// The commands of earlier runs, and room for more.
    pub(crate) fn new(
        timeout: Duration,
        redeliver_after: Duration,
        redeliver: bool,
        journal: &Arc<Journal>,
    ) -> Result<Self, JournalError> {
        let mut inner = Records::default();
        for (serial, record) in journal.kept(Table::Commands)? {
            inner.insert(serial, record);
        }
        Ok(Self {
            timeout,
            redeliver_after,
            redeliver,
            inner: Mutex::new(inner),
            journal: Arc::clone(journal),
        })
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
        let engine = parts.engine().map(str::to_owned);
        let info = CommandInfo {
            id: id::new(agent).to_string(),
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
            over: None,
        };
        let serial = inner.next;
        self.keep(serial, &record, now);
        inner.insert(serial, record);
        Ok(info)
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

    /// Whether a command of that id was once issued to this agent; it may be forgotten.
    pub(crate) fn was_issued(&self, agent: &Agent, id: &str) -> bool {
        id::was_issued(agent, id)
    }

    /// Forgets all commands, also those that wait. What comes of those that were sent is nobody's.
    pub(crate) fn clear(&self) {
        let mut inner = lock(&self.inner);
        for serial in inner.records.keys() {
            self.journal.forget(Table::Commands, *serial);
        }
        *inner = Records { next: inner.next, ..Records::default() };
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
