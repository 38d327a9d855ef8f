//! One session: token, hello, then frames until it ends.
//!
//! Owns the order of the checks (protocol.md, Session) and the points at which faults strike. Must not
//! decide what a failed check leads to (`verdict`) or what a frame means (`reply`).

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;
use z4j_protocol::payload::{Hello, HelloFrame};
use z4j_protocol::{Frame, Reason, Value, Verifier, close};

use super::link::{Arrival, Link};
use super::reply::Replies;
use crate::clock;
use crate::fault::{Fault, Point, Tcp, Ws};
use crate::hub::Hub;
use crate::quote::quote;
use crate::registry::Agent;
use crate::sessions::{ClosedBy, Serial, Signals, Transport};
use crate::verdict::{self, Closing};
use crate::web::Peer;

/// How a session ends.
enum Ending {
    /// This brain closes.
    Close(Closing),
    /// A fault resets the connection.
    Reset,
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
    fn close(code: u16, detail: &str) -> Self {
        Self::Close(Closing::new(code, detail))
    }
}

/// Takes an upgraded connection to its end.
pub(super) async fn run(hub: &Arc<Hub>, peer: &Peer, link: Link, headers: &HeaderMap) {
    let id = Uuid::new_v4();
    let serial = hub.sessions.open(&id.to_string(), Transport::Websocket, peer.address);
    let signals = Arc::new(Signals::default());
    let mut session = Session { hub, peer, link, id: id.to_string(), serial, signals: Arc::clone(&signals) };
    let ending = tokio::select! {
        ended = session.converse(headers) => match ended {
            Ok(never) => match never {},
            Err(ending) => ending,
        },
        closing = signals.closed() => Ending::Close(closing),
        () = hub.stopping() => Ending::close(close::RESTART, ""),
    };
    session.end(ending).await;
}

/// A session never ends well: every end is an [`Ending`].
enum Never {}

struct Session<'h> {
    hub: &'h Arc<Hub>,
    peer: &'h Peer,
    link: Link,
    id: String,
    serial: Serial,
    /// What others tell this session.
    signals: Arc<Signals>,
}

impl Session<'_> {
    async fn converse(&mut self, headers: &HeaderMap) -> Result<Never, Ending> {
        self.strike(Point::Upgrade)?;
        let agent = self.authenticate(headers)?;
        let hello = self.hello(&agent).await?;
        let mut replies = Replies::new(&agent, &self.id);
        let checked_slug = hello.project_id.is_some().then_some(agent.project.slug.as_str());
        let ack = replies.hello_ack(checked_slug, clock::now()).map_err(|error| unsendable(&error))?;
        // The acknowledgement is written before the slot is judged, as the real brain does.
        self.hub.sessions.accepted(self.serial);
        self.send(ack).await?;
        let worker = hello.worker_id.as_deref();
        if !self.hub.sessions.take_slot(self.serial, agent.id, worker, &self.signals) {
            return Err(Ending::close(close::RATE, "too many workers of one agent"));
        }
        if !self.hub.registry.is_live(&agent) {
            return Err(Ending::close(close::REVOKED, "the agent was revoked"));
        }
        self.hub.happened();
        tracing::info!(
            session = %self.id, peer = %self.peer.address, agent = %agent.name, worker = %quote(worker.unwrap_or("")),
            version = %quote(&hello.agent_version), "session started"
        );
        self.strike(Point::HelloAck)?;
        self.push_commands(&agent, &mut replies).await?;
        self.frames(&agent, &mut replies).await
    }

    /// Whether a fault strikes at this point.
    fn strike(&self, point: Point) -> Result<(), Ending> {
        let struck = self.hub.faults.take(point, |fault| match fault {
            Fault::Tcp(Tcp::Reset) => Some(Ending::Reset),
            Fault::Ws(Ws::Close { code, reason }) => {
                Some(Closing::with_reason(*code, reason, "fault ws.close").into())
            }
            Fault::Ws(Ws::ProtocolRefused) => {
                Some(Ending::close(close::PROTOCOL, "fault ws.protocol-refused"))
            }
            _ => None,
        });
        struck.map_or(Ok(()), Err)
    }

    fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Agent>, Ending> {
        let token = verdict::bearer(headers).ok_or_else(|| Ending::close(close::TOKEN, "no bearer token"))?;
        let agent = self.hub.registry.by_token(token);
        let agent = agent.ok_or_else(|| Ending::close(close::TOKEN, "unknown bearer token"))?;
        self.hub.sessions.identified(self.serial, &agent);
        Ok(agent)
    }

    /// The first frame. It may take its time: the real brain waits for it as long as pings are answered.
    async fn hello(&mut self, agent: &Agent) -> Result<Hello, Ending> {
        let bytes = message(self.link.next().await)?;
        let hello = HelloFrame::parse(&bytes)
            .map_err(|refusal| Ending::close(close::BAD_FIRST_FRAME, &refusal.to_string()))?
            .hello;
        self.hub.sessions.greeted(self.serial, &hello);
        self.strike(Point::Hello)?;
        verdict::hello(&hello, &agent.project)?;
        Ok(hello)
    }

    async fn frames(&mut self, agent: &Arc<Agent>, replies: &mut Replies) -> Result<Never, Ending> {
        let mut verifier = Verifier::new(&agent.project.secret, agent.binding(&self.id));
        let mut deadline = Instant::now() + self.hub.limits.idle;
        loop {
            let arrival = tokio::select! {
                arrival = timeout_at(deadline, self.link.next()) => arrival,
                () = self.signals.commands() => {
                    self.push_commands(agent, replies).await?;
                    continue;
                }
            };
            let arrival = arrival.map_err(|_| Ending::close(close::IDLE, "no frame"))?;
            deadline = Instant::now() + self.hub.limits.idle;
            let bytes = message(arrival)?;
            self.frame(&bytes, agent, &mut verifier, replies).await?;
        }
    }

    /// Sends what waits for this agent, oldest first.
    async fn push_commands(&mut self, agent: &Agent, replies: &mut Replies) -> Result<(), Ending> {
        for command in self.hub.commands.push(agent.id, clock::now()) {
            let text = replies.command(&command, clock::now());
            self.send(text).await?;
            self.hub.happened();
        }
        Ok(())
    }

    async fn frame(
        &mut self,
        bytes: &Bytes,
        agent: &Arc<Agent>,
        verifier: &mut Verifier,
        replies: &mut Replies,
    ) -> Result<(), Ending> {
        let now = clock::now();
        let value = Value::parse(bytes).map_err(|_| verdict::refused_frame(Reason::NotJson.into()))?;
        verdict::handshake_again(&value, bytes)?;
        let frame = Frame::from_value(value).map_err(verdict::refused_frame)?;
        verifier.verify_frame(&frame, now).map_err(verdict::refused_frame)?;
        if !frame.frame_type().is_signed() {
            return Ok(());
        }
        self.hub.sessions.counted(self.serial, frame.frame_type());
        self.hub.violations.judge(&self.id, &frame);
        self.hub.answered(&self.id, agent, &frame);
        let reply = replies.to(&self.hub.store, agent, &frame, now);
        self.hub.happened();
        match reply.map_err(|error| unsendable(&error))? {
            Some(reply) => self.send(reply).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, text: String) -> Result<(), Ending> {
        self.link.send(text).await.map_err(|arrival| match arrival {
            Arrival::Gone(why) => Ending::Gone(why),
            _ => Ending::Gone("the connection cannot be written to".to_owned()),
        })
    }

    /// Lists the end first and sends it then: whoever sees the close frame finds it in the list.
    async fn end(self, ending: Ending) {
        let (by, closing) = match &ending {
            Ending::Close(closing) => (ClosedBy::Brain, Some(closing.clone())),
            Ending::Reset => (ClosedBy::Brain, None),
            Ending::Closed(closing) => (ClosedBy::Agent, closing.clone()),
            Ending::Gone(_) => (ClosedBy::Network, None),
        };
        self.hub.session_ended(self.serial, by, closing.as_ref());
        let detail = match &ending {
            Ending::Reset => "fault tcp.reset",
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
            Ending::Closed(_) => self.link.finish().await,
            Ending::Gone(_) => {}
        }
    }
}

/// RFC 6455, 7.4.1: a text message that is not UTF-8.
const NOT_UTF8: u16 = 1007;

/// The message of an arrival.
fn message(arrival: Arrival) -> Result<Bytes, Ending> {
    match arrival {
        Arrival::Message(bytes) => Ok(bytes),
        Arrival::NotUtf8 => Err(Ending::close(NOT_UTF8, "a text message is not UTF-8")),
        Arrival::OverLimit => Err(Ending::close(close::BAD_FIRST_FRAME, "message over the frame limit")),
        Arrival::Fatal(closing) => Err(closing.into()),
        Arrival::Closed(closing) => Err(Ending::Closed(closing)),
        Arrival::Gone(why) => Err(Ending::Gone(why)),
    }
}

/// A frame of our own that cannot be written: this brain's fault.
fn unsendable(error: &dyn std::error::Error) -> Ending {
    tracing::error!(%error, "a frame cannot be written");
    Ending::close(close::INTERNAL, "a frame cannot be written")
}
