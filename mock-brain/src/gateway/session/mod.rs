//! One session: token, hello, then frames until it ends.
//!
//! Owns the order of the checks (protocol.md, Session) and the points at which faults strike. Must not
//! decide what a failed check leads to (`verdict`) or what a frame means (`frames`).

mod ending;
mod hello;
mod login;
mod wear;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use uuid::Uuid;
use z4j_protocol::{FrameType, Timestamp, close};

use super::frames::Established;
use super::link::Link;
use crate::clock;
use crate::commands::Delivery;
use crate::fault::table::Site;
use crate::fault::{Fault, Point, Ws};
use crate::hub::{Farewell, Hub, Limits};
use crate::journal::{Entry, Kind};
use crate::listener;
use crate::quote::quote;
use crate::registry::Agent;
use crate::sessions::{Serial, Signals, Transport};
use crate::stream::wire::Cut;
use crate::verdict::{self, Closing};
use crate::violation::{Beats, Culprit, Found, Key, Rule};
use crate::voice::{Pen, Quirks};
use crate::web::Peer;
use ending::unwritten;
pub(super) use ending::{Ending, message, unsendable};

/// Takes an upgraded connection to its end.
pub(super) async fn run(
    hub: &Arc<Hub>,
    peer: Peer,
    link: Link,
    (limits, mut quirks): (Limits, Option<Quirks>),
    headers: &HeaderMap,
) {
    let id = quirks.as_mut().map_or_else(|| Uuid::new_v4().to_string(), Quirks::session_id);
    let serial = hub.sessions.open(&id, Transport::Websocket, peer.address);
    let signals = Arc::new(Signals::default());
    let mut killed = peer.killed.clone();
    let mut session = Session {
        hub,
        peer,
        link,
        id: id.into(),
        serial,
        signals: Arc::clone(&signals),
        agent: None,
        worker: None,
        ahead: 0,
        misreads: false,
        sending: None,
        proved: false,
        beats: None,
        limits,
        quirks,
    };
    let ending = tokio::select! {
        ended = session.converse(headers) => match ended {
            Ok(never) => match never {},
            Err(ending) => ending,
        },
        closing = signals.closed() => Ending::Close(closing),
        () = hub.stopping() => Ending::close(close::RESTART, ""),
        _ = killed.changed() => match *killed.borrow() {
            Farewell::None => Ending::Gone("the brain went down".to_owned()),
            Farewell::Restart => Ending::close(close::RESTART, "the brain went down"),
        },
    };
    session.remember(headers, &ending);
    Box::pin(session.end(ending)).await;
}

/// A session never ends well: every end is an [`Ending`].
pub(super) enum Never {}

pub(super) struct Session<'h> {
    pub(super) hub: &'h Arc<Hub>,
    peer: Peer,
    pub(super) link: Link,
    pub(super) id: Arc<str>,
    pub(super) serial: Serial,
    /// What others tell this session.
    pub(super) signals: Arc<Signals>,
    /// Who it is, once that is known.
    agent: Option<Arc<Agent>>,
    worker: Option<String>,
    /// How far a fault has the brain's clock ahead, in seconds.
    ahead: i64,
    /// A fault has the brain verify with another secret or time.
    pub(super) misreads: bool,
    /// A command that is being written.
    pub(super) sending: Option<Arc<Delivery>>,
    /// Something was acknowledged: for the agent this session was a good one.
    pub(super) proved: bool,
    /// Its heartbeats, once it is established.
    pub(super) beats: Option<Beats>,
    /// What this session is told, and held to.
    pub(super) limits: Limits,
    quirks: Option<Quirks>,
}

impl Session<'_> {
    async fn converse(&mut self, headers: &HeaderMap) -> Result<Never, Ending> {
        self.turn_away(headers)?;
        if self.hub.faults.any() {
            // A fault may be meant for this agent only; whether it may come in is asked after it.
            self.agent = verdict::bearer(headers).and_then(|token| self.hub.registry.by_token(token));
        }
        self.wear();
        self.strike(Point::Upgrade, 0, 0)?;
        let (agent, login) = self.authenticate(headers)?;
        // What is over when a session is established takes no room in it: there may be thousands.
        let (hello, fault) = Box::pin(self.hello(&agent)).await?;
        let agent = self.logged_in(agent, login)?;
        let mut pen = Pen::new(&agent, &self.id, self.hub.release, self.quirks.take());
        let ack = self.hello_ack(&mut pen, &agent, &hello, fault)?;
        // The acknowledgement is written before the slot is judged, as the real brain does.
        self.hub.sessions.accepted(self.serial);
        self.send(FrameType::HelloAck, ack).await?;
        let worker = hello.worker_id.as_deref();
        if !self.hub.sessions.take_slot(self.serial, agent.id, worker, &self.signals, self.hub.limits.workers)
        {
            return Err(Ending::close(close::RATE, "too many workers of one agent"));
        }
        if !self.hub.registry.is_live(&agent) {
            return Err(Ending::close(close::REVOKED, "the agent was revoked"));
        }
        tracing::info!(
            session = %self.id, peer = %self.peer.address, agent = %agent.name, worker = %quote(worker.unwrap_or("")),
            version = %quote(&hello.agent_version), "session started"
        );
        self.hub.happened();
        Box::new(Established::new(self, agent, pen)).run().await
    }

    /// Remembers how it ended, for when the agent comes back.
    fn remember(&mut self, headers: &HeaderMap, ending: &Ending) {
        let Some(token) = verdict::bearer(headers) else { return };
        let closing = match ending {
            Ending::Close(closing) => Some(closing),
            _ => None,
        };
        let (connects, key, now) = (&self.hub.violations.connects, Key::of(token), Instant::now());
        if let Some(worker) = &self.worker {
            return connects.ended(key, worker, closing, self.proved, now);
        }
        let client = self.hub.admission.client(self.peer.address.ip(), headers);
        let found = closing.and_then(|closing| connects.refused(key, client, closing.code, now));
        if found.is_some() && self.agent.is_none() {
            self.agent = self.hub.registry.whose(token);
        }
        self.note(found, None);
    }

    /// Whether a fault strikes at this point: an end, or something for the caller to carry out.
    pub(super) fn strike(&self, point: Point, from: u64, to: u64) -> Result<Option<Fault>, Ending> {
        if !self.hub.faults.any() {
            return Ok(None);
        }
        let site =
            Site { from, to, worker: self.worker.as_deref(), ..Site::new(point, self.peer.address.ip()) };
        // Those that shape the session were looked at before, and do not stand in the way of others.
        let pick = |fault: &Fault| (!wear::shapes(fault)).then(|| fault.clone());
        let Some(fault) = self.hub.faults.take(&site.of(self.agent.as_ref()), pick) else {
            return Ok(None);
        };
        tracing::info!(session = %self.id, fault = fault.name(), point = point.as_str(), "fault strikes");
        match (&fault, listener::cut(&fault)) {
            (_, Some(Cut::Reset)) => Err(Ending::Reset),
            (_, Some(Cut::Silence(silence))) => Err(Ending::Silence(silence)),
            (Fault::Ws(Ws::Close { code, reason }), _) => {
                Err(Closing::with_reason(*code, reason, "fault ws.close").into())
            }
            (Fault::Ws(Ws::ProtocolRefused), _) => {
                Err(Ending::close(close::PROTOCOL, "fault ws.protocol-refused"))
            }
            _ => Ok(Some(fault)),
        }
    }

    /// The brain's time, as a fault has it for this session.
    pub(super) fn now(&self) -> Timestamp {
        self.hub.now().plus_seconds(self.ahead)
    }

    /// Notes what the agent does wrong.
    pub(super) fn note(&self, found: impl IntoIterator<Item = Found>, raw: Option<&Bytes>) {
        let who = Culprit { session: Some(&self.id), agent: self.agent.as_ref() };
        self.hub.violations.note_all(who, found, raw);
    }

    /// Notes what the agent's WebSocket frames break, although the session goes on.
    pub(super) fn note_breach(&mut self) {
        let breach = self.link.take_breach().map(|detail| (Rule::WsProtocol, detail));
        self.note(breach, None);
    }

    pub(super) async fn send(&mut self, frame_type: FrameType, text: String) -> Result<(), Ending> {
        let bytes = self.said(frame_type, text);
        self.link.send(bytes).await.map_err(unwritten)
    }

    /// Sends a frame in fragments.
    pub(super) async fn send_in_parts(&mut self, frame_type: FrameType, text: String) -> Result<(), Ending> {
        let bytes = self.said(frame_type, text);
        self.link.send_in_parts(bytes).await.map_err(unwritten)
    }

    /// Notes what is about to be sent.
    fn said(&self, frame_type: FrameType, text: String) -> Bytes {
        let bytes = Bytes::from(text);
        let entry = Entry::new(Kind::FrameOut, frame_type.as_str(), clock::now()).with(&bytes);
        self.hub.journal.record(entry.of_session(&self.id).of_agent(self.agent.as_ref()));
        bytes
    }

    /// Sends bytes that are no good message.
    pub(super) async fn send_raw(&mut self, bytes: &[u8]) -> Result<(), Ending> {
        self.link.send_raw(bytes).await.map_err(unwritten)
    }
}
