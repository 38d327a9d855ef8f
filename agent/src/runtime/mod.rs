//! The link to the brain: one session after the other, for as long as the agent runs.
//!
//! Owns when to connect, over which transport, what a failure leads to, and what travels: events from the
//! buffer, results, heartbeats, and the brain's commands on their way in. Must not store anything, carry a
//! command out, or decide what a failure is called (`doctor::diagnosis`).

mod backoff;
mod ended;
mod failure;
mod flow;
mod heartbeat;
mod instructions;
mod longpoll;
mod progress;
mod reader;
mod results;
mod silence;
mod supervisor;
mod websocket;
mod window;

#[cfg(test)]
mod fixtures;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use z4j_protocol::HmacSecret;
use z4j_protocol::payload::Hello;

use crate::buffer::Buffer;
use crate::clock::Clock;
use crate::commands::Dispatcher;
use crate::config::Config;
use crate::doctor::diagnosis::Patient;
use crate::environment::Environment;
use crate::log::Ids;
use crate::orders::Orders;
use crate::secret::Token;
use crate::status::LinkStatus;

/// Reads token and signing secret anew; `Err` is a sentence about why that failed.
pub(crate) type Reread = Box<dyn Fn() -> Result<(Token, HmacSecret), String> + Send + Sync>;

/// Everything that a link needs.
pub(crate) struct Link {
    /// The configuration.
    pub(crate) config: Arc<Config>,
    /// The process.
    pub(crate) environment: Arc<Environment>,
    /// The signing secret.
    pub(crate) secret: HmacSecret,
    /// Reads the two secrets anew, where they come from files.
    pub(crate) reread: Reread,
    /// What this agent says of itself.
    pub(crate) hello: Hello,
    /// What waits for the brain.
    pub(crate) buffer: Buffer,
    /// Who carries commands out.
    pub(crate) dispatcher: Dispatcher,
    /// Where the link says how it is.
    pub(crate) status: watch::Sender<LinkStatus>,
    /// What the log names.
    pub(crate) ids: Ids,
}

impl Link {
    /// Takes secrets that were replaced since the last attempt: who rotates a token need not restart an agent.
    async fn refresh(&mut self) -> Result<(), String> {
        let (token, secret) = (self.reread)()?;
        if token != self.config.token {
            Arc::make_mut(&mut self.config).token = token;
        }
        if secret != self.secret {
            self.buffer.mark(secret.deployment()).await;
            self.secret = secret;
        }
        Ok(())
    }

    fn clock(&self) -> Clock {
        self.environment.clock
    }

    fn patient(&self) -> Patient<'_> {
        Patient { config: &self.config, environment: &self.environment }
    }
}

/// Keeps the link up until the order to stop. Then what is buffered is sent, for up to `stop_timeout`, and
/// this returns. Nothing that fails ends it.
pub(crate) async fn supervise(link: Link, orders: watch::Receiver<Orders>, stop_timeout: Duration) {
    supervisor::Supervisor::new(link, orders, stop_timeout, Box::new(backoff::random)).run().await;
}
