//! One session: token, hello, then frames until it ends.
//!
//! Owns the order of the checks (protocol.md, Session) and the points at which faults strike. Must not
//! decide what a failed check leads to (`verdict`) or what a frame means (`frames`).

use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;
use uuid::Uuid;
use z4j_protocol::payload::{Hello, HelloFrame};
use z4j_protocol::{FrameType, Timestamp, close};

use super::frames::Established;
use super::link::{Arrival, Link, Wear};
use crate::admission::TurnedAway;
use crate::clock;
use crate::fault::table::Site;
use crate::fault::{self, Fault, Point, Ws};
use crate::hub::{Farewell, Hub, Limits};
use crate::journal::{Entry, Kind};
use crate::listener;
use crate::login::Login;
use crate::quote::quote;
use crate::registry::Agent;
use crate::sessions::{ClosedBy, Serial, Signals, Transport};
use crate::stream::silence::Silence;
use crate::stream::wire::Cut;
use crate::verdict::{self, Closing};
use crate::violation::{self, Culprit, Found, Key, Rule};
use crate::voice::{Pen, Quirks};
use crate::web::Peer;

/// How a session ends.
pub(super) enum Ending {
    /// This brain closes.
    Close(Closing),
    /// A fault resets the connection.
    Reset,
    /// A fault leaves the connection open, without a word.
    Silence(Silence),
    /// The peer closed.
    Closed(Option<Closing>),
    /// The connection is gone.
    Gone(String),
}

impl From<Closing> for Ending {
    fn from(closing: Closing) -> Self {
        Self::Close(closing)
    }
}

impl Ending {
    pub(super) fn close(code: u16, detail: &str) -> Self {
        Self::Close(Closing::new(code, detail))
    }
}

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
        proved: false,
        limits,
        quirks,
    };
    let key = verdict::bearer(headers).map(Key::of);
    if let Some(found) = key.and_then(|key| hub.violations.connects.arrived(key, StdInstant::now())) {
        session.note(Some(found), None);
    }
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
    if let Some(key) = key {
        let closing = match &ending {
            Ending::Close(closing) => Some(closing),
            _ => None,
        };
        hub.violations.connects.ended(key, closing, session.proved, StdInstant::now());
    }
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
    /// Something was acknowledged: for the agent this session was a good one.
    pub(super) proved: bool,
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

    /// Whether a fault strikes at this point: an end, or something for the caller to carry out.
    pub(super) fn strike(&self, point: Point, from: u64, to: u64) -> Result<Option<Fault>, Ending> {
        if !self.hub.faults.any() {
            return Ok(None);
        }
        let site =
            Site { from, to, worker: self.worker.as_deref(), ..Site::new(point, self.peer.address.ip()) };
        let Some(fault) = self.hub.faults.take(&site.of(self.agent.as_ref()), |fault| Some(fault.clone()))
        else {
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

    /// Connects of an address are counted first, then it is looked up, whatever the token.
    fn turn_away(&self, headers: &HeaderMap) -> Result<(), Ending> {
        let admission = &self.hub.admission;
        let client = admission.client(self.peer.address.ip(), headers);
        let admitted = admission.connect(client, StdInstant::now()).and_then(|()| admission.admit(client));
        admitted.map_err(|away| match away {
            TurnedAway::TooOften(_) => {
                let detail = format!("{client} connects too often");
                Closing::with_reason(close::RATE, "agent connect rate limit exceeded", detail).into()
            }
            TurnedAway::Address => Ending::close(close::FORBIDDEN, &format!("{client} is not admitted")),
        })
    }

    /// Faults that shape a session: they go together, one of each kind.
    fn wear(&mut self) {
        if !self.hub.faults.any() {
            return;
        }
        let kinds: [fn(&Ws) -> bool; 5] = [
            |fault| matches!(fault, Ws::Buffering(_)),
            |fault| matches!(fault, Ws::IdleCut(_)),
            |fault| matches!(fault, Ws::Flap(_)),
            |fault| matches!(fault, Ws::MaxFrame(_)),
            |fault| matches!(fault, Ws::PingDropped),
        ];
        let mut wear = Wear::default();
        for is_wanted in kinds {
            let site = Site::new(Point::Upgrade, self.peer.address.ip()).of(self.agent.as_ref());
            let fault = self.hub.faults.take(&site, |fault| match fault {
                Fault::Ws(fault) if is_wanted(fault) => Some(fault.clone()),
                _ => None,
            });
            match fault {
                Some(Ws::Buffering(bytes)) => wear.hold_back = Some(bytes),
                Some(Ws::IdleCut(time)) => wear.idle_cut = Some(time),
                Some(Ws::Flap(time)) => {
                    let part = (self.hub.faults.roll() >> 40) as f64 / f64::from(1_u32 << 24);
                    wear.cut_at = Some(Instant::now() + time.mul_f64(part));
                }
                Some(Ws::MaxFrame(bytes)) => wear.max_message = Some(bytes),
                Some(_) => wear.mutes_pongs = true,
                None => {}
            }
        }
        self.link.wear(wear);
    }

    /// The brain's time, as a fault has it for this session.
    pub(super) fn now(&self) -> Timestamp {
        self.hub.now().plus_seconds(self.ahead)
    }

    /// The agent as a fault has it, once its hello was read.
    fn logged_in(&mut self, agent: Arc<Agent>, login: Option<Login>) -> Result<Arc<Agent>, Ending> {
        match login {
            Some(Login::OtherProject) => {
                let detail = "fault ws.project-mismatch";
                Err(Closing::with_reason(close::FORBIDDEN, "project_mismatch", detail).into())
            }
            Some(Login::OtherSecret) => {
                self.misreads = true;
                Ok(Arc::new(agent.with_other_secret()))
            }
            _ => Ok(agent),
        }
    }

    fn hello_ack(
        &self,
        pen: &mut Pen,
        agent: &Agent,
        hello: &Hello,
        fault: Option<fault::Hello>,
    ) -> Result<String, Ending> {
        let told = if fault == Some(fault::Hello::OtherProject) { &agent.in_other_project() } else { agent };
        let checked_slug = hello.project_id.is_some().then_some(told.project.slug.as_str());
        if fault == Some(fault::Hello::OtherVersion) {
            pen.claim_version("3");
        }
        let ack = pen.hello_ack(told, &self.id, &self.limits, checked_slug, self.now());
        ack.map_err(|error| unsendable(&error))
    }

    fn authenticate(&mut self, headers: &HeaderMap) -> Result<(Arc<Agent>, Option<Login>), Ending> {
        let token = verdict::bearer(headers).ok_or_else(|| Ending::close(close::TOKEN, "no bearer token"))?;
        let agent = self.hub.registry.by_token(token);
        let agent = agent.ok_or_else(|| Ending::close(close::TOKEN, "unknown bearer token"))?;
        self.hub.sessions.identified(self.serial, &agent);
        self.agent = Some(Arc::clone(&agent));
        let login = self.strike(Point::Login, 0, 0)?.as_ref().and_then(Login::of);
        match login {
            Some(Login::Rejected) => Err(Ending::close(close::TOKEN, "fault ws.token-rejected")),
            Some(Login::AddressRefused) => Err(Ending::close(close::FORBIDDEN, "fault ws.address-refused")),
            Some(Login::RateLimited) => {
                let reason = "agent connect rate limit exceeded";
                Err(Closing::with_reason(close::RATE, reason, "fault ws.rate-limited").into())
            }
            Some(Login::Skewed(seconds)) => {
                self.ahead = seconds.into();
                self.misreads = true;
                Ok((agent, None))
            }
            other => Ok((agent, other)),
        }
    }

    /// The first frame. It may take its time: the real brain waits for it as long as pings are answered.
    async fn hello(&mut self, agent: &Arc<Agent>) -> Result<(Hello, Option<fault::Hello>), Ending> {
        let since = Instant::now();
        let bytes = message(self.link.next().await)?;
        let late = since.elapsed();
        let read = HelloFrame::parse(&bytes).map_err(|refusal| verdict::malformed(refusal.to_string()));
        let judged = read.map(|frame| (verdict::hello(&frame.hello, &agent.project), frame.hello));
        let verdict = match &judged {
            Ok((Ok(()), _)) => "ok",
            Ok((Err(closing), _)) | Err(closing) => &closing.detail,
        };
        let entry = Entry::new(Kind::Handshake, "hello", clock::now()).saying(verdict).with(&bytes);
        self.hub.journal.record(entry.of_session(&self.id).of_agent(Some(agent)));
        let broken = match &judged {
            Ok((Err(closing), _)) | Err(closing) => closing.rule.map(|rule| (rule, closing.detail.clone())),
            Ok((Ok(()), _)) => None,
        };
        self.note(broken, Some(&bytes));
        if self.hub.violations.is_strict() {
            self.note(violation::judge_hello(&bytes), Some(&bytes));
            let text = self.link.was_text().then(|| (Rule::WsText, "a hello in a text message".to_owned()));
            self.note(text, Some(&bytes));
            let is_late = late > HELLO_TIME;
            self.note(is_late.then(|| (Rule::HelloLate, format!("after {} s", late.as_secs()))), None);
        }
        let unruled = |closing: Closing| Closing { rule: None, ..closing };
        let (allowed, hello) = judged.map_err(unruled)?;
        let allowed = allowed.map_err(unruled);
        self.hub.sessions.greeted(self.serial, &hello);
        self.worker.clone_from(&hello.worker_id);
        let fault = match self.strike(Point::Hello, 0, 0)? {
            Some(Fault::Hello(fault)) => Some(fault),
            _ => None,
        };
        match fault {
            Some(fault::Hello::NoAck) => loop {
                message(self.link.next().await)?;
            },
            Some(fault::Hello::Late(time)) => tokio::time::sleep(time).await,
            _ => {}
        }
        allowed?;
        Ok((hello, fault))
    }

    /// Notes what the agent does wrong.
    pub(super) fn note(&self, found: impl IntoIterator<Item = Found>, raw: Option<&Bytes>) {
        let who = Culprit { session: Some(&self.id), agent: self.agent.as_ref() };
        self.hub.violations.note_all(who, found, raw);
    }

    pub(super) async fn send(&mut self, frame_type: FrameType, text: String) -> Result<(), Ending> {
        let bytes = Bytes::from(text);
        let entry = Entry::new(Kind::FrameOut, frame_type.as_str(), clock::now()).with(&bytes);
        self.hub.journal.record(entry.of_session(&self.id).of_agent(self.agent.as_ref()));
        self.link.send(bytes).await.map_err(unwritten)
    }

    /// Sends bytes that are no good message.
    pub(super) async fn send_raw(&mut self, bytes: &[u8]) -> Result<(), Ending> {
        self.link.send_raw(bytes).await.map_err(unwritten)
    }

    /// Lists the end first and sends it then: whoever sees the close frame finds it in the list.
    async fn end(self, ending: Ending) {
        let (by, closing) = match &ending {
            Ending::Close(closing) => (ClosedBy::Brain, Some(closing.clone())),
            Ending::Reset | Ending::Silence(_) => (ClosedBy::Brain, None),
            Ending::Closed(closing) => (ClosedBy::Agent, closing.clone()),
            Ending::Gone(_) => (ClosedBy::Network, None),
        };
        let broken = closing.as_ref().and_then(|closing| Some((closing.rule?, closing.detail.clone())));
        self.note(broken, None);
        self.hub.session_ended(self.serial, by, closing.as_ref());
        let detail = match &ending {
            Ending::Reset => "fault tcp.reset",
            Ending::Silence(_) => "a fault ends it without a word",
            Ending::Gone(why) => why,
            _ => closing.as_ref().map_or("", |closing| &closing.detail),
        };
        let (code, reason) = closing.as_ref().map_or((0, ""), |closing| (closing.code, &closing.reason));
        tracing::info!(
            session = %self.id, peer = %self.peer.address, code, reason = %quote(reason), by = by.as_str(), detail,
            "session ended"
        );
        match ending {
            Ending::Close(closing) => self.link.close(&closing).await,
            Ending::Reset => self.link.reset(),
            Ending::Silence(silence) => {
                if let Some(socket) = self.link.into_socket() {
                    self.hub.hold(socket, silence);
                }
            }
            Ending::Closed(_) => self.link.finish().await,
            Ending::Gone(_) => {}
        }
    }
}

fn unwritten(arrival: Arrival) -> Ending {
    match arrival {
        Arrival::Gone(why) => Ending::Gone(why),
        _ => Ending::Gone("the connection cannot be written to".to_owned()),
    }
}

/// How long a hello may take until it is late (protocol.md, Session); the real brain waits on.
const HELLO_TIME: Duration = Duration::from_secs(10);
/// RFC 6455, 7.4.1: a text message that is not UTF-8.
const NOT_UTF8: u16 = 1007;

/// The message of an arrival.
pub(super) fn message(arrival: Arrival) -> Result<Bytes, Ending> {
    match arrival {
        Arrival::Message(bytes) => Ok(bytes),
        Arrival::NotUtf8 => {
            Err(Closing::new(NOT_UTF8, "a text message is not UTF-8").breaking(Rule::WsUtf8).into())
        }
        Arrival::OverLimit => Err(Closing::new(close::BAD_FIRST_FRAME, "message over the frame limit")
            .breaking(Rule::WsTooLarge)
            .into()),
        Arrival::Fatal(closing) => Err(closing.into()),
        Arrival::Closed(closing) => Err(Ending::Closed(closing)),
        Arrival::Gone(why) => Err(Ending::Gone(why)),
        Arrival::Cut => Err(Ending::Silence(Silence::Closed)),
    }
}

/// A frame of our own that cannot be written: this brain's fault.
pub(super) fn unsendable(error: &dyn std::error::Error) -> Ending {
    tracing::error!(%error, "a frame cannot be written");
    Ending::close(close::INTERNAL, "a frame cannot be written")
}
