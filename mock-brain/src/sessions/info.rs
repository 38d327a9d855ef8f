//! What is listed of a session.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use z4j_protocol::payload::Hello;

use crate::clock;
use crate::verdict::Closing;

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
    /// Its project's UUID.
    #[serde(default)]
    pub project_id: Option<String>,
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

impl SessionInfo {
    /// One that begins now.
    pub(super) fn new(id: &str, transport: Transport, peer: SocketAddr) -> Self {
        Self {
            id: id.to_owned(),
            transport,
            peer: peer.to_string(),
            agent_name: None,
            agent_id: None,
            project_id: None,
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

    /// Takes what hello says.
    pub(super) fn greeted(&mut self, hello: &Hello) {
        self.worker_id = hello.worker_id.as_deref().map(cut);
        self.agent_version = Some(cut(&hello.agent_version));
        self.framework = Some(cut(&hello.framework));
        self.engines = hello.engines.iter().take(MAX_ENGINES).map(|engine| cut(engine)).collect();
    }

    /// Takes how it ended, and says that in words.
    pub(super) fn ended(&mut self, by: ClosedBy, closing: Option<&Closing>) -> String {
        self.ended_at = Some(clock::now().to_string());
        self.closed_by = Some(by);
        self.close_code = closing.map(|closing| closing.code);
        self.close_reason = closing.map(|closing| cut(&closing.reason));
        self.detail = closing.map(|closing| closing.detail.clone()).filter(|detail| !detail.is_empty());
        let code = self.close_code.map(|code| format!(" with {code}")).unwrap_or_default();
        let detail = self.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
        format!("by {}{code}{detail}", by.as_str())
    }
}

/// A peer's text as it is listed: cut, because thousands of sessions are kept.
fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}
