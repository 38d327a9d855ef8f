//! `mock-brain serve` and the agents that come to it, in a folder of their own.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Running, command, ours, output};

pub(crate) struct Brain {
    folder: TempDir,
    _process: Running,
}

impl Brain {
    pub(crate) fn start(flags: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut serve = command(&ours("mock-brain")?, folder.path(), &[]);
        serve.args(["serve", "--json", "--listen", "127.0.0.1:0", "--heartbeat", "1"]).args(flags);
        let process = Running::start(&mut serve)?;
        process.line("the brain", |line| line["event"] == "listening")?;
        Ok(Self { folder, _process: process })
    }

    fn home(&self) -> &Path {
        self.folder.path()
    }

    /// What one of our verbs prints.
    pub(crate) fn verb(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let done = output(command(&ours("mock-brain")?, self.home(), &[]).args(arguments))?;
        ensure!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(String::from_utf8(done.stdout)?)
    }

    /// The link that opens the dashboard.
    pub(crate) fn link(&self) -> anyhow::Result<String> {
        Ok(self.verb(&["dashboard"])?.trim().to_owned())
    }

    /// The faults that are set, by name.
    pub(crate) fn faults(&self) -> anyhow::Result<Vec<String>> {
        let listed: Value = serde_json::from_str(&self.verb(&["fault", "list", "--json"])?)?;
        let items = listed["items"].as_array().context("items")?;
        let set = items.iter().filter(|item| item["active"].as_array().is_some_and(|set| !set.is_empty()));
        Ok(set.filter_map(|item| item["name"].as_str()).map(str::to_owned).collect())
    }

    /// What an agent is configured with.
    pub(crate) fn variables(&self) -> anyhow::Result<Vec<(String, String)>> {
        let document: Value = serde_json::from_str(&self.verb(&["env", "--format", "json"])?)?;
        let pairs = document.as_object().context("an object")?.iter();
        pairs.map(|(name, value)| Ok((name.clone(), value.as_str().context("text")?.to_owned()))).collect()
    }

    fn z4j(&self) -> anyhow::Result<Command> {
        Ok(command(&ours("z4j")?, self.home(), &self.variables()?))
    }

    /// Runs our agent.
    pub(crate) fn agent(&self) -> anyhow::Result<Running> {
        Running::start(self.z4j()?.arg("run").stderr(Stdio::null()))
    }

    /// Has our agent send an event.
    pub(crate) fn emit(&self, event: &Value) -> anyhow::Result<()> {
        let file = self.home().join("event.json");
        std::fs::write(&file, format!("{event}\n"))?;
        let mut emit = self.z4j()?;
        let done = emit.arg("emit").stdin(std::fs::File::open(file)?).output()?;
        ensure!(done.status.success(), "emit: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    /// What our doctor says: its exit code and its report.
    pub(crate) fn doctor(&self) -> anyhow::Result<(Option<i32>, String)> {
        let done = output(self.z4j()?.arg("doctor"))?;
        Ok((done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned()))
    }
}
