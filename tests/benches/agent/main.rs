//! Measures the agent beside the published Python agent, on the same ack server, in one run.
//!
//! `./dev bench agent` builds and runs it in release. Prints figures beside their bounds and judges nothing:
//! these machines are noisy. Without the Python packages (`./dev interop` installs them) the comparison is
//! left out, and says so.

mod ack_server;
mod process;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use ack_server::AckServer;
use anyhow::{Context, ensure};
use process::{Agent, Figures, programs};

/// Events of the throughput run: about two seconds of work.
const MANY: usize = 300_000;
/// Events of the Python agent: about three seconds of work.
const PYTHON: usize = 6_000;
/// Events that lie in the buffer while its size and its opening are measured.
const BUFFERED: usize = 100_000;
/// Events of the latency run, one a millisecond.
const PACED: usize = 10_000;

fn main() -> anyhow::Result<()> {
    println!("{:52} {:>12} {:>10}", "what", "measured", "bound");
    let ours = throughput()?;
    match python()? {
        Some(theirs) => {
            row("events/s of the Python agent, end to end", &format!("{theirs:.0}"), "");
            row("ratio", &format!("{:.0} x", ours / theirs), ">= 50 x");
        }
        None => println!("no Python packages: run `./dev interop` once for the comparison"),
    }
    buffered()?;
    latency()
}

fn row(what: &str, measured: &str, bound: &str) {
    println!("{what:52} {measured:>12} {bound:>10}");
}

/// One event of about 300 bytes, as an application would write it.
fn line(number: usize) -> String {
    format!(
        r#"{{"kind":"task.succeeded","engine":"celery","task_id":"4c5f2f0e-{number:08}","data":{{"task_name":"picker.tasks.add","queue":"default","worker":"celery@web-1","runtime_ms":12.75,"args":[1,2,"three"],"kwargs":{{"order":{number},"note":"nothing to see here"}},"result":"ok"}}}}"#
    )
}

fn lines(count: usize, folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join(format!("{count}.ndjson"));
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
    for number in 0..count {
        writeln!(file, "{}", line(number))?;
    }
    file.flush()?;
    Ok(path)
}

/// Emit, buffer, send, ack, delete: events a second, and what they cost.
fn throughput() -> anyhow::Result<f64> {
    let server = AckServer::start()?;
    // Nothing is slowed down for the brain's sake: what is emitted faster than it is sent must find room.
    let agent = Agent::start(&server.url, &[("Z4J_BUFFER_MAX_EVENTS", "1000000")])?;
    server.wait_for_session()?;
    let file = lines(MANY, agent.home())?;
    let before = agent.figures()?;
    let started = Instant::now();
    let emitted = agent.verb("emit").stdin(std::fs::File::open(file)?).output()?;
    ensure!(emitted.status.success(), "{}", String::from_utf8_lossy(&emitted.stderr));
    let durable = started.elapsed();
    server.wait_for_events(MANY)?;
    let took = started.elapsed();
    let cpu = agent.figures()?.cpu - before.cpu;
    let rate = MANY as f64 / took.as_secs_f64();
    row("events/s, emit to ack", &format!("{rate:.0}"), "");
    row("events/s, emit to durable", &format!("{:.0}", MANY as f64 / durable.as_secs_f64()), "");
    row("CPU of the agent an event", &format!("{:.1} us", cpu.as_secs_f64() * 1e6 / MANY as f64), "< 10 us");
    Ok(rate)
}

/// The published agent, its events recorded in the process.
fn python() -> anyhow::Result<Option<f64>> {
    let python = programs()?.parent().context("a target folder")?.join("interop/1.13.0/bin/python");
    if !python.exists() {
        return Ok(None);
    }
    let server = AckServer::start()?;
    let folder = tempfile::tempdir()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/interop/python_agent.py");
    let mut child = process::guarded(
        process::command(&python, folder.path(), &server.url)
            .arg(script)
            .arg(PYTHON.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()),
    )?;
    let stdout = child.0.stdout.take().context("a pipe")?;
    // It says so when everything is recorded; by then some of it has been sent.
    std::thread::spawn(move || BufReader::new(stdout).lines().for_each(drop));
    server.wait_for_events(PYTHON)?;
    let (first, last) = server.span().context("events")?;
    Ok(Some(PYTHON as f64 / (last - first).as_secs_f64()))
}

/// A full buffer: how much memory, and how long until the next process serves it.
fn buffered() -> anyhow::Result<()> {
    let nobody = "http://127.0.0.1:9/";
    let mut agent = Agent::start(nobody, &[("Z4J_BUFFER_PATH", "buffer.sqlite")])?;
    let file = lines(BUFFERED, agent.home())?;
    let emitted = agent.verb("emit").stdin(std::fs::File::open(file)?).output()?;
    ensure!(emitted.status.success(), "{}", String::from_utf8_lossy(&emitted.stderr));
    let Figures { resident_kib, .. } = agent.figures()?;
    row(
        "resident with 100,000 buffered events",
        &format!("{:.1} MiB", resident_kib as f64 / 1024.0),
        "< 25 MiB",
    );
    agent.kill()?;
    let mut spans = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        agent.start_again()?;
        spans.push(started.elapsed());
        agent.kill()?;
    }
    spans.sort();
    row("from exec to serving a full buffer", &format!("{:.1} ms", spans[2].as_secs_f64() * 1e3), "< 50 ms");
    Ok(())
}

/// One event a millisecond: from the write into the socket to the brain's ack.
fn latency() -> anyhow::Result<()> {
    let server = AckServer::start()?;
    let agent = Agent::start(&server.url, &[])?;
    server.wait_for_session()?;
    let mut socket = UnixStream::connect(agent.ingest_socket()?)?;
    let replies = socket.try_clone()?;
    std::thread::spawn(move || BufReader::new(replies).lines().for_each(drop));
    let started = Instant::now();
    let mut sent = Vec::with_capacity(PACED);
    for number in 0..PACED {
        let due = started + Duration::from_millis(number as u64);
        while let Some(left) = due.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
        sent.push(Instant::now());
        writeln!(socket, "{}", line(number))?;
    }
    server.wait_for_events(PACED)?;
    let acked = server.acked_at();
    let mut spans: Vec<Duration> = sent.iter().zip(&acked).map(|(sent, acked)| *acked - *sent).collect();
    spans.sort();
    let at = |percent: usize| spans[(spans.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    row("emit to ack at 1,000 events/s, median", &format!("{:.1} ms", at(50)), "");
    row("emit to ack at 1,000 events/s, p99", &format!("{:.1} ms", at(99)), "< 20 ms");
    Ok(())
}
