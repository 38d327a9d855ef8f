//! The stage of one scenario: its sandbox, its brain, its resolver, put up together and taken down together.
//!
//! Owns their order and the service's environment. Must not know what the steps are about.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mock_brain::{Brain, Credentials, Options};
use tokio::runtime::Runtime;

use crate::agent::AgentProgram;
use crate::dns;
use crate::sandbox::{Command, LayoutError, Machine, Manifest, Output, Sandbox, SandboxError};
use crate::sandbox::{Scratch, Sockets};
use crate::scenario::{Loaded, Scenario};
use crate::stand_in::StandIns;

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
    /// The state of the sandbox's files before the first step.
    pub(crate) start: Manifest,
}

/// Why a stage cannot be put up, or does not carry a step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    /// This machine cannot show the scenario.
    #[error("{0}")]
    Unavailable(String),
    /// The scenario contradicts itself.
    #[error(transparent)]
    Layout(LayoutError),
    #[error(transparent)]
    Sandbox(SandboxError),
    #[error("the mock brain does not start: {0}")]
    Brain(#[from] mock_brain::StartError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The scenario would prove nothing.
    #[error("void: {0}")]
    Void(String),
}

impl From<SandboxError> for StageError {
    fn from(error: SandboxError) -> Self {
        match error {
            SandboxError::Unavailable(reason) => Self::Unavailable(reason),
            other => Self::Sandbox(other),
        }
    }
}

impl From<LayoutError> for StageError {
    fn from(error: LayoutError) -> Self {
        match error {
            LayoutError::NeedsRoot { .. } => Self::Unavailable(error.to_string()),
            other => Self::Layout(other),
        }
    }
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
        let brain = start_servers(&runtime, scenario, sockets)?;
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
            start: Manifest::new(),
        };
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
        let service = &self.machine.service;
        let command = Command {
            arguments,
            environment: self.environment(scenario),
            working_directory: service.working_directory.clone(),
            ids: service.ids,
            umask: service.umask,
            no_new_privileges: service.no_new_privileges,
            limit_millis: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        };
        Ok(self.sandbox.run(command)?)
    }

    /// The words that start the agent under test.
    pub(crate) fn agent_words(&self) -> Vec<String> {
        self.agent.words()
    }

    /// The state of the sandbox's files now.
    ///
    /// # Errors
    /// The sandbox is gone.
    pub(crate) fn manifest(&mut self) -> Result<Manifest, StageError> {
        Ok(self.sandbox.manifest()?)
    }

    /// The brain.
    pub(crate) const fn brain(&self) -> Option<&Brain> {
        self.brain.as_ref()
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

    /// The manager's environment, then the brain's, then the service's own.
    fn environment(&self, scenario: &Scenario) -> std::collections::BTreeMap<String, String> {
        let credentials = &self.credentials;
        let brain = [
            ("Z4J_BRAIN_URL", &scenario.brain.url.text),
            ("Z4J_TOKEN", &credentials.token),
            ("Z4J_HMAC_SECRET", &credentials.hmac_secret),
            ("Z4J_PROJECT_ID", &credentials.project_id),
            ("Z4J_AGENT_NAME", &credentials.agent_name),
        ];
        let mut environment: std::collections::BTreeMap<_, _> =
            brain.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        environment.extend(self.machine.service.environment.clone());
        for name in &self.machine.service.unset {
            environment.remove(name);
        }
        environment
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

fn start_servers(runtime: &Runtime, scenario: &Scenario, sockets: Sockets) -> Result<Brain, StageError> {
    let url = &scenario.brain.url;
    let options = Options {
        tls: url.tls,
        names: vec![url.host.clone()],
        project: scenario.brain.project.clone(),
        agent: scenario.brain.agent.clone(),
        strict: true,
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
