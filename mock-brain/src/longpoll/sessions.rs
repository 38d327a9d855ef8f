//! Long-poll sessions: one for each agent and session nonce.
//!
//! Owns the sequence state of each and the rule of the tombstone: a failed signature ends the nonce, and the
//! agent's new nonces too, until a probe with a fresh one clears them (protocol.md, Transports). Bounded:
//! agents are known ones, each has up to 16 nonces, and those that fall idle are forgotten.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use bytes::Bytes;
use uuid::Uuid;
use z4j_protocol::{Class, Frame, Refusal, Timestamp};

use super::caller::Caller;
use crate::clock;
use crate::commands::Delivery;
use crate::hub::Hub;
use crate::lock::lock;
use crate::registry::Agent;
use crate::sessions::{ClosedBy, Serial, Transport};
use crate::verdict::Closing;
use crate::violation::{Conduct, Culprit, Rule};
use crate::voice::{Ear, Oddities, Pen};

/// Most nonces of one agent; a further one takes the place of the one idle longest.
const MAX_NONCES: usize = 16;
/// Most nonces of all agents.
const MAX_SESSIONS: usize = 4_096;
/// After this long without a request a nonce is forgotten, in seconds.
const IDLE_SECONDS: i64 = 300;

/// So many requests may still be on their way when a session ends.
const MAX_DEAD_USES: u32 = 2;

/// The HTTP status that ends a session here, listed where a websocket has its close code.
const CONFLICT: u16 = 409;

/// Why a request meets no session: 409, or 503 where there is no room for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalidated {
    /// A signature or replay check failed, now or before.
    #[error("session invalidated: a frame failed verification; probe with a new session nonce")]
    Signature,
    /// Another nonce of this agent failed.
    #[error("session invalidated: probe with a new session nonce before using it")]
    ProbeFirst,
    /// All of this agent's sessions have a request at work.
    #[error("per-agent session capacity is used up: {MAX_NONCES} sessions have requests at work")]
    AgentFull,
    /// There are too many sessions.
    #[error("session capacity is used up: there are {MAX_SESSIONS} long-poll sessions")]
    Full,
}

/// What a request wants of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Probe,
    Poll,
    Post,
}

/// A nonce as it is kept: its SHA-256, so that long ones cost nothing.
type NonceKey = [u8; 32];

enum Session {
    Live(Box<Pair>),
    /// How often it was used since.
    Tombstone(u32),
}

/// The two directions of a session.
struct Pair {
    ear: Ear,
    conduct: Conduct,
    pen: Pen,
}

impl Pair {
    fn new(hub: &Hub, agent: &Agent, nonce: &str) -> Self {
        Self {
            ear: Ear::new(agent, nonce, hub.release),
            conduct: Conduct::new(hub.violations.is_strict(), false),
            pen: Pen::new(agent, nonce, hub.release, hub.oddities.as_ref().map(Oddities::roll)),
        }
    }

    fn hear(&mut self, agent: &Agent, frame: &Frame, now: Timestamp) -> Result<(), Refusal> {
        self.ear.verify(agent, &mut self.pen, frame, now)
    }

    fn commands(&mut self, deliveries: &[Delivery], now: Timestamp) -> Vec<String> {
        let texts = deliveries.iter().filter_map(|delivery| match self.pen.command(delivery, now) {
            Ok(text) => Some(text),
            Err(error) => {
                tracing::error!(%error, "a command cannot be written");
                None
            }
        });
        texts.collect()
    }
}

struct Entry {
    session: Session,
    used_at: Timestamp,
    /// Requests at work.
    in_flight: u32,
    /// Its place in the session list, from the first good frame on.
    listed: Option<(Serial, Arc<str>)>,
}

/// The session that a frame is of, once it has an id, and what is wrong with the frame.
pub(crate) type Verdict = (Option<Arc<str>>, Result<(), Refusal>);

type Nonces = HashMap<NonceKey, Entry>;

/// The long-poll sessions of one brain.
#[derive(Default)]
pub(crate) struct LongPollSessions(Mutex<HashMap<Uuid, Nonces>>);

impl LongPollSessions {
    /// Finds or makes the session of a request.
    pub(crate) fn enter<'s>(
        &'s self,
        hub: &Hub,
        caller: Caller<'_>,
        used: Use,
    ) -> Result<InFlight<'s>, Invalidated> {
        let Caller { agent, nonce, .. } = caller;
        let now = clock::now();
        let note = |rule, detail| {
            hub.violations.note(Culprit { session: None, agent: Some(agent) }, rule, detail, None);
        };
        let mut agents = lock(&self.0);
        let count: usize = agents.values().map(HashMap::len).sum();
        let nonces = agents.entry(agent.id).or_default();
        forget(hub, nonces, |entry| entry.is_idle(now));
        let key = key(nonce);
        // Made on success only: dropping one takes the lock that is held here.
        let in_flight = || InFlight { sessions: self, agent: agent.id, key };
        if let Some(entry) = nonces.get_mut(&key) {
            if let Session::Tombstone(uses) = &mut entry.session {
                *uses += 1;
                if *uses == MAX_DEAD_USES + 1 {
                    note(Rule::DeadNonce, "the session of its nonce ended, and it is used on");
                }
                return Err(Invalidated::Signature);
            }
            entry.used_at = now;
            entry.in_flight += 1;
            return Ok(in_flight());
        }
        let is_dead = |entry: &Entry| matches!(entry.session, Session::Tombstone(_));
        if used == Use::Probe {
            forget(hub, nonces, is_dead);
        } else if nonces.values().any(is_dead) {
            return Err(Invalidated::ProbeFirst);
        }
        if nonce.is_empty() {
            note(Rule::NonceMissing, "no X-Z4J-Session-Nonce");
        } else if used != Use::Probe {
            note(Rule::ProbeFirst, "a session nonce that was not probed");
        }
        evict(hub, nonces)?;
        if count >= MAX_SESSIONS {
            return Err(Invalidated::Full);
        }
        let session = Session::Live(Box::new(Pair::new(hub, agent, nonce)));
        nonces.insert(key, Entry { session, used_at: now, in_flight: 1, listed: None });
        Ok(in_flight())
    }

    /// Forgets what fell idle, of agents that do not come any more too.
    pub(crate) fn forget_idle(&self, hub: &Hub, now: Timestamp) {
        lock(&self.0).retain(|_, nonces| {
            forget(hub, nonces, |entry| entry.is_idle(now));
            !nonces.is_empty()
        });
    }

    /// Ends all of them, as a brain does that stops.
    pub(crate) fn end_all(&self, hub: &Hub) {
        for entry in lock(&self.0).drain().flat_map(|(_, nonces)| nonces.into_values()) {
            entry.end(hub, ClosedBy::Brain, "the brain stops");
        }
    }

    /// Verifies a frame in a session that was entered. A failed signature leaves a tombstone.
    pub(crate) fn verify(
        &self,
        hub: &Hub,
        caller: Caller<'_>,
        peer: SocketAddr,
        (frame, raw): (&Frame, &Bytes),
        now: Timestamp,
    ) -> Result<Verdict, Invalidated> {
        let Caller { agent, nonce, .. } = caller;
        let mut agents = lock(&self.0);
        let entry = agents.get_mut(&agent.id).and_then(|nonces| nonces.get_mut(&key(nonce)));
        let Some(entry) = entry else { return Err(Invalidated::ProbeFirst) };
        let Session::Live(pair) = &mut entry.session else { return Err(Invalidated::Signature) };
        let heard_at = now.plus_seconds(caller.ahead());
        let verdict = match caller.with_other_secret() {
            // Nothing verifies with that one, and nothing is to be kept of it.
            Some(other) => Pair::new(hub, &other, nonce).hear(&other, frame, heard_at),
            None => pair.hear(agent, frame, heard_at),
        };
        let mut found = match verdict {
            Ok(()) => pair.conduct.judge(frame, now),
            // What a brain with another secret or time refuses is not the agent's fault.
            Err(_) if caller.is_misread() => Vec::new(),
            Err(refusal) => pair.conduct.refused(refusal).into_iter().collect(),
        };
        match verdict {
            Ok(()) => {
                entry.counted(hub, agent, peer, frame);
                found.extend(hub.answered(agent, frame));
            }
            Err(refusal) if refusal.class() == Class::InvalidSignature => {
                entry.bury(hub, agent, peer, refusal);
            }
            Err(_) => {}
        }
        let id = entry.listed.as_ref().map(|(_, id)| Arc::clone(id));
        hub.violations.note_all(Culprit { session: id.as_ref(), agent: Some(agent) }, found, Some(raw));
        Ok((id, verdict))
    }

    /// Signs commands in a session that was entered.
    pub(crate) fn sign(
        &self,
        hub: &Hub,
        caller: Caller<'_>,
        deliveries: &[Delivery],
        now: Timestamp,
    ) -> Result<Vec<String>, Invalidated> {
        let Caller { agent, nonce, .. } = caller;
        let now = now.plus_seconds(caller.ahead());
        let mut agents = lock(&self.0);
        let entry = agents.get_mut(&agent.id).and_then(|nonces| nonces.get_mut(&key(nonce)));
        match entry.map(|entry| &mut entry.session) {
            Some(Session::Live(pair)) => Ok(match caller.with_other_secret() {
                Some(other) => Pair::new(hub, &other, nonce).commands(deliveries, now),
                None => pair.commands(deliveries, now),
            }),
            Some(Session::Tombstone(_)) => Err(Invalidated::Signature),
            None => Err(Invalidated::ProbeFirst),
        }
    }
}

impl Entry {
    fn is_idle(&self, now: Timestamp) -> bool {
        self.in_flight == 0 && now.micros_since(self.used_at) >= IDLE_SECONDS * 1_000_000
    }

    /// Its place in the session list, made at the first call.
    fn list(&mut self, hub: &Hub, agent: &Arc<Agent>, peer: SocketAddr) -> (Serial, Arc<str>) {
        let listed = self.listed.get_or_insert_with(|| {
            let id = Uuid::new_v4().to_string();
            let serial = hub.sessions.open(&id, Transport::LongPoll, peer);
            hub.sessions.identified(serial, agent);
            (serial, id.into())
        });
        listed.clone()
    }

    fn counted(&mut self, hub: &Hub, agent: &Arc<Agent>, peer: SocketAddr, frame: &Frame) {
        let is_new = self.listed.is_none();
        let (serial, id) = self.list(hub, agent, peer);
        if is_new {
            hub.sessions.accepted(serial);
            tracing::info!(session = %id, %peer, agent = %agent.name, "long-poll session started");
        }
        hub.sessions.counted(serial, frame.frame_type());
    }

    fn bury(&mut self, hub: &Hub, agent: &Arc<Agent>, peer: SocketAddr, refusal: Refusal) {
        let (serial, id) = self.list(hub, agent, peer);
        self.session = Session::Tombstone(0);
        let closing = Closing::new(CONFLICT, refusal.to_string());
        hub.session_ended(serial, ClosedBy::Brain, Some(&closing));
        tracing::info!(session = %id, %peer, code = CONFLICT, detail = %refusal, "long-poll session ended");
    }

    /// Lists the end of a session that no refusal ended before.
    fn end(self, hub: &Hub, by: ClosedBy, why: &str) {
        let live = matches!(self.session, Session::Live(_));
        if let Some((serial, id)) = self.listed.filter(|_| live) {
            hub.session_ended(serial, by, None);
            tracing::info!(session = %id, by = by.as_str(), detail = why, "long-poll session ended");
        }
    }
}

/// A request at work on a session, until it is dropped.
pub(crate) struct InFlight<'s> {
    sessions: &'s LongPollSessions,
    agent: Uuid,
    key: NonceKey,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut agents = lock(&self.sessions.0);
        let entry = agents.get_mut(&self.agent).and_then(|nonces| nonces.get_mut(&self.key));
        if let Some(entry) = entry {
            // The nonce may have been forgotten and begun anew meanwhile.
            entry.in_flight = entry.in_flight.saturating_sub(1);
        }
    }
}

/// Makes room for one more, in place of the one that is idle longest.
fn evict(hub: &Hub, nonces: &mut Nonces) -> Result<(), Invalidated> {
    while nonces.len() >= MAX_NONCES {
        let idle = nonces.values().filter(|entry| entry.in_flight == 0);
        let oldest = idle.map(|entry| entry.used_at).min().ok_or(Invalidated::AgentFull)?;
        forget(hub, nonces, |entry| entry.in_flight == 0 && entry.used_at == oldest);
    }
    Ok(())
}

fn forget(hub: &Hub, nonces: &mut Nonces, which: impl Fn(&Entry) -> bool) {
    for (_, entry) in nonces.extract_if(|_, entry| which(entry)) {
        entry.end(hub, ClosedBy::Network, "not used any more");
    }
}

fn key(nonce: &str) -> NonceKey {
    let mut key = NonceKey::default();
    key.copy_from_slice(digest::digest(&digest::SHA256, nonce.as_bytes()).as_ref());
    key
}
