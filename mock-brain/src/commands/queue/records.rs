//! The commands that are kept, by their order, id and agent.
//!
//! Owns the bound on them, and that the look-ups agree. Must not journal, and must not lock.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;
use z4j_protocol::Timestamp;

use crate::commands::queue::record::Record;
use crate::commands::{CommandError, CommandState};

/// Most commands kept.
const MAX_COMMANDS: usize = 10_000;

/// The serial number of a command: the order in which they were issued.
pub(super) type Serial = u64;

/// Every command that is kept, and the ways to find one.
#[derive(Default)]
pub(super) struct Records {
    pub(super) next: Serial,
    pub(super) records: BTreeMap<Serial, Record>,
    pub(super) by_id: HashMap<Uuid, Serial>,
    /// The unfinished ones of each agent.
    pub(super) open: HashMap<Uuid, BTreeSet<Serial>>,
    pub(super) open_count: usize,
}

impl Records {
    pub(super) fn insert(&mut self, serial: Serial, record: Record) {
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

    pub(super) fn record(&mut self, agent: Uuid, id: &str) -> Option<(Serial, &mut Record)> {
        let serial = *self.by_id.get(&Uuid::try_parse(id).ok()?)?;
        // A result from another agent than the one that it was sent to is nobody's.
        let record = self.records.get_mut(&serial).filter(|record| record.agent == agent)?;
        Some((serial, record))
    }

    pub(super) fn close(
        &mut self,
        id: &str,
        status: CommandState,
        now: Timestamp,
    ) -> Option<(Serial, &Record)> {
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
    pub(super) fn make_room(&mut self) -> Result<Option<Serial>, CommandError> {
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
