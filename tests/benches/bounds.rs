//! Measures what the project promises of its programs; `./dev bench` builds and runs it in release.
//!
//! Prints figures beside their bounds and judges nothing: these machines are noisy.

#[path = "shared/verified.rs"]
mod verified;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value as Json;

const ROUNDS: usize = 21;

fn main() -> anyhow::Result<()> {
    let programs = programs()?;
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state");
    println!("{:48} {:>10} {:>10}", "what", "median", "bound");
    row("mock-brain serve ready, first start", Serving::start(&programs, &state)?.ready, "100 ms");
    let mut ready = Vec::new();
    for _ in 0..ROUNDS {
        ready.push(Serving::start(&programs, &state)?.ready);
    }
    row("mock-brain serve ready, later starts", median(ready), "100 ms");

    let brain = Serving::start(&programs, &state)?;
    let mut doctor = Vec::new();
    for _ in 0..ROUNDS {
        doctor.push(doctor_once(&programs, &state, folder.path())?);
    }
    row("z4j doctor against it, TLS, whole process", median(doctor), "50 ms");
    let resident = resident_kib(brain.child.id())?;
    println!("{:48} {:>6} MiB {:>10}", "mock-brain resident after that", resident / 1024, "15 MiB");

    let rate = verified::megabytes_per_second()?;
    println!("{:48} {rate:>5.0} MB/s", "parse, canonicalise, verify, one core");

    let (total, slowest) = scenarios(&programs)?;
    row("harness run, all scenarios", total, "30 s");
    row("harness run, the slowest scenario", slowest, "500 ms");
    Ok(())
}

fn row(what: &str, took: Duration, bound: &str) {
    println!("{what:48} {:>7.1} ms {bound:>10}", took.as_secs_f64() * 1e3);
}

fn median(mut spans: Vec<Duration>) -> Duration {
    spans.sort();
    spans[spans.len() / 2]
}

/// The folder of release programs: this one lies in its `deps`.
fn programs() -> anyhow::Result<PathBuf> {
    let bench = std::env::current_exe()?;
    Ok(bench.parent().and_then(Path::parent).context("a build folder")?.to_owned())
}

struct Serving {
    child: Child,
    ready: Duration,
}

impl Serving {
    fn start(programs: &Path, state: &Path) -> anyhow::Result<Self> {
        let started = Instant::now();
        let mut child = Command::new(programs.join("mock-brain"))
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--state-dir"])
            .arg(state)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("a pipe")?).read_line(&mut line)?;
        anyhow::ensure!(line.contains("listening"), "serve said: {line}");
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

fn doctor_once(programs: &Path, state: &Path, home: &Path) -> anyhow::Result<Duration> {
    let printed = Command::new(programs.join("mock-brain"))
        .args(["env", "--format", "json", "--state-dir"])
        .arg(state)
        .output()?;
    let variables: Json = serde_json::from_slice(&printed.stdout)?;
    let pairs = variables.as_object().context("an object")?;
    let mut doctor = Command::new(programs.join("z4j"));
    doctor.arg("doctor").env_clear().env("HOME", home);
    doctor.envs(pairs.iter().filter_map(|(name, value)| Some((name, value.as_str()?))));
    let started = Instant::now();
    let output = doctor.output()?;
    let took = started.elapsed();
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(took)
}

fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn scenarios(programs: &Path) -> anyhow::Result<(Duration, Duration)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let printed =
        Command::new(programs.join("harness")).args(["run", "--json"]).current_dir(root).output()?;
    let report: Json = serde_json::from_slice(&printed.stdout)?;
    let span = |value: &Json| value.as_u64().map(Duration::from_millis).context("a duration");
    let all = report["scenarios"].as_array().context("scenarios")?;
    let spans = all.iter().map(|one| span(&one["duration_ms"])).collect::<anyhow::Result<Vec<_>>>()?;
    let slowest = spans.into_iter().max().context("at least one")?;
    Ok((span(&report["duration_ms"])?, slowest))
}
