//! Commands: what a test or a person wants an agent to do, and what came of it.
//!
//! Owns their shapes, their life cycle (pending → dispatched → completed, failed or timeout) and the queue.
//! Must not know transports: it hands out payloads, and a session signs and sends them.

mod queue;
mod stored;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use z4j_protocol::payload::DEFAULT_COMMAND_TIMEOUT_SECONDS;
use z4j_protocol::{CanonicalText, Timestamp, Value};

pub(crate) use queue::{Answered, Commands, Wanted};

/// Longest action, in characters.
const MAX_ACTION_CHARS: usize = 64;
/// Largest payload of a command, in bytes: it must fit a frame.
const MAX_PAYLOAD_BYTES: usize = 512 << 10;

/// A command that is to be issued.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCommand {
    /// The agent's name, `PROJECT/NAME` or UUID; none for the one that the brain was started with.
    #[serde(default)]
    pub agent: Option<String>,
    /// What: `retry_task`, `purge_queue`, …
    pub action: String,
    /// On what: `{"type", "id"}`. None for the project. `engine` and `scheduler` are added from the
    /// parameters, as the real brain does.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub target: Option<serde_json::Value>,
    /// How.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// Seconds that the agent is told it may take; none for 60.
    #[serde(default)]
    pub timeout_seconds: Option<u64>,
    /// The user who issued it.
    #[serde(default)]
    pub issued_by: Option<String>,
    /// What ack and result are to echo.
    #[serde(default)]
    pub delivery_claim_token: Option<String>,
    /// What tells a command that is issued again from a new one, over REST.
    #[serde(default)]
    pub idempotency_key: Option<String>,
}

impl NewCommand {
    /// A command without parameters, on the project, to the agent that the brain was started with.
    #[must_use]
    pub fn new(action: &str) -> Self {
        Self { action: action.to_owned(), ..Self::default() }
    }

    /// To the agent of that name; `PROJECT/NAME` or its UUID where several have one.
    #[must_use]
    pub fn to(self, agent: &str) -> Self {
        Self { agent: Some(agent.to_owned()), ..self }
    }

    /// On a target of that type and id.
    #[must_use]
    pub fn on(self, kind: &str, id: &str) -> Self {
        Self { target: Some(serde_json::json!({ "type": kind, "id": id })), ..self }
    }

    /// With a parameter.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        self.parameters.insert(key.to_owned(), value.into());
        self
    }
}

/// Why a command cannot be issued.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no such agent.
    #[error(transparent)]
    Agent(#[from] crate::registry::RegistryError),
    /// Its agent is revoked.
    #[error("agent {0:?} is revoked; `agent token` lets it in again")]
    Revoked(String),
    /// Something in it is not usable.
    #[error("command {0}")]
    Unusable(&'static str),
    /// Too many are waiting.
    #[error("{0} commands are waiting; wait for results, or for their time-outs")]
    Full(usize),
}

/// Where a command is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CommandState {
    /// It waits for its agent.
    Pending,
    /// It was sent.
    Dispatched,
    /// The agent said success.
    Completed,
    /// The agent said failed.
    Failed,
    /// No result came in time.
    Timeout,
}

impl CommandState {
    /// Whether nothing more comes.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Timeout)
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Dispatched => "dispatched",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
        }
    }
}

/// A command with what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandInfo {
    /// Its UUID, which is the frame's id too.
    pub id: String,
    /// The agent's name.
    pub agent_name: String,
    /// The agent's UUID.
    pub agent_id: String,
    /// Its project's UUID.
    #[serde(default)]
    pub project_id: String,
    /// The user who issued it.
    #[serde(default)]
    pub issued_by: Option<String>,
    /// What it was issued under.
    #[serde(default)]
    pub idempotency_key: Option<String>,
    /// What is to be done.
    pub action: String,
    /// On what.
    #[schema(value_type = Object)]
    pub target: Value,
    /// How.
    #[schema(value_type = Object)]
    pub parameters: Value,
    /// Where it is in its life.
    pub status: CommandState,
    /// The result, as the agent sent it: any JSON.
    #[schema(value_type = Option<serde_json::Value>)]
    pub result: Option<Value>,
    /// Why not; cut to 1,024 characters.
    pub error: Option<String>,
    /// How often it was sent.
    pub deliveries: u32,
    /// How often it was acknowledged.
    pub acks: u32,
    /// Results that came when there was one already, or after the time-out.
    pub ignored_results: u32,
    /// ISO 8601.
    pub issued_at: String,
    /// When it was sent first, ISO 8601.
    pub dispatched_at: Option<String>,
    /// When the result or the time-out came, ISO 8601.
    pub completed_at: Option<String>,
    /// When its time is over, ISO 8601.
    #[serde(default)]
    pub timeout_at: String,
}

/// A command on its way out.
pub(crate) struct Delivery {
    id: String,
    payload: CanonicalText,
    /// When it was sent before this time.
    sent_before: Option<Timestamp>,
}

impl Delivery {
    /// The command's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The payload of its frame.
    pub(crate) const fn payload(&self) -> &CanonicalText {
        &self.payload
    }
}

/// A command's parts, as they go on the wire.
struct Parts {
    action: String,
    target: Value,
    parameters: Value,
    payload: CanonicalText,
}

impl Parts {
    /// Reads and checks a new command.
    fn of(command: NewCommand, project_slug: &str) -> Result<Self, CommandError> {
        let action = command.action;
        if !(1..=MAX_ACTION_CHARS).contains(&action.chars().count()) {
            return Err(CommandError::Unusable("action is a text of 1 to 64 characters"));
        }
        let project = || serde_json::json!({ "type": "project", "id": project_slug });
        let target = match command.target.unwrap_or_else(project) {
            serde_json::Value::Object(target) => with_owner(target, &command.parameters),
            _ => return Err(CommandError::Unusable("target is no JSON object")),
        };
        let unusable = |_| CommandError::Unusable("cannot be written as JSON");
        let target = Value::from_serialize(&target).map_err(unusable)?;
        let parameters = Value::from_serialize(&command.parameters).map_err(unusable)?;
        let payload = z4j_protocol::payload::Command {
            action,
            target,
            parameters,
            timeout_seconds: command.timeout_seconds.unwrap_or(DEFAULT_COMMAND_TIMEOUT_SECONDS),
            issued_by: command.issued_by,
            delivery_claim_token: command.delivery_claim_token,
        };
        let text = CanonicalText::from_serialize(&payload).map_err(unusable)?;
        if text.as_str().len() > MAX_PAYLOAD_BYTES {
            return Err(CommandError::Unusable("is over 512 KiB"));
        }
        let z4j_protocol::payload::Command { action, target, parameters, .. } = payload;
        Ok(Self { action, target, parameters, payload: text })
    }

    /// The engine that is to do it.
    fn engine(&self) -> Option<&str> {
        self.target.get("engine").and_then(Value::as_str)
    }
}

type JsonObject = serde_json::Map<String, serde_json::Value>;

/// The real brain tells in the target whose task or schedule it is, where the parameters do.
fn with_owner(mut target: JsonObject, parameters: &JsonObject) -> JsonObject {
    let filter = parameters.get("filter").and_then(|filter| filter.get("engine"));
    let engine = filter.or_else(|| parameters.get("engine"));
    for (key, value) in [("engine", engine), ("scheduler", parameters.get("scheduler"))] {
        if let Some(value) = value.filter(|value| value.is_string()) {
            target.entry(key).or_insert_with(|| value.clone());
        }
    }
    target
}
