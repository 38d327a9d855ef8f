//! As much of the WebDriver protocol (W3C) as the tests need, as JSON over HTTP.
//!
//! Owns requests and answers. Must not know which browser it is.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use ureq::Agent;

/// The key that an element's id has in answers (W3C WebDriver, 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// How long an answer may take: a slow machine starts a browser meanwhile.
const LIMIT: Duration = Duration::from_secs(120);

/// A session with a browser.
pub(crate) struct Session {
    http: Agent,
    url: String,
}

impl Session {
    /// Starts a browser with these capabilities, and tells what it says of itself.
    pub(crate) fn start(driver: &str, capabilities: &Value) -> anyhow::Result<(Self, Value)> {
        let http = Agent::config_builder().http_status_as_error(false).timeout_global(Some(LIMIT)).build();
        let mut session = Self { http: http.into(), url: format!("{driver}/session") };
        let started = session.post("", &json!({ "capabilities": { "alwaysMatch": capabilities } }))?;
        let id = started["sessionId"].as_str().context("a session id")?;
        session.url = format!("{driver}/session/{id}");
        Ok((session, started["capabilities"].clone()))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.url);
        let mut answer = self.http.post(&url).send_json(body).with_context(|| url.clone())?;
        let body: Value = answer.body_mut().with_config().limit(64 << 20).read_json()?;
        if answer.status().is_success() {
            return Ok(body["value"].clone());
        }
        bail!("{path}: {}: {}", body["value"]["error"], body["value"]["message"]);
    }

    fn get(&self, path: &str) -> anyhow::Result<Value> {
        let mut answer = self.http.get(format!("{}{path}", self.url)).call()?;
        let body: Value = answer.body_mut().with_config().limit(64 << 20).read_json()?;
        Ok(body["value"].clone())
    }

    /// Ends the browser.
    pub(crate) fn end(&self) -> anyhow::Result<()> {
        self.http.delete(&self.url).call()?;
        Ok(())
    }

    pub(crate) fn open(&self, url: &str) -> anyhow::Result<()> {
        self.post("/url", &json!({ "url": url })).map(drop)
    }

    pub(crate) fn url(&self) -> anyhow::Result<String> {
        Ok(self.get("/url")?.as_str().context("an address")?.to_owned())
    }

    fn element(&self, selector: &str) -> anyhow::Result<String> {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.post("/element", &wanted).with_context(|| selector.to_owned())?;
        Ok(found[ELEMENT].as_str().context("an element")?.to_owned())
    }

    /// Clicks as a person does: the element is scrolled to, and must be what the pointer meets.
    pub(crate) fn click(&self, selector: &str) -> anyhow::Result<()> {
        let element = self.element(selector)?;
        self.post(&format!("/element/{element}/click"), &json!({}))
            .map(drop)
            .with_context(|| selector.to_owned())
    }

    pub(crate) fn keys(&self, selector: &str, text: &str) -> anyhow::Result<()> {
        let element = self.element(selector)?;
        self.post(&format!("/element/{element}/value"), &json!({ "text": text })).map(drop)
    }

    /// The text that is seen of an element.
    pub(crate) fn text(&self, selector: &str) -> anyhow::Result<String> {
        let element = self.element(selector)?;
        let text = self.get(&format!("/element/{element}/text"))?;
        Ok(text.as_str().context("a text")?.to_owned())
    }

    /// What a script returns.
    pub(crate) fn run(&self, script: &str) -> anyhow::Result<Value> {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// A command of the Chrome DevTools Protocol.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) -> anyhow::Result<()> {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters })).map(drop)
    }

    /// What was written to the console since the last time.
    pub(crate) fn console(&self) -> anyhow::Result<Vec<Value>> {
        let log = self.post("/se/log", &json!({ "type": "browser" }))?;
        Ok(log.as_array().context("a log")?.clone())
    }

    /// The visible part as PNG, in base64.
    pub(crate) fn screenshot(&self) -> anyhow::Result<String> {
        Ok(self.get("/screenshot")?.as_str().context("a picture")?.to_owned())
    }
}
