//! The bodies of the verbs that a `[[step]]` can have.
//!
//! Owns their keys and spellings. Must not know which can stand together (`step`).

use std::collections::BTreeMap;

use mock_brain::Profile;
use mock_brain::fault::FaultSpec;
use serde::Deserialize;

use super::value::{AbsolutePath, AgentName, FaultName, Mode, Signal};

/// How the doctor is called.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Doctor {
    pub(crate) framework: Option<String>,
    /// More flags.
    #[serde(default)]
    pub(crate) args: Vec<String>,
}

/// How another verb of the agent is called.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Call {
    /// More flags.
    pub(crate) args: Vec<String>,
}

/// How an agent is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Start {
    pub(crate) name: AgentName,
    /// More flags.
    pub(crate) args: Vec<String>,
    /// Settings of its own.
    pub(crate) environment: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, default)]
        #[derive(Default)]
        struct Table {
            name: AgentName,
            args: Vec<String>,
            environment: BTreeMap<String, String>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelled {
            Name(AgentName),
            Table(Table),
        }
        match Spelled::deserialize(deserializer) {
            Ok(Spelled::Name(name)) => Ok(Self { name, ..Self::default() }),
            Ok(Spelled::Table(Table { name, args, environment })) => Ok(Self { name, args, environment }),
            Err(_) => Err(serde::de::Error::custom(
                "expected the agent's name (lower-case letters, digits, `-`) or { name, args, environment }",
            )),
        }
    }
}

/// Which signal an agent gets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kill {
    pub(crate) name: AgentName,
    pub(crate) signal: Signal,
}

impl<'de> Deserialize<'de> for Kill {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, default)]
        #[derive(Default)]
        struct Table {
            name: AgentName,
            signal: Signal,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelled {
            Name(AgentName),
            Table(Table),
        }
        match Spelled::deserialize(deserializer) {
            Ok(Spelled::Name(name)) => Ok(Self { name, ..Self::default() }),
            Ok(Spelled::Table(Table { name, signal })) => Ok(Self { name, signal }),
            Err(_) => Err(serde::de::Error::custom(
                "expected the agent's name or { name, signal = \"KILL\" }, with a signal such as TERM or HUP",
            )),
        }
    }
}

/// What changes at the brain.
#[derive(Debug, Default)]
pub(crate) struct BrainStep {
    /// Whether it runs from now on.
    pub(crate) power: Option<Power>,
    /// Faults to switch on.
    pub(crate) set: Vec<FaultSpec>,
    /// Faults to switch off, by name.
    pub(crate) clear: Vec<FaultName>,
    /// Refuse the agent's token from now on.
    pub(crate) revoke: bool,
    /// Take the agent's token again.
    pub(crate) admit: bool,
    /// Issue the certificate anew, with this profile.
    pub(crate) rotate: Option<Profile>,
    /// A command for the agent: `{ action, target, parameters, timeout_seconds }`.
    pub(crate) command: Option<serde_json::Value>,
}

/// Whether the brain runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Power {
    /// Its sessions are closed, and nothing listens.
    Down,
    /// Its connections end without a word, and nothing listens.
    Crash,
    Up,
    /// Down, and up again at once.
    Restart,
}

impl BrainStep {
    pub(super) fn problem(&self) -> Option<&'static str> {
        let faults = self.set.is_empty() && self.clear.is_empty();
        let tokens = !self.revoke && !self.admit;
        let asked = self.power.is_none() && self.rotate.is_none() && self.command.is_none();
        let empty = faults && tokens && asked;
        empty.then_some(
            "nothing changes at the brain: give it down, up, restart, set, clear, revoke, rotate or command",
        )
    }
}

impl<'de> Deserialize<'de> for BrainStep {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = BrainStep;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "\"down\", \"crash\", \"up\", \"restart\" or { set, clear, revoke, admit, rotate, command }",
                )
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<BrainStep, E> {
                let power = Power::deserialize(serde::de::value::StrDeserializer::new(text))?;
                Ok(BrainStep { power: Some(power), ..BrainStep::default() })
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<BrainStep, A::Error> {
                let Table { set, clear, revoke, admit, rotate, command } =
                    Table::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(BrainStep { power: None, set, clear, revoke, admit, rotate, command })
            }
        }
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Table {
            set: Vec<FaultSpec>,
            clear: Vec<FaultName>,
            revoke: bool,
            admit: bool,
            rotate: Option<Profile>,
            command: Option<serde_json::Value>,
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What of /tmp is deleted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClearTmp {
    /// Names, as a shell pattern; everything if absent.
    pub(crate) only: Option<String>,
}

/// What a path becomes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Remount {
    pub(crate) path: AbsolutePath,
    pub(crate) to: Access,
}

/// Whether one may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Access {
    ReadOnly,
    Writable,
}

/// A file to write.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteFile {
    pub(crate) path: AbsolutePath,
    pub(crate) content: String,
    pub(crate) owner: Option<String>,
    pub(crate) mode: Option<Mode>,
}

/// A new owner.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chown {
    pub(crate) path: AbsolutePath,
    pub(crate) owner: String,
}

/// A new mode.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chmod {
    pub(crate) path: AbsolutePath,
    pub(crate) mode: Mode,
}

/// A loss of power.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reboot {}

/// What becomes of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Network {
    /// The interface is down.
    Cut,
    /// Packets vanish.
    Drop,
    /// As in the beginning.
    Restore,
}
