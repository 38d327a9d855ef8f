//! `[[step]]`: what happens, one verb each, and what must come of it.
//!
//! Owns which verbs there are and what can stand beside them. Must not know how one is carried out.

use serde::Deserialize;

use super::condition::{Checks, Expect, Wait};
use super::emit::Emit;
use super::value::{AbsolutePath, AgentName, Duration, Snapshot, StepName};
use super::verb::{
    BrainStep, Call, Chmod, Chown, ClearTmp, Doctor, Kill, Network, Reboot, Remount, Start, WriteFile,
};

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
