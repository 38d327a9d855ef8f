//! The published brain on SQLite, under the same load generator.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::process::{Guarded, Load, load, resident_kib};
use crate::programs;
use crate::table::Table;

const EMAIL: &str = "you@dev.local";
const PASSWORD: &str = "correct-horse-battery-9";
/// How long it may take to serve.
const LIMIT: Duration = Duration::from_secs(60);

/// Events a second that it acknowledges; none without the packages. The batches are smaller than ours are given,
/// so that some of them are acknowledged within the run.
pub(crate) fn measure(table: &mut Table) -> anyhow::Result<Option<f64>> {
    let program = programs()?.parent().context("a target folder")?.join("interop/1.13.0/bin/z4j");
    if !program.exists() {
        return Ok(None);
    }
    let folder = tempfile::tempdir()?;
    let (brain, _, first) = start(&program, folder.path())?;
    drop(brain);
    let (brain, url, later) = start(&program, folder.path())?;
    table.told("published brain: ready, new state", first.as_secs_f64() * 1e3, "ms");
    table.told("published brain: ready, existing state", later.as_secs_f64() * 1e3, "ms");
    let password = folder.path().join("password");
    std::fs::write(&password, PASSWORD)?;
    let password = password.to_string_lossy();
    let flags = [
        url.as_str(),
        "--login",
        EMAIL,
        "--password-file",
        &password,
        "--project",
        "default",
        "--agents",
        "4",
        "--batch",
        "100",
        "--window",
        "1",
        "--rate",
        "max",
        "--duration",
        "10s",
    ];
    let Load { report, .. } = load(folder.path(), &flags)?;
    let rate = report["events_per_second"].as_f64().context("a rate")?;
    anyhow::ensure!(rate > 0.0, "{report}");
    table.told("published brain: events/s acknowledged, SQLite", rate, "/s");
    table.told("published brain: resident after that", resident_kib(brain.0.id())? as f64 / 1024.0, "MiB");
    Ok(Some(rate))
}

fn start(program: &Path, folder: &Path) -> anyhow::Result<(Guarded, String, Duration)> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let started = Instant::now();
    let child = Command::new(program)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", folder)
        .env("Z4J_HOME", folder.join("brain"))
        .current_dir(folder)
        .args(["serve", "--env", "dev", "--host", "127.0.0.1", "--port", &port.to_string()])
        .args(["--admin-email", EMAIL, "--admin-password", PASSWORD])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("start {program:?}"))?;
    let child = Guarded(child);
    let url = format!("http://127.0.0.1:{port}/");
    while ureq::get(&format!("{url}api/v1/health")).call().is_err() {
        if started.elapsed() > LIMIT {
            bail!("the published brain does not serve within {LIMIT:?}");
        }
        // Nothing to wait on across processes.
        std::thread::park_timeout(Duration::from_millis(2));
    }
    Ok((child, url, started.elapsed()))
}
