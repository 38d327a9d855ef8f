//! How a session ends.
//!
//! Owns the ends there are, what each arrival that is no message ends in, and the order of an end: it is listed
//! first and sent then. Must not decide that a session ends.

use bytes::Bytes;
use z4j_protocol::close;

use crate::clock;
use crate::gateway::link::Arrival;
use crate::gateway::session::Session;
use crate::quote::quote;
use crate::sessions::ClosedBy;
use crate::stream::silence::Silence;
use crate::verdict::Closing;
use crate::violation::Rule;

/// How a session ends.
pub(in crate::gateway) enum Ending {
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
    pub(in crate::gateway) fn close(code: u16, detail: &str) -> Self {
        Self::Close(Closing::new(code, detail))
    }
}

impl Session<'_> {
    /// Lists the end first and sends it then: whoever sees the close frame finds it in the list.
    pub(super) async fn end(mut self, ending: Ending) {
        let (by, closing) = match &ending {
            Ending::Close(closing) => (ClosedBy::Brain, Some(closing.clone())),
            Ending::Reset | Ending::Silence(_) => (ClosedBy::Brain, None),
            Ending::Closed(closing) => (ClosedBy::Agent, closing.clone()),
            Ending::Gone(_) => (ClosedBy::Network, None),
        };
        self.note_breach();
        let broken = closing.as_ref().and_then(|closing| Some((closing.rule?, closing.detail.clone())));
        let refused = self.link.take_refused();
        self.note(broken, refused.as_ref());
        drop(refused);
        let alive = self.link.alive_at();
        self.note(self.beats.as_ref().and_then(|beats| beats.ended(alive)), None);
        if let (Some(command), Some(agent)) = (self.sending.take(), &self.agent) {
            self.hub.commands.unsent(agent.id, &command, clock::now());
        }
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

/// RFC 6455, 7.4.1: a text message that is not UTF-8.
const NOT_UTF8: u16 = 1007;

/// The message of an arrival.
pub(in crate::gateway) fn message(arrival: Arrival) -> Result<Bytes, Ending> {
    match arrival {
        Arrival::Message(bytes) => Ok(bytes),
        Arrival::NotUtf8 => {
            Err(Closing::new(NOT_UTF8, "a text message is not UTF-8").breaking(Rule::WsUtf8).into())
        }
        Arrival::OverLimit(size, limit) => {
            let detail = format!("a message of {size} bytes, and the limit is {limit}");
            Err(Closing::new(close::BAD_FIRST_FRAME, detail).breaking(Rule::WsTooLarge).into())
        }
        Arrival::Fatal(closing) => Err(closing.into()),
        Arrival::Closed(closing) => Err(Ending::Closed(closing)),
        Arrival::Gone(why) => Err(Ending::Gone(why)),
        Arrival::Cut => Err(Ending::Silence(Silence::Closed)),
    }
}

pub(super) fn unwritten(arrival: Arrival) -> Ending {
    match arrival {
        Arrival::Gone(why) => Ending::Gone(why),
        _ => Ending::Gone("the connection cannot be written to".to_owned()),
    }
}

/// A frame of our own that cannot be written: this brain's fault.
pub(in crate::gateway) fn unsendable(error: &dyn std::error::Error) -> Ending {
    tracing::error!(%error, "a frame cannot be written");
    Ending::close(close::INTERNAL, "a frame cannot be written")
}
