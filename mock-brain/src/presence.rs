//! What is known of each agent and its workers: what they said of themselves, and when they were seen.
//!
//! Owns the rule of who is online. Bounded: the agents are known ones, each has up to 64 workers here, and what
//! a hello says is cut. Lives under the lock of `sessions`.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;
use z4j_protocol::Timestamp;
use z4j_protocol::payload::Hello;

use crate::sessions::Serial;

/// A connection without a frame for this long does not make its agent online: the real brain's limit and the
/// interval of its sweep.
const SILENT_MICROS: i64 = 40_000_000;
/// Most workers kept of an agent; those gone longest go first.
const MAX_WORKERS: usize = 64;
/// Most names in a list, and most lists.
const MAX_NAMES: usize = 64;
/// Most characters of a name.
const MAX_CHARS: usize = 128;

/// What an agent said of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Greeting {
    pub(crate) protocol_version: String,
    pub(crate) agent_version: String,
    pub(crate) framework: String,
    pub(crate) engines: Vec<String>,
    pub(crate) schedulers: Vec<String>,
    pub(crate) capabilities: BTreeMap<String, Vec<String>>,
    pub(crate) host_name: Option<String>,
}

impl Greeting {
    fn of(hello: &Hello) -> Self {
        let capabilities = hello.capabilities.iter().take(MAX_NAMES);
        Self {
            protocol_version: cut(&hello.protocol_version),
            agent_version: cut(&hello.agent_version),
            framework: cut(&hello.framework),
            engines: all_cut(&hello.engines),
            schedulers: all_cut(&hello.schedulers),
            capabilities: capabilities.map(|(name, tokens)| (cut(name), all_cut(tokens))).collect(),
            host_name: hello.host.name.as_deref().map(cut),
        }
    }
}

/// A worker of an agent.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) id: Uuid,
    pub(crate) worker_id: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) framework: String,
    pub(crate) pid: Option<u64>,
    pub(crate) started_at: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) connected_at: Timestamp,
    pub(crate) seen_at: Timestamp,
    pub(crate) changed_at: Timestamp,
    live: Option<Serial>,
}

impl Worker {
    pub(crate) fn is_online(&self, now: Timestamp) -> bool {
        self.live.is_some() && now.micros_since(self.seen_at) < SILENT_MICROS
    }
}

/// An agent, as it was seen.
#[derive(Clone, Debug)]
pub(crate) struct Presence {
    /// Its last hello; none over long-poll.
    pub(crate) greeting: Option<Greeting>,
    pub(crate) connected_at: Timestamp,
    pub(crate) seen_at: Timestamp,
    pub(crate) workers: Vec<Worker>,
    live: usize,
}

impl Presence {
    pub(crate) fn is_online(&self, now: Timestamp) -> bool {
        self.live > 0 && now.micros_since(self.seen_at) < SILENT_MICROS
    }
}

/// A session that has not ended.
struct Link {
    agent: Uuid,
    /// What it said, until it is let in.
    said: Option<Box<(Greeting, Worker)>>,
    accepted: bool,
}

/// Every agent that was ever seen.
#[derive(Default)]
pub(crate) struct Presences {
    agents: HashMap<Uuid, Presence>,
    links: HashMap<Serial, Link>,
}

impl Presences {
    pub(crate) fn of(&self, agent: Uuid) -> Option<&Presence> {
        self.agents.get(&agent)
    }

    pub(crate) fn identified(&mut self, serial: Serial, agent: Uuid) {
        self.links.insert(serial, Link { agent, said: None, accepted: false });
    }

    pub(crate) fn greeted(&mut self, serial: Serial, hello: &Hello, now: Timestamp) {
        let Some(link) = self.links.get_mut(&serial) else { return };
        let worker = Worker {
            id: Uuid::new_v4(),
            worker_id: hello.worker_id.as_deref().map(cut),
            role: hello.worker_role.as_deref().map(cut),
            framework: cut(&hello.framework),
            pid: hello.worker_pid,
            started_at: hello.worker_started_at.as_deref().map(cut),
            created_at: now,
            connected_at: now,
            seen_at: now,
            changed_at: now,
            live: Some(serial),
        };
        link.said = Some(Box::new((Greeting::of(hello), worker)));
    }

    pub(crate) fn accepted(&mut self, serial: Serial, now: Timestamp) {
        let Some(link) = self.links.get_mut(&serial) else { return };
        link.accepted = true;
        let presence = self.agents.entry(link.agent).or_insert_with(|| Presence {
            greeting: None,
            connected_at: now,
            seen_at: now,
            workers: Vec::new(),
            live: 0,
        });
        presence.live += 1;
        (presence.connected_at, presence.seen_at) = (now, now);
        let Some((greeting, worker)) = link.said.take().map(|said| *said) else { return };
        presence.greeting = Some(greeting);
        match presence.workers.iter_mut().find(|known| known.worker_id == worker.worker_id) {
            Some(known) => *known = Worker { id: known.id, created_at: known.created_at, ..worker },
            None => presence.workers.push(worker),
        }
        if presence.workers.len() > MAX_WORKERS {
            let gone = presence.workers.iter().position(|worker| worker.live.is_none());
            presence.workers.remove(gone.unwrap_or_default());
        }
    }

    /// A frame came.
    pub(crate) fn seen(&mut self, serial: Serial, now: Timestamp) {
        let Some(link) = self.links.get(&serial) else { return };
        let Some(presence) = self.agents.get_mut(&link.agent) else { return };
        presence.seen_at = now;
        for worker in presence.workers.iter_mut().filter(|worker| worker.live == Some(serial)) {
            (worker.seen_at, worker.changed_at) = (now, now);
        }
    }

    pub(crate) fn ended(&mut self, serial: Serial, now: Timestamp) {
        let Some(link) = self.links.remove(&serial) else { return };
        let Some(presence) = self.agents.get_mut(&link.agent).filter(|_| link.accepted) else { return };
        presence.live = presence.live.saturating_sub(1);
        for worker in presence.workers.iter_mut().filter(|worker| worker.live == Some(serial)) {
            (worker.live, worker.changed_at) = (None, now);
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_CHARS).collect()
}

fn all_cut(texts: &[String]) -> Vec<String> {
    texts.iter().take(MAX_NAMES).map(|text| cut(text)).collect()
}
