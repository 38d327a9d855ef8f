//! The stage of one scenario: its sandbox, its brain, its resolver, put up together and taken down together.
//!
//! Owns their order and the service's environment. Must not know what the steps are about.

mod error;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mock_brain::{Brain, Credentials, Options};
use nix::sys::signal::Signal;
use tokio::runtime::Runtime;

use crate::agent::AgentProgram;
use crate::dns;
use crate::emitted::Emitted;
use crate::sandbox::{
    Command, Ids, Input, Journal, LayoutError, Machine, Manifest, NOTIFY_SOCKET, Operation, Output, Sandbox,
    Scratch, Sockets,
};
use crate::scenario::{AgentName, BrainStep, Count, Loaded, Scenario, Start};
use crate::stand_in::StandIns;

pub(crate) use error::StageError;
use service::{exec_start, expand_variables};

/// Prints which of its arguments can be written to.
const TRY_WRITING: &str =
    r#"for path do if touch "$path/.precondition" 2>/dev/null; then echo "$path"; fi; done"#;

/// Everything that a scenario runs on. Fields are dropped in this order: the sandbox before its files.
pub(crate) struct Stage {
    sandbox: Sandbox,
    brain: Option<Brain>,
    runtime: Runtime,
    scratch: Scratch,
    machine: Machine,
    credentials: Credentials,
    agent: AgentProgram,
    /// What the unit file says of how to start it.
    exec_start: Option<Vec<String>>,
    /// Which agents were started, and how.
    pub(crate) started: BTreeMap<AgentName, Start>,
    /// Events that agents took.
    pub(crate) emitted: Emitted,
    /// How many rules of the protocol may be broken.
    pub(crate) violations: Count,
    /// The state of the sandbox's files before the first step.
    pub(crate) start: Manifest,
}

impl Stage {
    /// Puts the stage up and proves its preconditions.
    ///
    /// # Errors
    /// The machine cannot show the scenario, or the scenario is void.
    pub(crate) fn new(loaded: &Loaded, agent: &AgentProgram, temporary: &Path) -> Result<Self, StageError> {
        let scenario = &loaded.scenario;
        let scratch = Scratch::new(temporary).map_err(|error| StageError::Unavailable(error.to_string()))?;
        let privileged = nix::unistd::geteuid().is_root();
        let machine = Machine::lay_out(scenario, &scratch.root(), agent.file(), privileged)?;
        let (sandbox, sockets) = Sandbox::start(&machine.plan)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let brain = start_servers(&runtime, scenario, agent, sockets)?;
        if let Some(roots) = brain.ca_pem() {
            scratch.overwrite(crate::sandbox::ROOTS_FILE, &roots)?;
        }
        let credentials = brain.credentials();
        let mut stage = Self {
            sandbox,
            brain: Some(brain),
            runtime,
            scratch,
            machine,
            credentials,
            agent: agent.clone(),
            exec_start: exec_start(scenario)?,
            started: BTreeMap::new(),
            emitted: Emitted::default(),
            violations: Count { min: 0, max: 0 },
            start: Manifest::new(),
        };
        stage.fill_in_secrets(scenario)?;
        stage.prove_closed_paths(scenario)?;
        stage.start = stage.sandbox.manifest()?;
        Ok(stage)
    }

    /// Runs a command as the service.
    ///
    /// # Errors
    /// The sandbox is gone.
    pub(crate) fn run(
        &mut self,
        scenario: &Scenario,
        arguments: Vec<String>,
        limit: Duration,
    ) -> Result<Output, StageError> {
        Ok(self.sandbox.run(self.command(scenario, arguments, limit))?)
    }

    /// Runs a command as the service and gives it something to read.
    ///
    /// # Errors
    /// The sandbox is gone.
    pub(crate) fn run_with(
        &mut self,
        scenario: &Scenario,
        arguments: Vec<String>,
        input: Input,
        limit: Duration,
    ) -> Result<Output, StageError> {
        let command = Command { input: Some(input), ..self.command(scenario, arguments, limit) };
        Ok(self.sandbox.run(command)?)
    }

    /// Starts an agent as the service manager would, and returns its pid.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start_agent(&mut self, scenario: &Scenario, how: &Start) -> Result<(), StageError> {
        if !self.journal().look_at_all(|all| all.values().any(|record| record.running)) {
            self.tidy()?;
        }
        let arguments = self.agent.run(self.exec_start.as_deref(), &how.args);
        let mut command = self.command(scenario, arguments, Duration::MAX);
        command.environment.extend(how.environment.clone());
        if self.machine.service.notify {
            command.environment.insert("NOTIFY_SOCKET".to_owned(), NOTIFY_SOCKET.to_owned());
        }
        if let Some(span) = scenario.service.watchdog.and_then(|span| span.0) {
            command.environment.insert("WATCHDOG_USEC".to_owned(), span.as_micros().to_string());
            command.launch.watched = true;
        }
        command.arguments = expand_variables(&command.arguments, &command.environment);
        self.sandbox.start_task(&how.name.0, command)?;
        self.started.insert(how.name.clone(), how.clone());
        Ok(())
    }

    /// Empties what systemd removes when the service has ended.
    ///
    /// # Errors
    /// The sandbox is gone.
    pub(crate) fn tidy(&mut self) -> Result<(), StageError> {
        let paths = self.machine.service.volatile.clone();
        self.operate(Operation::Empty { paths })
    }

    /// Empties all that a loss of power empties.
    ///
    /// # Errors
    /// The sandbox is gone.
    pub(crate) fn lose_power(&mut self) -> Result<(), StageError> {
        let mounts = self.machine.plan.host_mounts.iter().map(|mount| mount.target().to_owned());
        let mut paths: Vec<_> = mounts.chain(self.machine.service.volatile.iter().cloned()).collect();
        paths.push("/dev/shm".into());
        self.operate(Operation::Empty { paths })
    }

    /// Does something to the machine, as its root.
    ///
    /// # Errors
    /// It does not work.
    pub(crate) fn operate(&mut self, operation: Operation) -> Result<(), StageError> {
        Ok(self.sandbox.operate(operation)?)
    }

    /// Sends a signal to an agent.
    ///
    /// # Errors
    /// The sandbox is gone.
    pub(crate) fn signal(&mut self, name: &AgentName, signal: Signal) -> Result<(), StageError> {
        Ok(self.sandbox.signal(&name.0, signal as i32)?)
    }

    /// What became of agents.
    pub(crate) fn journal(&self) -> &Journal {
        self.sandbox.journal()
    }

    /// Whether an agent says when it is ready.
    pub(crate) const fn notifies(&self) -> bool {
        self.machine.service.notify
    }

    /// The ids of a user.
    ///
    /// # Errors
    /// There is none, or this machine cannot show what is theirs.
    pub(crate) fn ids_of(&self, user: &str) -> Result<Ids, StageError> {
        let account = self.machine.users.find(user).ok_or_else(|| LayoutError::NoUser(user.to_owned()))?;
        if !self.shows_owners() && account.ids != self.machine.service.ids {
            let reason = format!("what belongs to {user} can only be shown as root");
            return Err(StageError::Unavailable(reason));
        }
        Ok(account.ids)
    }

    /// Files of the machine that name secrets get them.
    fn fill_in_secrets(&mut self, scenario: &Scenario) -> Result<(), StageError> {
        for file in &scenario.host.files {
            let Some(content) = &file.content else { continue };
            let filled = self.filled_in(scenario, content);
            if filled != *content {
                let path = file.path.0.clone();
                self.operate(Operation::Write { path, content: filled, owner: None, mode: None })?;
            }
        }
        Ok(())
    }

    /// The agent under test.
    pub(crate) const fn agent(&self) -> &AgentProgram {
        &self.agent
    }

    /// The state of the sandbox's files now.
    ///
    /// # Errors
    /// The sandbox is gone.
    pub(crate) fn manifest(&mut self) -> Result<Manifest, StageError> {
        Ok(self.sandbox.manifest()?)
    }

    /// The brain, where there is one.
    pub(crate) const fn brain(&self) -> Option<&Brain> {
        self.brain.as_ref()
    }

    /// Changes what the brain does.
    ///
    /// # Errors
    /// It refuses: why.
    pub(crate) fn change_brain(&self, change: &BrainStep) -> Result<(), String> {
        let brain = self.brain.as_ref().ok_or("there is no brain")?;
        crate::brain::change(brain, change, &self.credentials.agent_name, &self.credentials.token)
    }

    /// The name of a uid of the sandbox.
    pub(crate) fn user_name(&self, uid: u32) -> String {
        self.machine.users.name_of(uid)
    }

    /// Whether files have their true owners.
    pub(crate) const fn shows_owners(&self) -> bool {
        self.machine.plan.privileged
    }

    /// Where owners and modes are stand-ins, because there is no real root.
    pub(crate) fn stand_ins(&self) -> StandIns {
        StandIns::new(&self.machine.plan, &self.machine.users)
    }

    /// What must never be printed.
    pub(crate) fn secrets(&self) -> [&str; 2] {
        [&self.credentials.token, &self.credentials.hmac_secret]
    }

    /// Leaves the sandbox's files for a look.
    pub(crate) fn keep(&mut self) -> PathBuf {
        self.scratch.keep()
    }

    /// What is said to be closed must refuse the service before the agent is asked, or nothing is shown.
    fn prove_closed_paths(&mut self, scenario: &Scenario) -> Result<(), StageError> {
        let closed = self.machine.plan.mounts.iter().filter(|mount| mount.closes());
        let closed: BTreeSet<_> = closed.map(|mount| mount.target().to_owned()).collect();
        if closed.is_empty() {
            return Ok(());
        }
        let mut arguments: Vec<_> = ["sh", "-c", TRY_WRITING, "sh"].map(str::to_owned).to_vec();
        arguments.extend(closed.iter().map(|path| path.display().to_string()));
        let tried = self.run(scenario, arguments, Duration::from_secs(5))?;
        match tried.stdout.lines().next() {
            Some(path) => Err(StageError::Void(format!("the service can write to {path}"))),
            None => Ok(()),
        }
    }
}

fn start_servers(
    runtime: &Runtime,
    scenario: &Scenario,
    agent: &AgentProgram,
    sockets: Sockets,
) -> Result<Brain, StageError> {
    let url = &scenario.brain.url;
    let options = Options {
        tls: url.tls,
        names: vec![url.host.clone()],
        project: scenario.brain.project.clone(),
        agent: scenario.brain.agent.clone(),
        strict: scenario.brain.strict.unwrap_or(!agent.is_foreign()),
        seed: scenario.seed,
        certificate: scenario.brain.certificate,
        faults: scenario.brain.faults.clone(),
        ..Options::default()
    };
    let answers = scenario.host.dns.clone();
    // It ends with the runtime; if it fails before, look-ups in the sandbox time out and say so.
    runtime.spawn(dns::serve(sockets.resolver, answers));
    Ok(runtime.block_on(Brain::start(options, sockets.brain))?)
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(brain) = self.brain.take() {
            self.runtime.block_on(brain.stop());
        }
    }
}
