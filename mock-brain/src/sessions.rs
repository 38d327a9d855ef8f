//! Sessions, live and ended, and who holds which worker slot.
//!
//! Owns the list that people look at and the rule that one slot has one connection. Must not close sockets:
//! it wakes the session that has to go.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use utoipa::ToSchema;
use uuid::Uuid;
use z4j_protocol::payload::Hello;
use z4j_protocol::{FrameType, close};

use crate::clock;
use crate::journal::{Entry, Journal, JournalError, Kind, Table};
use crate::lock::lock;
use crate::presence::{Presence, Presences};
use crate::registry::Agent;
use crate::verdict::Closing;

/// Most sessions listed; the oldest ended ones go first.
const MAX_LISTED: usize = 10_000;
/// Most characters of a peer's text in the list.
const MAX_TEXT_CHARS: usize = 128;
/// Most engine names of a session in the list.
const MAX_ENGINES: usize = 16;

/// How an agent is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// `/ws/agent`.
    Websocket,
    /// `/api/v1/agent/…`.
    LongPoll,
}

/// Who ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClosedBy {
    /// This brain.
    Brain,
    /// The agent, by a close frame.
    Agent,
    /// Nobody said so: the connection ended.
    Network,
}

impl ClosedBy {
    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Brain => "brain",
            Self::Agent => "agent",
            Self::Network => "network",
        }
    }
}

/// A session: every websocket that was accepted, and every long-poll session that sent a good frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionInfo {
    /// The id told in hello_ack; one of our own for long-poll.
    pub id: String,
    /// How the agent is connected.
    pub transport: Transport,
    /// The peer's address.
    pub peer: String,
    /// The agent's name, once the token is known.
    pub agent_name: Option<String>,
    /// The agent's UUID.
    pub agent_id: Option<String>,
    /// The worker slot that hello asked for.
    pub worker_id: Option<String>,
    /// The agent's release, from hello.
    pub agent_version: Option<String>,
    /// The framework, from hello.
    pub framework: Option<String>,
    /// The first engines, from hello.
    pub engines: Vec<String>,
    /// Whether a hello_ack was sent (for long-poll: a frame verified).
    pub accepted: bool,
    /// Signed frames that were verified.
    pub frames: u64,
    /// How many of them were heartbeats.
    pub heartbeats: u64,
    /// When the upgrade was accepted, ISO 8601.
    pub opened_at: String,
    /// When it ended; none while it lives.
    pub ended_at: Option<String>,
    /// The close code that was sent or received; 409 for a long-poll session that was invalidated.
    pub close_code: Option<u16>,
    /// The close reason that was sent or received.
    pub close_reason: Option<String>,
    /// Who ended it.
    pub closed_by: Option<ClosedBy>,
    /// Which check refused it, or what ended it, in words.
    pub detail: Option<String>,
}

/// A session's place in the list.
pub(crate) type Serial = u64;

/// What others tell a session while it runs.
#[derive(Default)]
pub(crate) struct Signals {
    end: watch::Sender<Option<Closing>>,
    commands: Notify,
}

impl Signals {
    /// Tells the session to close; the first one to say so is heard.
    fn close(&self, closing: Closing) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            if first {
                *end = Some(closing);
            }
            first
        });
    }

    /// Returns once somebody told the session to close.
    pub(crate) async fn closed(&self) -> Closing {
        let mut end = self.end.subscribe();
        let told = end.wait_for(Option::is_some).await;
        // An error would mean that the sender is gone, and it lives in `self`.
        told.ok().and_then(|told| told.clone()).unwrap_or_else(|| Closing::new(close::INTERNAL, ""))
    }

    /// Returns once there may be commands to deliver.
    pub(crate) async fn commands(&self) {
        self.commands.notified().await;
    }

    pub(crate) fn deliver_commands(&self) {
        self.commands.notify_one();
    }
}

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
                info.detail = Some("the brain that had it was killed".to_owned());
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
        inner.listed.insert(serial, new_info(id, transport, peer));
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

    pub(crate) fn identified(&self, serial: Serial, agent: &Agent) {
        self.update(serial, |info, presences| {
            presences.identified(serial, agent.id);
            info.agent_name = Some(agent.name.clone());
            info.agent_id = Some(agent.id.to_string());
        });
    }

    pub(crate) fn greeted(&self, serial: Serial, hello: &Hello) {
        self.update(serial, |info, presences| {
            presences.greeted(serial, hello, clock::now());
            info.worker_id = hello.worker_id.as_deref().map(cut);
            info.agent_version = Some(cut(&hello.agent_version));
            info.framework = Some(cut(&hello.framework));
            info.engines = hello.engines.iter().take(MAX_ENGINES).map(|engine| cut(engine)).collect();
        });
    }

    pub(crate) fn accepted(&self, serial: Serial) {
        self.update(serial, |info, presences| {
            presences.accepted(serial, clock::now());
            info.accepted = true;
            self.keep(serial, info, "accepted", &info.peer);
        });
    }

    /// Journals a session as it is now.
    fn keep(&self, serial: Serial, info: &SessionInfo, what: &str, detail: &str) {
        self.journal.put(Table::Sessions, serial, info);
        let entry = Entry::new(Kind::Session, what, clock::now()).saying(detail);
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
        if let Some(info) = inner.listed.get_mut(&serial).filter(|info| info.ended_at.is_none()) {
            info.ended_at = Some(clock::now().to_string());
            info.closed_by = Some(by);
            info.close_code = closing.map(|closing| closing.code);
            info.close_reason = closing.map(|closing| cut(&closing.reason));
            info.detail = closing.map(|closing| closing.detail.clone()).filter(|detail| !detail.is_empty());
            let code = info.close_code.map(|code| format!(" with {code}")).unwrap_or_default();
            let detail = info.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
            self.keep(serial, info, "ended", &format!("by {}{code}{detail}", by.as_str()));
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

/// A peer's text as it is listed: cut, because thousands of sessions are kept.
fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}

fn new_info(id: &str, transport: Transport, peer: SocketAddr) -> SessionInfo {
    SessionInfo {
        id: id.to_owned(),
        transport,
        peer: peer.to_string(),
        agent_name: None,
        agent_id: None,
        worker_id: None,
        agent_version: None,
        framework: None,
        engines: Vec::new(),
        accepted: false,
        frames: 0,
        heartbeats: 0,
        opened_at: clock::now().to_string(),
        ended_at: None,
        close_code: None,
        close_reason: None,
        closed_by: None,
        detail: None,
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
