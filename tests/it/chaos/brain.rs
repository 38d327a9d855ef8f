//! The mock brain as a program of its own, which can be killed at any moment and comes back on the same address.
//!
//! Everything is asked of it as any other test suite would: by its command line.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::program;

use super::verdict::Accepted;

pub(super) struct Brain {
    folder: tempfile::TempDir,
    /// `ADDRESS:PORT`, the same for all its lives.
    address: String,
    child: Child,
    /// Where the log of this round begins.
    mark: u64,
}

impl Brain {
    /// Starts one on a free port.
    pub(super) fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (child, announced) = serve(folder.path(), "127.0.0.1:0")?;
        let address = announced["url"].as_str().and_then(|url| url.strip_prefix("http://"));
        let address = address.context("an address")?.trim_end_matches('/').to_owned();
        Ok(Self { folder, address, child, mark: 0 })
    }

    /// What an agent has to know to reach it.
    pub(super) fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        let settings = self.ask(&["env", "--format", "json"])?;
        let pair = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        Ok(settings.as_object().context("settings")?.iter().filter_map(pair).collect())
    }

    /// kill -9.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts again what was killed.
    pub(super) fn revive(&mut self) -> anyhow::Result<()> {
        (self.child, _) = serve(self.folder.path(), &self.address)?;
        Ok(())
    }

    pub(super) fn set_fault(&self, fault: &str) -> anyhow::Result<()> {
        self.tell(&["fault", "set", fault]).map(drop)
    }

    pub(super) fn clear_faults(&self) -> anyhow::Result<()> {
        self.tell(&["fault", "clear"]).map(drop)
    }

    /// A process that ends as soon as so many events were accepted in all its lives.
    pub(super) fn wait_for(&self, events: usize, seconds: u64) -> anyhow::Result<Child> {
        let (events, limit) = (events.to_string(), format!("{seconds}s"));
        let mut command = self.command(&["wait", "--events", &events, "--timeout", &limit])?;
        Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    /// Everything that it accepted, in order of arrival.
    pub(super) fn accepted(&self) -> anyhow::Result<Vec<Accepted>> {
        let events = self.ask(&["events", "--json"])?;
        let one = |event: &Value| {
            let number = event["payload"]["number"].as_u64().context("a number")?;
            Ok(Accepted {
                task: event["task_id"].as_str().context("a task")?.to_owned(),
                number: usize::try_from(number)?,
                duplicates: event["duplicates"].as_u64().context("how often it came again")?,
            })
        };
        events["items"].as_array().context("events")?.iter().map(one).collect()
    }

    /// A round begins: its log is what comes now.
    pub(super) fn mark(&mut self) -> anyhow::Result<()> {
        self.mark = std::fs::metadata(log(self.folder.path()))?.len();
        Ok(())
    }

    /// What it logged in this round.
    pub(super) fn logged(&self) -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log(self.folder.path()))?;
        file.seek(SeekFrom::Start(self.mark))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(text)
    }

    fn ask(&self, words: &[&str]) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&self.tell(words)?.stdout)?)
    }

    fn tell(&self, words: &[&str]) -> anyhow::Result<Output> {
        let output = self.command(words)?.output()?;
        ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output)
    }

    fn command(&self, words: &[&str]) -> anyhow::Result<Command> {
        let mut command = ours(self.folder.path())?;
        command.args(words);
        Ok(command)
    }
}

impl Drop for Brain {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn ours(folder: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(program::ours("mock-brain")?);
    command.env_clear().env("HOME", folder).stdin(Stdio::null());
    Ok(command)
}

fn log(folder: &Path) -> PathBuf {
    folder.join("brain.log")
}

/// Starts a brain and reads its announcement.
fn serve(folder: &Path, listen: &str) -> anyhow::Result<(Child, Value)> {
    let stderr = OpenOptions::new().create(true).append(true).open(log(folder))?;
    let mut child = ours(folder)?
        .args(["serve", "--json", "--no-tls", "--listen", listen])
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()?;
    let mut line = String::new();
    let stdout = child.stdout.take().context("a pipe")?;
    BufReader::new(stdout).read_line(&mut line)?;
    let announced = serde_json::from_str(&line).with_context(|| {
        format!("the brain did not start: {}", std::fs::read_to_string(log(folder)).unwrap_or_default())
    })?;
    Ok((child, announced))
}
