//! PyPI's brain, on SQLite, with its administrator logged in.

use std::net::TcpListener;

use anyhow::Context;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{Running, command, eventually, venv};
use crate::rest::Client;

const EMAIL: &str = "you@dev.local";
const PASSWORD: &str = "correct-horse-battery-9";
pub(crate) const PROJECT: &str = "default";

/// A running brain.
pub(crate) struct RealBrain {
    pub(crate) url: String,
    pub(crate) client: Client,
    pub(crate) folder: TempDir,
    _process: Running,
}

impl RealBrain {
    /// Starts one, on a state of its own.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let home = [("Z4J_HOME".to_owned(), folder.path().join("brain").display().to_string())];
        let mut serve = command(&venv("1.13.0")?.join("bin/z4j"), folder.path(), &home);
        serve.args(["serve", "--env", "dev", "--host", "127.0.0.1", "--port", &port.to_string()]);
        serve.args(["--admin-email", EMAIL, "--admin-password", PASSWORD]);
        let process = Running::start(serve.stderr(std::process::Stdio::null()))?;
        let url = format!("http://127.0.0.1:{port}/");
        let mut client = Client::new(&url);
        eventually("the real brain", || Ok(client.is_up("/api/v1/health").then_some(())))?;
        client.log_in(EMAIL, PASSWORD)?;
        Ok(Self { url, client, folder, _process: process })
    }

    /// A new agent: the variables that it needs.
    pub(crate) fn mint(&self, name: &str) -> anyhow::Result<Vec<(String, String)>> {
        let path = format!("/api/v1/projects/{PROJECT}/agents");
        let minted = self.client.post(&path, &json!({ "name": name }))?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("text");
        Ok(vec![
            ("Z4J_BRAIN_URL".to_owned(), self.url.clone()),
            ("Z4J_TOKEN".to_owned(), text(&minted["token"])?),
            ("Z4J_HMAC_SECRET".to_owned(), text(&minted["hmac_secret"])?),
            ("Z4J_PROJECT_ID".to_owned(), PROJECT.to_owned()),
            ("Z4J_AGENT_NAME".to_owned(), name.to_owned()),
            ("Z4J_AGENT_ID".to_owned(), text(&minted["agent"]["id"])?),
        ])
    }

    /// What the brain knows of an agent that a hello could change.
    pub(crate) fn known(&self, name: &str) -> anyhow::Result<Value> {
        let agents = self.client.get(&format!("/api/v1/projects/{PROJECT}/agents"))?;
        let agents = agents.as_array().context("agents")?;
        let agent = agents.iter().find(|agent| agent["name"] == name).context("the agent")?;
        let keys =
            ["framework_adapter", "engine_adapters", "scheduler_adapters", "capabilities", "host_name"];
        Ok(keys.iter().map(|key| ((*key).to_owned(), agent[*key].clone())).collect())
    }
}
