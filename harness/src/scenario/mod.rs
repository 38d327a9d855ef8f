//! One scenario file as typed data: what the machine looks like, which service runs, what the brain does,
//! which steps follow.
//!
//! Owns the language; an unknown key or a wrong type is refused while reading (`parse`). It must not know
//! how any of it is carried out.

mod condition;
mod directive;
mod emit;
mod parse;
mod service;
mod step;
mod unit;
mod value;
mod verb;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use mock_brain::Profile;
use mock_brain::fault::FaultSpec;
use serde::Deserialize;

pub(crate) use condition::{Checks, Condition, Count, FileExpectation, Level, LogExpectation};
pub(crate) use directive::{Credential, MaybePath};
pub(crate) use emit::{Emit, Verdict};
pub(crate) use parse::{Loaded, load};
#[cfg(any(test, fuzzing))]
pub(crate) use parse::{impossible, parse};
pub(crate) use service::{ProtectHome, ProtectSystem, Service};
pub(crate) use step::{Step, Verb};
#[cfg(any(test, fuzzing))]
pub(crate) use unit::parse as parse_unit;
pub(crate) use unit::words;
pub(crate) use value::{
    AbsolutePath, AgentName, Answer, BrainUrl, Duration, Id, Mode, Packages, Signal, Size, Snapshot, UserName,
};
pub(crate) use verb::{Access, BrainStep, Doctor, Kill, Network, Power, Start, WriteFile};

/// A scenario.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// One line that says what is the matter.
    pub(crate) title: String,
    /// Why the scenario exists: required, so that nobody deletes it unaware.
    pub(crate) why: String,
    /// Where it was reported.
    pub(crate) ticket: Option<String>,
    /// Words to find it by.
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    /// Fixes every random choice.
    #[serde(default)]
    pub(crate) seed: u64,
    /// The least sandbox that can show it.
    #[serde(default)]
    pub(crate) needs: Backend,
    /// What the machine looks like to the agent.
    #[serde(default)]
    pub(crate) host: Host,
    /// The service, in systemd's own words.
    #[serde(default)]
    pub(crate) service: Service,
    /// The mock brain.
    #[serde(default)]
    pub(crate) brain: Brain,
    /// What happens, in order.
    #[serde(rename = "step", default)]
    pub(crate) steps: Vec<Step>,
}

/// A kind of sandbox, from the weakest to the strongest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backend {
    /// No privileges at all: a scratch tree and an environment.
    Process,
    /// User, mount, pid, uts, ipc and network namespaces.
    #[default]
    Namespace,
    /// A container with a real init.
    Container,
}

impl Backend {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Namespace => "namespace",
            Self::Container => "container",
        }
    }
}

/// The machine around the service.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Host {
    /// What /tmp is.
    #[serde(default)]
    pub(crate) tmp: Tmp,
    /// More of it that is a tmpfs, with sizes.
    #[serde(default)]
    pub(crate) tmpfs: BTreeMap<AbsolutePath, Size>,
    /// `/etc/hosts`, beside localhost.
    #[serde(default)]
    pub(crate) hosts: BTreeMap<String, IpAddr>,
    /// What the resolver on 127.0.0.53 answers; a name that is not here does not exist.
    #[serde(default)]
    pub(crate) dns: BTreeMap<String, Answer>,
    /// Users beside root, www-data, nobody and app.
    #[serde(default)]
    pub(crate) users: Vec<User>,
    /// Directories and files to make.
    #[serde(default)]
    pub(crate) files: Vec<HostFile>,
    /// A Python environment to lay out: its site-packages, without an interpreter.
    pub(crate) venv: Option<Venv>,
}

/// What holds /tmp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tmp {
    /// The disk.
    #[default]
    Disk,
    /// A tmpfs of that size.
    Tmpfs(Size),
}

/// A user of the machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    pub(crate) name: UserName,
    pub(crate) uid: Id,
    /// Group id; the uid if absent.
    pub(crate) gid: Option<Id>,
    pub(crate) home: AbsolutePath,
}

/// A directory, or a file if it has a content.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostFile {
    pub(crate) path: AbsolutePath,
    #[serde(default = "root")]
    pub(crate) owner: String,
    pub(crate) mode: Option<Mode>,
    /// Absent: a directory.
    pub(crate) content: Option<String>,
}

fn root() -> String {
    "root".to_owned()
}

/// A Python environment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Venv {
    pub(crate) path: AbsolutePath,
    /// `NAME==VERSION` each.
    pub(crate) packages: Packages,
}

/// The mock brain of the scenario.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Brain {
    /// Where agents reach it; it listens at that very address and port.
    pub(crate) url: BrainUrl,
    /// The project's slug.
    pub(crate) project: String,
    /// The agent's name.
    pub(crate) agent: String,
    /// What its certificate is, and how it speaks TLS.
    pub(crate) certificate: Profile,
    /// What is broken from the start.
    pub(crate) faults: Vec<FaultSpec>,
    /// Whether it holds agents to what the real brain leaves free, and is odd on purpose; if absent, it does so
    /// for our own agent and not for one that `--agent` names.
    pub(crate) strict: Option<bool>,
}

impl Default for Brain {
    fn default() -> Self {
        Self {
            url: BrainUrl::default(),
            project: "picker".to_owned(),
            agent: "picker_agent".to_owned(),
            certificate: Profile::default(),
            faults: Vec::new(),
            strict: None,
        }
    }
}

/// Where a scenario lies and how it is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ScenarioId {
    /// Its path below the scenarios folder, without `.toml`.
    pub(crate) name: String,
    /// Its file.
    pub(crate) file: PathBuf,
}
