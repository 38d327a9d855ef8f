//! The brain, the home on a small disk, and the agent process of all rounds.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use z4j_protocol::Timestamp;

use crate::program;

use super::brain::Brain;
use super::emitter::{Emitter, Progress, Told};
use super::plan::{Blow, Plan};
use super::verdict::Accepted;

/// How long a round may take to come to rest.
const LIMIT: Duration = Duration::from_secs(60);
/// The home's size: room for the events of a round many times over.
const DISK: &str = "size=16m,mode=0700";

pub(super) struct World {
    brain: Brain,
    home: tempfile::TempDir,
    /// Whether the home is a disk of its own, which can be filled.
    own_disk: bool,
    logs: tempfile::TempDir,
    agent: Option<Child>,
    variables: Vec<(String, String)>,
    /// Events that were told to be durable in all rounds.
    durable: usize,
}

impl World {
    pub(super) fn new() -> anyhow::Result<Self> {
        let (home, logs) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let own_disk = mount_disk(home.path());
        if let Err(error) = &own_disk {
            println!("full disks are left out: no tmpfs can be mounted ({error}); run as root");
        }
        let brain = Brain::start()?;
        let mut variables = brain.settings()?;
        variables.extend(
            [
                ("PATH", "/usr/bin:/bin".to_owned()),
                ("HOME", home.path().display().to_string()),
                // Where it goes when its home is full.
                ("TMPDIR", logs.path().display().to_string()),
                ("Z4J_LOG_LEVEL", "DEBUG".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        Ok(Self { brain, home, own_disk: own_disk.is_ok(), logs, agent: None, variables, durable: 0 })
    }

    /// Plays a round to its end, and returns what was told to be durable.
    pub(super) fn play(&mut self, plan: &Plan) -> anyhow::Result<Vec<Told>> {
        let progress = Arc::new(Progress::default());
        self.brain.mark()?;
        self.start_agent(plan, &progress)?;
        let emitter = Emitter {
            roots: self.roots(),
            round: plan.round,
            events: plan.events,
            start: now().plus_seconds(-3600),
            progress: Arc::clone(&progress),
        };
        let emitting = std::thread::spawn(move || emitter.run());
        for (after, blow) in &plan.blows {
            wait(|| progress.durable.load(Ordering::SeqCst) >= *after || emitting.is_finished())?;
            self.strike(blow, plan, &progress, &|| emitting.is_finished())?;
        }
        let told = emitting.join().map_err(|_| anyhow::anyhow!("the emitter panicked"))??;
        self.heal()?;
        self.durable += told.len();
        self.arrive()?;
        Ok(told)
    }

    /// Waits until the brain has every event of all rounds.
    fn arrive(&mut self) -> anyhow::Result<()> {
        let mut waiting = self.brain.wait_for(self.durable, LIMIT.as_secs())?;
        loop {
            if let Some(status) = waiting.try_wait()? {
                ensure!(status.success(), "not all of {} events came to the brain ({status})", self.durable);
                return Ok(());
            }
            if self.agent_has_ended() {
                waiting.kill()?;
                waiting.wait()?;
                bail!("the agent ended by itself");
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    fn strike(
        &mut self,
        blow: &Blow,
        plan: &Plan,
        progress: &Arc<Progress>,
        is_over: &dyn Fn() -> bool,
    ) -> anyhow::Result<()> {
        let reaches = |count: &AtomicUsize, further: usize| {
            let goal = count.load(Ordering::SeqCst) + further;
            wait(|| count.load(Ordering::SeqCst) >= goal || is_over())
        };
        match blow {
            Blow::KillAgent => self.start_agent(plan, progress),
            Blow::Reconnect => self.reconnect(),
            Blow::Fault(text) => self.brain.set_fault(text),
            Blow::KillBrain { back_after } => {
                self.brain.kill()?;
                reaches(&progress.durable, *back_after)?;
                self.brain.revive()
            }
            Blow::FullDisk { .. } if !self.own_disk => Ok(()),
            Blow::FullDisk { refusals } => {
                let ballast = self.home.path().join("ballast");
                fill(&ballast)?;
                reaches(&progress.refused, *refusals)?;
                Ok(std::fs::remove_file(ballast)?)
            }
        }
    }

    /// Kills the agent that runs, if one does, and starts another.
    fn start_agent(&mut self, plan: &Plan, progress: &Arc<Progress>) -> anyhow::Result<()> {
        let current = || progress.agent.lock().unwrap_or_else(PoisonError::into_inner);
        *current() = 0;
        self.kill_agent();
        let log = OpenOptions::new().create(true).append(true).open(self.log(plan.round))?;
        let child = Command::new(program::ours("z4j")?)
            .arg("run")
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .env("Z4J_TRANSPORT", plan.transport)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        *current() = child.id();
        self.agent = Some(child);
        Ok(())
    }

    fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            // It may have ended by itself, which the end of the round tells.
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }

    fn agent_has_ended(&self) -> bool {
        // A zombie's state is all that is left of it (proc_pid_stat(5)).
        let stat =
            self.agent.as_ref().map(|agent| std::fs::read_to_string(format!("/proc/{}/stat", agent.id())));
        !matches!(stat, Some(Ok(stat)) if !stat.contains(") Z "))
    }

    /// SIGHUP, once the agent serves: before it handles the signal, that would end it.
    fn reconnect(&self) -> anyhow::Result<()> {
        let agent = self.agent.as_ref().context("an agent")?;
        let name = format!("agent-{}.sock", agent.id());
        let serves = |root: &PathBuf| UnixStream::connect(root.join(&name)).is_ok();
        wait(|| self.roots().iter().any(serves) || self.agent_has_ended())?;
        Ok(kill(Pid::from_raw(i32::try_from(agent.id())?), Signal::SIGHUP)?)
    }

    /// Ends every fault, and shortens the wait for the next attempt.
    fn heal(&self) -> anyhow::Result<()> {
        self.brain.clear_faults()?;
        self.reconnect()
    }

    /// The home root and the temporary one.
    fn roots(&self) -> Vec<PathBuf> {
        let temporary = format!("z4j-{}", nix::unistd::Uid::effective());
        vec![self.home.path().join(".z4j"), self.logs.path().join(temporary)]
    }

    /// Everything that the brain accepted, in order of arrival.
    pub(super) fn accepted(&self) -> anyhow::Result<Vec<Accepted>> {
        self.brain.accepted()
    }

    /// Keeps the logs of a round that failed; tells where.
    pub(super) fn keep(&self, round: u64, seed: u64, plan: &Plan) -> String {
        let kept = std::env::temp_dir().join(format!("z4j-chaos-{seed}-{round}"));
        let keep = || -> std::io::Result<()> {
            std::fs::create_dir_all(&kept)?;
            std::fs::copy(self.log(round), kept.join("agent.log"))?;
            std::fs::write(kept.join("brain.log"), self.brain.logged()?)
        };
        let logs = match keep() {
            Ok(()) => format!("logs of agent and brain: {}", kept.display()),
            Err(error) => format!("its logs could not be kept in {}: {error}", kept.display()),
        };
        format!("round {round} of seed {seed} ({plan}); {logs}")
    }

    fn log(&self, round: u64) -> PathBuf {
        self.logs.path().join(format!("{round}.log"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill_agent();
        if self.own_disk {
            let _ = nix::mount::umount(self.home.path());
        }
    }
}

/// A disk of its own for the home, in a mount namespace of this thread and its children.
fn mount_disk(home: &Path) -> nix::Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("tmpfs"), home, Some("tmpfs"), MsFlags::MS_NOSUID, Some(DISK))
}

fn fill(ballast: &Path) -> anyhow::Result<()> {
    let mut file = File::create(ballast)?;
    for size in [64 * 1024, 512] {
        let block = vec![0; size];
        while file.write_all(&block).is_ok() {}
    }
    Ok(())
}

fn wait(done: impl Fn() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        if Instant::now() > deadline {
            bail!("it did not happen within {LIMIT:?}");
        }
        // Nothing to wait on across processes.
        std::thread::park_timeout(Duration::from_millis(5));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the application's clock")]
fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}
