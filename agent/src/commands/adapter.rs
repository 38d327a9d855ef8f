//! What an engine's adapter is: how the dispatcher has a command carried out.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;
use z4j_protocol::Value;
use z4j_protocol::payload::Command;

/// A command on its way to an adapter.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Its id.
    pub(crate) id: String,
    /// What is wanted.
    pub(crate) command: Command,
    /// How long it may still take.
    pub(crate) time_left: Duration,
    /// Turns true when the agent stops: what runs is to be ended then.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Waits until the agent stops.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// How a command went.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It was done. Here is what came of it, an object.
    Done(Value),
    /// It was not, or nobody knows.
    Failed {
        /// Why.
        error: String,
        /// What is known beside that, an object.
        result: Option<Value>,
    },
}

impl Outcome {
    /// A failure that did nothing.
    pub(crate) fn failed(error: impl Into<String>) -> Self {
        Self::Failed { error: error.into(), result: None }
    }

    /// A failure that may have taken effect: it must not be repeated blindly.
    pub(crate) fn indeterminate(error: impl Into<String>) -> Self {
        let result = Value::object([("indeterminate", Value::Bool(true))]);
        Self::Failed { error: error.into(), result: Some(result) }
    }
}

/// What is on its way.
pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Carries an engine's commands out.
pub(crate) trait Adapter: Send + Sync {
    /// The word for it: `exec`, `null`.
    fn kind(&self) -> &'static str;

    /// Whether it can do this.
    fn has(&self, action: &str) -> bool;

    /// Does it. Dropping the future ends what it began.
    fn run(&self, call: Call) -> Running<'_>;

    /// What it says of itself, for the heartbeat.
    fn health(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::new()
    }
}

/// An adapter that can do nothing: the engine's events come from here, its commands are refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NullAdapter;

impl Adapter for NullAdapter {
    fn kind(&self) -> &'static str {
        "null"
    }

    fn has(&self, _: &str) -> bool {
        false
    }

    fn run(&self, call: Call) -> Running<'_> {
        let error = format!("`{}` is refused: this engine's adapter is `null`", call.command.action);
        Box::pin(std::future::ready(Outcome::failed(error)))
    }
}
