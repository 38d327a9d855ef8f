//! `command`, `command_ack` and `command_result`. The frame's id is the command's UUID in all three.

use serde::{Deserialize, Serialize};

use crate::text::CanonicalText;
use crate::value::{Object, Value};

/// Most characters of a result's `error`.
pub const MAX_ERROR_CHARS: usize = 8_192;

/// Seconds that a command may take where it does not say.
pub const DEFAULT_COMMAND_TIMEOUT_SECONDS: u64 = 60;

/// `command`: something the brain wants done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// What: `retry_task`, `purge_queue`, …
    pub action: String,
    /// On what: `type`, `id`, and often `engine`.
    #[serde(default = "empty_object")]
    pub target: Value,
    /// How.
    #[serde(default = "empty_object")]
    pub parameters: Value,
    /// Seconds it may take.
    #[serde(default = "default_timeout")]
    pub timeout_seconds: u64,
    /// The user who issued it; none for an automatic one.
    #[serde(default)]
    pub issued_by: Option<String>,
    /// Echoed in ack and result where it is set.
    #[serde(default)]
    pub delivery_claim_token: Option<String>,
}

fn empty_object() -> Value {
    Value::Object(Object::default())
}

const fn default_timeout() -> u64 {
    DEFAULT_COMMAND_TIMEOUT_SECONDS
}

/// `command_ack`: the command arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandAck {
    /// The command's, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_claim_token: Option<String>,
}

/// How a command ended. The brain refuses any other word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandStatus {
    /// It was done.
    Success,
    /// It was not.
    Failed,
}

impl Command {
    /// The payload of the frame that acknowledges it.
    #[must_use]
    pub fn ack(&self) -> CanonicalText {
        let ack = CommandAck { delivery_claim_token: self.delivery_claim_token.clone() };
        // A text can always be written.
        CanonicalText::from_serialize(&ack).unwrap_or_else(|_| CanonicalText::kept("{}".to_owned()))
    }
}

/// `command_result`: what came of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandResult {
    /// How it ended.
    pub status: CommandStatus,
    /// An object, on success.
    #[serde(default)]
    pub result: Option<Value>,
    /// Why not, up to [`MAX_ERROR_CHARS`] characters.
    #[serde(default)]
    pub error: Option<String>,
    /// The command's, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_claim_token: Option<String>,
}

impl CommandResult {
    /// A failure; a longer text is cut, because the brain would drop the result.
    #[must_use]
    pub fn failed(error: &str) -> Self {
        let error = error.chars().take(MAX_ERROR_CHARS).collect();
        Self { status: CommandStatus::Failed, result: None, error: Some(error), delivery_claim_token: None }
    }
}
