//! `[[step]]`: what happens, one verb each, and what must come of it.
//!
//! Owns which verbs there are and what can stand beside them. Must not know how one is carried out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mock_brain::fault::FaultSpec;
use serde::Deserialize;

use super::condition::{Checks, Expect, Wait};
use super::value::{AbsolutePath, AgentName, Duration, FaultName, Mode, Signal, Snapshot, StepName};

/// One step: what is done, and what must come of it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Step {
    /// Names the snapshot; the step's number if absent.
    pub(crate) name: Option<StepName>,
    /// Run the doctor as the service.
    pub(crate) doctor: Option<Doctor>,
    /// Run any command as the service.
    pub(crate) run: Option<Vec<String>>,
    /// Ask the agent's settings and probes for a verdict.
    pub(crate) check: Option<Call>,
    /// Ask running agents how they are.
    pub(crate) status: Option<Checks>,
    /// Start an agent that goes on.
    pub(crate) start: Option<Start>,
    /// End an agent in order, and wait for it.
    pub(crate) stop: Option<AgentName>,
    /// Send an agent a signal.
    pub(crate) kill: Option<Kill>,
    /// Have an agent reconnect: SIGHUP, or the unit's `ExecReload=`.
    pub(crate) reload: Option<AgentName>,
    /// Have an agent reconnect by its own command.
    pub(crate) restart: Option<Call>,
    /// Hand events to an agent.
    pub(crate) emit: Option<Emit>,
    /// Change what the brain does.
    pub(crate) brain: Option<BrainStep>,
    /// Delete what lies in /tmp and /var/tmp.
    pub(crate) clear_tmp: Option<ClearTmp>,
    /// Fill a tmpfs to its last byte.
    pub(crate) fill: Option<AbsolutePath>,
    /// Take away what filled it.
    pub(crate) free: Option<AbsolutePath>,
    /// Make a path read-only or writable.
    pub(crate) remount: Option<Remount>,
    /// Write a file, as root of the machine.
    pub(crate) write: Option<WriteFile>,
    /// Delete a file or directory, as root of the machine.
    pub(crate) remove: Option<AbsolutePath>,
    /// Change an owner.
    pub(crate) chown: Option<Chown>,
    /// Change a mode.
    pub(crate) chmod: Option<Chmod>,
    /// The machine loses power and comes back.
    pub(crate) reboot: Option<Reboot>,
    /// What becomes of packets to the brain.
    pub(crate) network: Option<Network>,
    /// Wait for something.
    pub(crate) wait: Option<Wait>,
    /// Look at the sandbox and the brain.
    pub(crate) expect: Option<Expect>,
    /// The exit status that a command must have.
    pub(crate) exit: Option<u8>,
    /// Hold the command's output against a snapshot.
    pub(crate) snapshot: Snapshot,
    /// How long it may take.
    pub(crate) within: Option<Duration>,
    /// Which of several agents is meant.
    pub(crate) agent: Option<AgentName>,
}

/// What a step does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verb<'s> {
    Doctor(&'s Doctor),
    Run(&'s [String]),
    Check(&'s Call),
    Status(&'s Checks),
    Start(&'s Start),
    Stop(&'s AgentName),
    Kill(&'s Kill),
    Reload(&'s AgentName),
    Restart(&'s Call),
    Emit(&'s Emit),
    Brain(&'s BrainStep),
    ClearTmp(&'s ClearTmp),
    Fill(&'s AbsolutePath),
    Free(&'s AbsolutePath),
    Remount(&'s Remount),
    Write(&'s WriteFile),
    Remove(&'s AbsolutePath),
    Chown(&'s Chown),
    Chmod(&'s Chmod),
    Reboot,
    Network(Network),
    Wait(&'s Wait),
    Expect(&'s Expect),
}

impl Step {
    /// The verbs that it has, in no order that matters; a step that makes sense has one.
    pub(crate) fn verbs(&self) -> impl Iterator<Item = Verb<'_>> {
        let all = [
            self.doctor.as_ref().map(Verb::Doctor),
            self.run.as_deref().map(Verb::Run),
            self.check.as_ref().map(Verb::Check),
            self.status.as_ref().map(Verb::Status),
            self.start.as_ref().map(Verb::Start),
            self.stop.as_ref().map(Verb::Stop),
            self.kill.as_ref().map(Verb::Kill),
            self.reload.as_ref().map(Verb::Reload),
            self.restart.as_ref().map(Verb::Restart),
            self.emit.as_ref().map(Verb::Emit),
            self.brain.as_ref().map(Verb::Brain),
            self.clear_tmp.as_ref().map(Verb::ClearTmp),
            self.fill.as_ref().map(Verb::Fill),
            self.free.as_ref().map(Verb::Free),
            self.remount.as_ref().map(Verb::Remount),
            self.write.as_ref().map(Verb::Write),
            self.remove.as_ref().map(Verb::Remove),
            self.chown.as_ref().map(Verb::Chown),
            self.chmod.as_ref().map(Verb::Chmod),
            self.reboot.as_ref().map(|Reboot {}| Verb::Reboot),
            self.network.map(Verb::Network),
            self.wait.as_ref().map(Verb::Wait),
            self.expect.as_ref().map(Verb::Expect),
        ];
        all.into_iter().flatten()
    }

    /// Which agent is meant.
    pub(crate) fn agent(&self) -> AgentName {
        self.agent.clone().unwrap_or_default()
    }

    /// Why no run could make sense of it, if so.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let mut verbs = self.verbs();
        let Some(verb) = verbs.next() else {
            return Some("it does nothing: give it a verb such as doctor, run, start, emit or expect");
        };
        if verbs.next().is_some() {
            return Some("it has more than one verb: make each a [[step]] of its own");
        }
        let has_snapshot = self.snapshot != Snapshot::No;
        let command = matches!(verb, Verb::Doctor(_) | Verb::Run(_) | Verb::Check(_) | Verb::Restart(_));
        if !command && (self.exit.is_some() || has_snapshot) {
            return Some("`exit` and `snapshot` go with doctor, run, check or restart");
        }
        if self.name.is_some() && !has_snapshot {
            return Some("`name` goes with a snapshot");
        }
        if matches!(verb, Verb::Doctor(_) | Verb::Run(_) | Verb::Check(_))
            && self.exit.is_none()
            && !has_snapshot
        {
            return Some("nothing is expected of the command: give it exit or snapshot");
        }
        let waits = matches!(verb, Verb::Start(_) | Verb::Stop(_) | Verb::Emit(_) | Verb::Reboot);
        if self.within.is_some() && !command && !waits {
            return Some(
                "`within` goes with a command, start, stop, emit or reboot, and into wait and expect",
            );
        }
        let one_agent = matches!(verb, Verb::Emit(_) | Verb::Status(_) | Verb::Wait(_) | Verb::Expect(_))
            || matches!(verb, Verb::Restart(_));
        if self.agent.is_some() && !one_agent {
            return Some("`agent` goes with emit, status, restart, wait or expect");
        }
        match verb {
            Verb::Run([]) => Some("`run` names no command"),
            Verb::Emit(emit) => emit.problem(),
            Verb::Brain(change) => change.problem(),
            _ => None,
        }
    }
}

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

/// Events for an agent.
#[derive(Clone, Debug)]
pub(crate) struct Emit {
    pub(crate) count: u32,
    pub(crate) kind: String,
    pub(crate) engine: String,
    /// One task for all of them; a task each if absent.
    pub(crate) task_id: Option<String>,
    /// Bytes of each event's data.
    pub(crate) size: usize,
    /// Events a second; at once if absent.
    pub(crate) rate: Option<u32>,
    /// Lines to send instead, beside the scenario.
    pub(crate) file: Option<PathBuf>,
    pub(crate) expect: Verdict,
}

/// What the agent must say to events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// It takes them all.
    #[default]
    Accepted,
    /// It takes none.
    Refused,
    /// It takes what it can.
    Any,
}

/// Most events of one step, and most bytes of one.
const MAX_EVENTS: u32 = 200_000;
const MAX_DATA_BYTES: usize = 1 << 20;

impl Emit {
    fn problem(&self) -> Option<&'static str> {
        if self.count == 0 || self.count > MAX_EVENTS {
            return Some("`emit` takes 1 to 200000 events");
        }
        if self.size > MAX_DATA_BYTES || self.size.saturating_mul(self.count as usize) > 256 << 20 {
            return Some("`size` is at most 1048576, and the events of one step are at most 256M");
        }
        (self.rate == Some(0)).then_some("`rate` is at least 1")
    }
}

impl<'de> Deserialize<'de> for Emit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            #[serde(default = "one")]
            count: u32,
            #[serde(default = "default_kind")]
            kind: String,
            #[serde(default = "default_engine")]
            engine: String,
            task_id: Option<String>,
            #[serde(default)]
            size: usize,
            rate: Option<u32>,
            file: Option<PathBuf>,
            #[serde(default)]
            expect: Verdict,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelled {
            Count(u32),
            Table(Table),
        }
        let wrong = "expected a number of events or { count, kind, engine, task_id, size, rate, file, \
                     expect = \"accepted\" | \"refused\" | \"any\" }";
        let table = match Spelled::deserialize(deserializer) {
            Ok(Spelled::Table(table)) => table,
            Ok(Spelled::Count(count)) => Table {
                count,
                kind: default_kind(),
                engine: default_engine(),
                task_id: None,
                size: 0,
                rate: None,
                file: None,
                expect: Verdict::Accepted,
            },
            Err(_) => return Err(serde::de::Error::custom(wrong)),
        };
        let Table { count, kind, engine, task_id, size, rate, file, expect } = table;
        Ok(Self { count, kind, engine, task_id, size, rate, file, expect })
    }
}

const fn one() -> u32 {
    1
}

fn default_kind() -> String {
    "task.succeeded".to_owned()
}

fn default_engine() -> String {
    "celery".to_owned()
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
    fn problem(&self) -> Option<&'static str> {
        let faults = self.set.is_empty() && self.clear.is_empty();
        let empty = faults && self.power.is_none() && !self.revoke && !self.admit && self.command.is_none();
        empty.then_some(
            "nothing changes at the brain: give it down, up, restart, set, clear, revoke or command",
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
                    "\"down\", \"crash\", \"up\", \"restart\" or { set, clear, revoke, admit, command }",
                )
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<BrainStep, E> {
                let power = Power::deserialize(serde::de::value::StrDeserializer::new(text))?;
                Ok(BrainStep { power: Some(power), ..BrainStep::default() })
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<BrainStep, A::Error> {
                let Table { set, clear, revoke, admit, command } =
                    Table::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(BrainStep { power: None, set, clear, revoke, admit, command })
            }
        }
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Table {
            set: Vec<FaultSpec>,
            clear: Vec<FaultName>,
            revoke: bool,
            admit: bool,
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
