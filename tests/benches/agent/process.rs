//! The agent as a process: started, asked, measured, killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::ack_server::SECRET;

/// How long an agent may take to serve.
const LIMIT: Duration = Duration::from_secs(20);
/// The kernel's clock ticks in `/proc` (proc_pid_stat(5); 100 a second on every Linux that we build for).
const TICKS_PER_SECOND: u64 = 100;

/// The folder of release programs: this one lies in its `deps`.
pub(crate) fn programs() -> anyhow::Result<PathBuf> {
    let bench = std::env::current_exe()?;
    Ok(bench.parent().and_then(Path::parent).context("a build folder")?.to_owned())
}

/// A child that is killed when its guard goes.
pub(crate) struct Guarded(pub(crate) Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a command under a guard.
pub(crate) fn guarded(command: &mut Command) -> anyhow::Result<Guarded> {
    Ok(Guarded(command.spawn().with_context(|| format!("start {command:?}"))?))
}

/// A command with an environment of its own, configured for a brain.
pub(crate) fn command(program: &Path, home: &Path, url: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home);
    for (name, value) in [
        ("Z4J_BRAIN_URL", url),
        ("Z4J_TOKEN", "bench"),
        ("Z4J_PROJECT_ID", "bench"),
        ("Z4J_HMAC_SECRET", SECRET),
    ] {
        command.env(name, value);
    }
    command
}

/// What a process has used.
pub(crate) struct Figures {
    pub(crate) cpu: Duration,
    pub(crate) resident_kib: u64,
}

/// A running agent.
pub(crate) struct Agent {
    home: tempfile::TempDir,
    url: String,
    variables: Vec<(String, String)>,
    child: Option<Guarded>,
}

impl Agent {
    /// Starts one, and waits until it serves.
    pub(crate) fn start(url: &str, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut agent = Self { home: tempfile::tempdir()?, url: url.to_owned(), variables, child: None };
        agent.start_again()?;
        Ok(agent)
    }

    /// Starts the process in the same home, and waits until it serves.
    pub(crate) fn start_again(&mut self) -> anyhow::Result<()> {
        let mut command = self.verb("run");
        self.child = Some(guarded(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?);
        let deadline = Instant::now() + LIMIT;
        let socket = self.ingest_socket()?;
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            if Instant::now() > deadline {
                bail!("the agent does not serve {}", socket.display());
            }
            // Nothing to wait on across processes.
            std::thread::park_timeout(Duration::from_micros(500));
        }
        Ok(())
    }

    /// Kills it, as a power cut would.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.take().context("a running agent")?;
        Ok(())
    }

    /// Its home directory.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A verb of the program in the same world.
    pub(crate) fn verb(&self, verb: &str) -> Command {
        let program = programs().map(|folder| folder.join("z4j")).unwrap_or_else(|_| "z4j".into());
        let mut command = command(&program, self.home.path(), &self.url);
        command.arg(verb).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Where it takes events.
    pub(crate) fn ingest_socket(&self) -> anyhow::Result<PathBuf> {
        let pid = self.child.as_ref().context("a running agent")?.0.id();
        Ok(self.home.path().join(format!(".z4j/agent-{pid}.sock")))
    }

    /// What it has used so far (proc_pid_stat(5), proc_pid_status(5)).
    pub(crate) fn figures(&self) -> anyhow::Result<Figures> {
        let pid = self.child.as_ref().context("a running agent")?.0.id();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = stat.rsplit(") ").next().context("fields")?.split(' ').collect();
        let ticks = |index: usize| fields.get(index).context("a field")?.parse::<u64>().context("ticks");
        let cpu = Duration::from_millis((ticks(11)? + ticks(12)?) * 1000 / TICKS_PER_SECOND);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(Figures { cpu, resident_kib: line.trim().trim_end_matches(" kB").parse()? })
    }
}
