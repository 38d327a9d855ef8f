//! `mock-brain serve` in a folder of its own, and what it saw.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Running, eventually, ours, output};
use crate::rest::Client;

/// A running brain of ours.
pub(crate) struct MockBrain {
    pub(crate) folder: TempDir,
    program: PathBuf,
    state: PathBuf,
    control: Client,
    _process: Running,
}

impl MockBrain {
    /// Starts one on TLS, with these flags.
    pub(crate) fn start(flags: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let state = folder.path().join("state");
        let program = ours("mock-brain")?;
        let mut serve = Command::new(&program);
        serve.args(["serve", "--json", "--listen", "127.0.0.1:0", "--heartbeat", "1"]).args(flags);
        let process = Running::start(serve.arg("--state-dir").arg(&state))?;
        let listening = process.line("the brain", |line| line["event"] == "listening")?;
        ensure!(listening["url"].as_str().is_some_and(|url| url.starts_with("https://")), "{listening}");
        let control: Value = serde_json::from_slice(&std::fs::read(state.join("control.json"))?)?;
        let text = |key: &str| control[key].as_str().context("control.json").map(str::to_owned);
        let control = Client::with_token(&text("url")?, &text("token")?);
        Ok(Self { folder, program, state, control, _process: process })
    }

    /// The variables that `mock-brain env` gives.
    pub(crate) fn variables(&self) -> anyhow::Result<Vec<(String, String)>> {
        let document = self.document(&["env", "--format", "json"])?;
        let pairs = document.as_object().context("an object")?.iter();
        pairs.map(|(name, value)| Ok((name.clone(), value.as_str().context("text")?.to_owned()))).collect()
    }

    pub(crate) fn home(&self) -> &Path {
        self.folder.path()
    }

    /// What a verb prints as JSON, whatever its exit code.
    pub(crate) fn document(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let mut verb = Command::new(&self.program);
        let printed = output(verb.args(arguments).arg("--state-dir").arg(&self.state))?;
        serde_json::from_slice(&printed.stdout)
            .with_context(|| format!("{arguments:?}: {}", String::from_utf8_lossy(&printed.stderr)))
    }

    pub(crate) fn get(&self, what: &str) -> anyhow::Result<Value> {
        self.control.get(&format!("/mock/v1/{what}"))
    }

    /// The accepted events.
    pub(crate) fn accepted(&self) -> anyhow::Result<Vec<Value>> {
        Ok(self.document(&["events", "--json"])?["items"].as_array().context("items")?.clone())
    }

    /// The first session for which something holds.
    pub(crate) fn session(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        eventually(what, || {
            let sessions = self.get("sessions")?;
            let items = sessions["items"].as_array().context("items")?;
            Ok(items.iter().find(|session| wanted(session)).cloned())
        })
    }
}
