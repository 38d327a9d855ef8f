//! Brains and load generators as processes: started, asked, measured, ended.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde_json::Value as Json;

use crate::programs;

/// The kernel's clock ticks in `/proc` (proc_pid_stat(5); 100 a second on every Linux that we build for).
const TICKS_PER_SECOND: u64 = 100;

/// A process that is killed when its guard goes.
pub(crate) struct Guarded(pub(crate) Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running mock-brain.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) ready: Duration,
}

impl Serving {
    /// Starts one on a state directory, and waits until it listens.
    pub(crate) fn start(state: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        let started = Instant::now();
        let mut child = mock_brain(state, "serve")?
            .args(["--json", "--listen", "127.0.0.1:0"])
            .args(flags)
            .env("MOCK_BRAIN_LOG", "warn")
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("a pipe")?).read_line(&mut line)?;
        ensure!(line.contains("listening"), "serve said: {line}");
        Ok(Self { child, ready: started.elapsed() })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn mock_brain(state: &Path, verb: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(programs()?.join("mock-brain"));
    command.env_clear().env("HOME", state).arg(verb).arg("--state-dir").arg(state);
    Ok(command)
}

/// What an agent of a running mock-brain is configured with.
pub(crate) fn environment(state: &Path) -> anyhow::Result<Json> {
    let printed = mock_brain(state, "env")?.args(["--format", "json"]).output()?;
    Ok(serde_json::from_slice(&printed.stdout)?)
}

/// What a load generator told, and the processor time that it took.
pub(crate) struct Load {
    pub(crate) report: Json,
    pub(crate) cpu: Duration,
}

/// Runs one to its end.
pub(crate) fn load(state: &Path, flags: &[&str]) -> anyhow::Result<Load> {
    let before = children()?;
    let output = mock_brain(state, "load")?.arg("--json").args(flags).output()?;
    let cpu = children()? - before;
    let said = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).with_context(|| format!("load said: {said}"))?;
    Ok(Load { report, cpu })
}

/// Processor time of the children that ended.
fn children() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros =
        |time: TimeVal| u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or_default();
    Ok(Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time())))
}

/// Processor time of a running process so far.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(") ").next().context("fields")?.split(' ').collect();
    let ticks = |index: usize| fields.get(index).context("a field")?.parse::<u64>().context("ticks");
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 1000 / TICKS_PER_SECOND))
}

/// Resident memory of a running process.
pub(crate) fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
