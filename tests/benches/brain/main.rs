//! Measures mock-brain beside the published brain on SQLite, in one run, with one load generator.
//!
//! `./dev bench brain` builds and runs it in release. The load is `mock-brain load`, a process of its own, on the
//! same cores; every frame is signed for its session, and verified. A bound that is not kept fails the run.
//! These machines are noisy: processor time an event is told beside events a second. Without the Python
//! packages (`./dev interop` installs them) the published brain is taken at 168 events/s, and that is said.

mod process;
mod real;
mod table;
#[path = "../shared/verified.rs"]
mod verified;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use process::{Load, Serving, cpu, load, resident_kib};
use table::Table;

/// Events a second of the published brain where it cannot be measured: as it was when the bound was set.
const REAL: f64 = 168.0;
/// Agents of the throughput runs, and events of their batches.
const STREAM: [&str; 6] = ["--agents", "8", "--batch", "500", "--rate", "max"];
/// Connected agents.
const MANY: u64 = 10_000;
/// Starts whose median is taken.
const STARTS: usize = 11;

fn main() -> anyhow::Result<ExitCode> {
    let mut table = Table::new();
    let real = real::measure(&mut table)?;
    if real.is_none() {
        println!("no Python packages: run `./dev interop` once; the published brain counts as {REAL}/s");
    }
    let real = real.unwrap_or(REAL);
    ready(&mut table)?;
    throughput(&mut table, "journaled", &[], real * 500.0)?;
    throughput(&mut table, "--memory", &["--memory"], real * 1_000.0)?;
    refused(&mut table)?;
    many(&mut table)?;
    let rate = verified::megabytes_per_second()?;
    table.least("parse, canonicalise, verify, a core, best of 5", rate, 150.0, "MB/s");
    Ok(table.verdict())
}

/// From exec to listening, on a new state and on one that is there.
fn ready(table: &mut Table) -> anyhow::Result<()> {
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let folder = tempfile::tempdir()?;
        first.push(Serving::start(folder.path(), &[])?.ready);
        later.push(Serving::start(folder.path(), &[])?.ready);
    }
    table.most("ready, new state, with TLS", median(first), 30.0, "ms");
    table.most("ready, existing state, with TLS", median(later), 30.0, "ms");
    Ok(())
}

fn median(mut spans: Vec<Duration>) -> f64 {
    spans.sort();
    spans[spans.len() / 2].as_secs_f64() * 1e3
}

/// As many events as are acknowledged.
fn throughput(table: &mut Table, how: &str, flags: &[&str], bound: f64) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let brain = Serving::start(folder.path(), &[&["--no-tls"], flags].concat())?;
    let before = cpu(brain.child.id())?;
    let Load { report, cpu: generator } =
        load(folder.path(), &[&STREAM[..], &["--duration", "10s"]].concat())?;
    let brain_cpu = cpu(brain.child.id())? - before;
    let count = |key: &str| report[key].as_u64().context("a count");
    let acked = count("acked")?;
    // Every event was new, every session lasted: nothing was waved through.
    ensure!(acked > 0 && acked == count("accepted")?, "{report}");
    ensure!(["refused", "ended", "odd"].iter().all(|key| report[*key] == serde_json::json!({})), "{report}");
    let rate = report["events_per_second"].as_f64().context("a rate")?;
    table.least(&format!("events/s acknowledged, {how}"), rate, bound, "/s");
    let each = |time: Duration| time.as_secs_f64() * 1e6 / acked as f64;
    table.told(&format!("processor time an event, {how}: brain"), each(brain_cpu), "us");
    table.told(&format!("processor time an event, {how}: load"), each(generator), "us");
    let alone = 2.0 / (brain_cpu + generator).as_secs_f64() * acked as f64;
    table.told(&format!("events/s of two cores without other work, {how}"), alone, "/s");
    let p99 = report["ack_latency"]["p99"].as_f64().context("a latency")? / 1e3;
    table.told(&format!("ack latency p99 at that rate, {how}"), p99, "ms");
    table.told(
        &format!("resident after that, {how}"),
        resident_kib(brain.child.id())? as f64 / 1024.0,
        "MiB",
    );
    Ok(())
}

/// A wrong secret gets nowhere: what the runs above measured was verified.
fn refused(table: &mut Table) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let _brain = Serving::start(folder.path(), &["--no-tls", "--memory"])?;
    let token = process::environment(folder.path())?["Z4J_TOKEN"].as_str().context("a token")?.to_owned();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, format!("{token} {}\n", "A".repeat(43)))?;
    let url = process::environment(folder.path())?["Z4J_BRAIN_URL"].as_str().context("a URL")?.to_owned();
    let tokens = tokens.to_string_lossy();
    let flags = [url.as_str(), "--tokens", &tokens, "--agents", "1", "--duration", "1s"];
    let Load { report, .. } = load(folder.path(), &flags)?;
    table.most(
        "events acknowledged under a wrong secret",
        report["acked"].as_f64().context("a count")?,
        0.0,
        "",
    );
    Ok(())
}

/// Thousands of agents that say that they live.
fn many(table: &mut Table) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let brain =
        Serving::start(folder.path(), &["--no-tls", "--max-connections", "20000", "--max-connects", "0"])?;
    let agents = MANY.to_string();
    let flags = ["--agents", &agents, "--mint", "--rate", "0", "--duration", "25s"];
    let resident = Watch::start(brain.child.id());
    let Load { report, cpu: _ } = load(folder.path(), &flags)?;
    let most = resident.most()?;
    ensure!(report["connected"] == MANY, "{report}");
    ensure!(report["ended"] == serde_json::json!({}), "{report}");
    let beats = report["heartbeats"].as_f64().context("a count")?;
    table.told("agents connected", MANY as f64, "");
    table.told("connects/s", report["connects_per_second"].as_f64().context("a rate")?, "/s");
    table.least("heartbeats of each in 25 s", beats / MANY as f64, 3.0, "");
    table.most("resident an agent, everything counted", most as f64 / MANY as f64, 24.0, "KiB");
    Ok(())
}

/// Looks at a process's memory while something else goes on.
struct Watch {
    stop: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<u64>,
}

impl Watch {
    fn start(pid: u32) -> Self {
        let (stop, stopped) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut most = 0;
            while stopped.recv_timeout(Duration::from_millis(200)).is_err() {
                most = most.max(resident_kib(pid).unwrap_or_default());
            }
            most
        });
        Self { stop, thread }
    }

    /// The most that was seen, in KiB.
    fn most(self) -> anyhow::Result<u64> {
        self.stop.send(())?;
        self.thread.join().map_err(|_| anyhow::anyhow!("the watch failed"))
    }
}

/// Where the release programs are: this one lies in their `deps`.
fn programs() -> anyhow::Result<std::path::PathBuf> {
    let bench = std::env::current_exe()?;
    Ok(bench.parent().and_then(Path::parent).context("a build folder")?.to_owned())
}
