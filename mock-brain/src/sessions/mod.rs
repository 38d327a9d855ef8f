//! Sessions, live and ended, and who holds which worker slot.
//!
//! Owns the list that people look at and the rule that one slot has one connection. Must not close sockets:
//! it wakes the session that has to go.

mod info;
mod signals;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use uuid::Uuid;
use z4j_protocol::payload::Hello;
use z4j_protocol::{FrameType, close};

pub use info::{ClosedBy, SessionInfo, Transport};
pub(crate) use signals::Signals;

use crate::clock;
use crate::journal::{Entry, Journal, JournalError, Kind, Table};
use crate::lock::lock;
use crate::presence::{Presence, Presences};
use crate::registry::Agent;
use crate::verdict::Closing;

/// Most sessions listed; the oldest ended ones go first.
const MAX_LISTED: usize = 10_000;

/// A session's place in the list.
pub(crate) type Serial = u64;

struct Slot {
    /// The worker id that hello gave; none is a slot too.
    worker: Option<String>,
    serial: Serial,
    signals: Arc<Signals>,
}

#[derive(Default)]
struct Inner {
    next: Serial,
    listed: BTreeMap<Serial, SessionInfo>,
    /// The slots of each agent, the earliest registered first.
    slots: HashMap<Uuid, Vec<Slot>>,
    holders: HashMap<Serial, Uuid>,
    live: usize,
    presences: Presences,
    /// Those whose counts the journal does not have yet.
    counting: HashSet<Serial>,
    /// Whose the live sessions are.
    agents: HashMap<Serial, Arc<Agent>>,
}

/// The sessions of one brain.
pub(crate) struct Sessions {
    inner: Mutex<Inner>,
    journal: Arc<Journal>,
}

impl Sessions {
    /// The sessions of earlier runs, all of which have ended.
    pub(crate) fn new(journal: &Arc<Journal>) -> Result<Self, JournalError> {
        let mut inner = Inner::default();
        for (serial, mut info) in journal.kept::<SessionInfo>(Table::Sessions)? {
            if info.ended_at.is_none() {
                info.ended_at = Some(clock::now().to_string());
                info.closed_by = Some(ClosedBy::Network);
                info.detail = Some("the brain that had it went without ending it".to_owned());
                journal.put(Table::Sessions, serial, &info);
            }
            inner.listed.insert(serial, info);
            inner.next = serial + 1;
        }
        Ok(Self { inner: Mutex::new(inner), journal: Arc::clone(journal) })
    }

    /// Lists a new session.
    pub(crate) fn open(&self, id: &str, transport: Transport, peer: SocketAddr) -> Serial {
        let mut inner = lock(&self.inner);
        let serial = inner.next;
        inner.next += 1;
        inner.live += 1;
        inner.listed.insert(serial, SessionInfo::new(id, transport, peer));
        if inner.listed.len() > MAX_LISTED {
            let ended =
                inner.listed.iter().find(|(_, info)| info.ended_at.is_some()).map(|(serial, _)| *serial);
            if let Some(serial) = ended {
                inner.listed.remove(&serial);
                self.journal.forget(Table::Sessions, serial);
            }
        }
        serial
    }

    fn update(&self, serial: Serial, change: impl FnOnce(&mut SessionInfo, &mut Presences)) {
        let Inner { listed, presences, .. } = &mut *lock(&self.inner);
        if let Some(info) = listed.get_mut(&serial) {
            change(info, presences);
        }
    }

    /// What is known of an agent.
    pub(crate) fn presence(&self, agent: Uuid) -> Option<Presence> {
        lock(&self.inner).presences.of(agent).cloned()
    }

    pub(crate) fn identified(&self, serial: Serial, agent: &Arc<Agent>) {
        let Inner { listed, presences, agents, .. } = &mut *lock(&self.inner);
        let Some(info) = listed.get_mut(&serial) else { return };
        presences.identified(serial, agent.id);
        info.agent_name = Some(agent.name.clone());
        info.agent_id = Some(agent.id.to_string());
        info.project_id = Some(agent.project.id.to_string());
        agents.insert(serial, Arc::clone(agent));
    }

    pub(crate) fn greeted(&self, serial: Serial, hello: &Hello) {
        self.update(serial, |info, presences| {
            presences.greeted(serial, hello, clock::now());
            info.greeted(hello);
        });
    }

    pub(crate) fn accepted(&self, serial: Serial) {
        let Inner { listed, presences, agents, .. } = &mut *lock(&self.inner);
        let Some(info) = listed.get_mut(&serial) else { return };
        presences.accepted(serial, clock::now());
        info.accepted = true;
        self.keep(serial, info, agents.get(&serial), ("accepted", &info.peer));
    }

    /// Journals a session as it is now.
    fn keep(&self, serial: Serial, info: &SessionInfo, agent: Option<&Arc<Agent>>, what: (&str, &str)) {
        self.journal.put(Table::Sessions, serial, info);
        let entry = Entry::new(Kind::Session, what.0, clock::now()).saying(what.1).of_agent(agent);
        self.journal.record(entry.of_session(&info.id.as_str().into()));
    }

    pub(crate) fn counted(&self, serial: Serial, frame_type: FrameType) {
        let Inner { listed, presences, counting, .. } = &mut *lock(&self.inner);
        if let Some(info) = listed.get_mut(&serial) {
            presences.seen(serial, clock::now());
            info.frames += 1;
            info.heartbeats += u64::from(frame_type == FrameType::Heartbeat);
            counting.insert(serial);
        }
    }

    /// Journals what was counted since the last time, for a brain that is killed.
    pub(crate) fn keep_counts(&self) {
        let Inner { listed, counting, .. } = &mut *lock(&self.inner);
        for serial in counting.drain() {
            if let Some(info) = listed.get(&serial).filter(|info| info.ended_at.is_none()) {
                self.journal.put(Table::Sessions, serial, info);
            }
        }
    }

    /// Takes a worker slot, and ends the session that held it. Tells whether it may have one: there are
    /// `most` for an agent.
    pub(crate) fn take_slot(
        &self,
        serial: Serial,
        agent: Uuid,
        worker: Option<&str>,
        signals: &Arc<Signals>,
        most: usize,
    ) -> bool {
        let mut inner = lock(&self.inner);
        let slots = inner.slots.entry(agent).or_default();
        let slot = Slot { worker: worker.map(str::to_owned), serial, signals: Arc::clone(signals) };
        match slots.iter().position(|held| held.worker == slot.worker) {
            Some(index) => {
                let old = std::mem::replace(&mut slots[index], slot);
                old.signals.close(Closing::new(close::REPLACED, "another connection took the worker slot"));
                inner.holders.remove(&old.serial);
            }
            None if slots.len() >= most => return false,
            None => slots.push(slot),
        }
        inner.holders.insert(serial, agent);
        true
    }

    /// Wakes the session that an agent's commands go to: that of the slot registered first. Tells whether
    /// there is one.
    pub(crate) fn deliver_commands(&self, agent: Uuid) -> bool {
        let inner = lock(&self.inner);
        let first = inner.slots.get(&agent).and_then(|slots| slots.first());
        first.map(|slot| slot.signals.deliver_commands()).is_some()
    }

    /// Whether an agent has a websocket.
    pub(crate) fn is_connected(&self, agent: Uuid) -> bool {
        lock(&self.inner).slots.contains_key(&agent)
    }

    /// Tells the live sessions of an agent to close.
    pub(crate) fn revoke(&self, agent: Uuid) {
        for slot in lock(&self.inner).slots.get(&agent).into_iter().flatten() {
            slot.signals.close(Closing::new(close::REVOKED, "the agent was revoked"));
        }
    }

    /// A session ended; its slot is free. Returns the agent whose commands another slot may have to take.
    pub(crate) fn ended(&self, serial: Serial, by: ClosedBy, closing: Option<&Closing>) -> Option<Uuid> {
        let mut inner = lock(&self.inner);
        inner.presences.ended(serial, clock::now());
        let owner = inner.agents.remove(&serial);
        if let Some(info) = inner.listed.get_mut(&serial).filter(|info| info.ended_at.is_none()) {
            let how = info.ended(by, closing);
            self.keep(serial, info, owner.as_ref(), ("ended", &how));
            inner.live -= 1;
        }
        let agent = inner.holders.remove(&serial)?;
        if let Some(slots) = inner.slots.get_mut(&agent) {
            slots.retain(|slot| slot.serial != serial);
            if slots.is_empty() {
                inner.slots.remove(&agent);
            }
        }
        Some(agent)
    }

    /// Forgets the sessions that ended.
    pub(crate) fn forget_ended(&self) {
        let mut inner = lock(&self.inner);
        inner.listed.retain(|_, info| info.ended_at.is_none());
        for (serial, info) in inner.listed.iter().filter(|(_, info)| info.accepted) {
            self.journal.put(Table::Sessions, *serial, info);
        }
    }

    /// How many sessions live, refused ones that are not closed yet included.
    pub(crate) fn live(&self) -> usize {
        lock(&self.inner).live
    }

    /// How many sessions of an agent live; without one, of all.
    pub(crate) fn live_of(&self, agent: Option<Uuid>) -> usize {
        let Some(agent) = agent.map(|id| id.to_string()) else { return self.live() };
        let live = |info: &&SessionInfo| info.ended_at.is_none() && info.agent_id.as_ref() == Some(&agent);
        lock(&self.inner).listed.values().filter(live).count()
    }

    /// Whether an accepted session lives; of an agent and a worker, if they are named.
    pub(crate) fn is_online(&self, agent: Option<Uuid>, worker: Option<&str>) -> bool {
        let agent = agent.map(|id| id.to_string());
        let wanted = |info: &SessionInfo| {
            info.accepted
                && info.ended_at.is_none()
                && (agent.is_none() || info.agent_id == agent)
                && worker.is_none_or(|id| info.worker_id.as_deref() == Some(id))
        };
        // The newest are the likely ones.
        lock(&self.inner).listed.values().rev().any(wanted)
    }

    /// Some of the listed sessions: live ones first, the newest of each first.
    pub(crate) fn newest(&self, most: usize) -> Vec<SessionInfo> {
        let inner = lock(&self.inner);
        let of = |live: bool| inner.listed.values().rev().filter(move |info| info.ended_at.is_none() == live);
        of(true).chain(of(false)).take(most).cloned().collect()
    }

    /// Every listed session, oldest first.
    pub(crate) fn list(&self) -> Vec<SessionInfo> {
        lock(&self.inner).listed.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn what_was_counted_outlives_a_brain_that_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let journal = || Arc::new(Journal::open(dir.path(), 1 << 20, &Arc::default()).unwrap());
        let sessions = Sessions::new(&journal()).unwrap();
        let serial = sessions.open("s", Transport::Websocket, (Ipv4Addr::LOCALHOST, 1).into());
        sessions.accepted(serial);
        for kind in [FrameType::Heartbeat, FrameType::EventBatch, FrameType::EventBatch] {
            sessions.counted(serial, kind);
        }
        sessions.keep_counts();
        // Nobody told it that the session ended.
        sessions.journal.close();
        drop(sessions);
        let list = Sessions::new(&journal()).unwrap().list();
        let told: Vec<_> = list.iter().map(|info| (info.frames, info.heartbeats, info.closed_by)).collect();
        assert_eq!(told, [(3, 1, Some(ClosedBy::Network))]);
    }
}
