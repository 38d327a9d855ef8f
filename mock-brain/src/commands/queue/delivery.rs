//! Who is handed which command, and how often.
//!
//! Owns the rules of delivery over both transports. Must not sign or send.

use std::time::Duration;

use uuid::Uuid;
use z4j_protocol::Timestamp;

use crate::commands::queue::Commands;
use crate::commands::queue::record::{Record, is_over, later};
use crate::commands::queue::records::Records;
use crate::commands::{CommandState, Delivery};
use crate::lock::lock;
use crate::sessions::Serial;

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

/// What a long-poll request may be handed.
pub(crate) struct Wanted<'w> {
    /// Most commands.
    pub(crate) most: usize,
    /// Whether those that wait are for it, and not for a websocket.
    pub(crate) pending: bool,
    /// Engines whose tasks it can retry by reference.
    pub(crate) contracts: &'w [String],
}

impl Commands {
    /// The oldest command that waits for an agent, now sent over a websocket session. Where commands are sent
    /// again, one that was sent before waits too, unless the session that it was sent over is there.
    pub(crate) fn push(&self, agent: Uuid, session: Serial, now: Timestamp) -> Option<Delivery> {
        let waits = |record: &Record| {
            record.info.status == CommandState::Pending || self.redeliver && record.over.is_none()
        };
        self.hand_out(agent, now, (1, Some(session)), waits).pop()
    }

    /// A command that was to be sent was not: it waits as it did before.
    pub(crate) fn unsent(&self, agent: Uuid, delivery: &Delivery, now: Timestamp) {
        let mut inner = lock(&self.inner);
        let Some((serial, record)) = inner.record(agent, &delivery.id) else { return };
        if record.info.status != CommandState::Dispatched {
            return;
        }
        record.info.deliveries = record.info.deliveries.saturating_sub(1);
        record.sent_at = delivery.sent_before;
        record.over = None;
        if record.sent_at.is_none() {
            record.info.status = CommandState::Pending;
            record.info.dispatched_at = None;
            record.info.timeout_at = later(record.issued_at, self.timeout);
            record.dispatched = None;
        }
        self.keep(serial, record, now);
    }

    /// A session ended: what was sent over it and has no result may be sent again.
    pub(crate) fn session_ended(&self, session: Serial) {
        if !self.redeliver {
            return;
        }
        let Records { records, open, .. } = &mut *lock(&self.inner);
        for serial in open.values().flatten() {
            if let Some(record) = records.get_mut(serial).filter(|record| record.over == Some(session)) {
                record.over = None;
            }
        }
    }

    /// What a long-poll request is handed: what waits, and some of what was sent again.
    pub(crate) fn poll(&self, agent: Uuid, wanted: &Wanted<'_>, now: Timestamp) -> Vec<Delivery> {
        self.hand_out(agent, now, (wanted.most, None), |record| {
            let action = record.info.action.as_str();
            if CONTRACTED.contains(&action) {
                let engine = record.engine.as_ref();
                if !engine.is_some_and(|engine| wanted.contracts.contains(engine)) {
                    return false;
                }
            }
            match record.sent_at {
                None => wanted.pending,
                Some(sent) => {
                    let again = REDELIVERED.contains(&action) || self.redeliver && record.over.is_none();
                    again && is_over(sent, self.redeliver_after, now)
                }
            }
        })
    }

    fn hand_out(
        &self,
        agent: Uuid,
        now: Timestamp,
        (most, over): (usize, Option<Serial>),
        wanted: impl Fn(&Record) -> bool,
    ) -> Vec<Delivery> {
        let mut inner = lock(&self.inner);
        let Records { records, open, .. } = &mut *inner;
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
            let sent_before = record.sent_at.replace(now);
            record.over = over;
            self.keep(*serial, record, now);
            out.push(Delivery { id: record.info.id.clone(), payload: record.payload.clone(), sent_before });
        }
        out
    }

    /// How long until something may be handed out again.
    pub(crate) const fn redeliver_after(&self) -> Duration {
        self.redeliver_after
    }
}
