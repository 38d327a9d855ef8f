//! One kept connection for one request after the other.
//!
//! Owns when a connection is used again, and the rule for one that turns out to be dead: a request that
//! changes nothing (GET) is sent again over a new one. A POST is never sent again as it was: if the brain had
//! read it before the connection ended, its frames would count as replayed, which ends the session. The caller
//! signs the same content anew; event and command ids stay, so the brain knows what it has.

use std::sync::Arc;
use std::time::Duration;

use super::super::Link;
use crate::config::Config;
use crate::doctor::diagnosis::{Diagnosis, Journey, Patient};
use crate::environment::Environment;
use crate::net::Break;
use crate::net::budget::Budget;
use crate::net::exchange::{self, is_quiet};
use crate::net::http::{Answer, Failure, Request};
use crate::net::route::Duplex;
use crate::transport::longpoll::Ask;

/// How long each step of connecting may take.
const EACH_STEP: Duration = Duration::from_secs(10);
const ALL_STEPS: Duration = Duration::from_secs(120);

/// How long the connect probe may take.
const PROBE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum LineFailure {
    /// There is no connection.
    Unconnected(Diagnosis),
    /// A kept connection was dead. The request may or may not have been read.
    Stale,
    /// The connection ended, or what came is no HTTP.
    Broken(Failure),
}

impl LineFailure {
    /// Whether the answer did not come in time.
    pub(super) const fn is_timeout(&self) -> bool {
        matches!(self, Self::Broken(Failure::Broken(Break::TimedOut)))
    }
}

/// The connection.
pub(super) struct Line {
    config: Arc<Config>,
    environment: Arc<Environment>,
    kept: Option<Box<dyn Duplex>>,
    journey: Option<Journey>,
}

impl Ask for Line {
    type Failure = LineFailure;

    async fn ask(&mut self, request: &Request) -> Result<Answer, LineFailure> {
        self.request(request, PROBE).await
    }
}

impl Line {
    /// No connection yet.
    pub(super) fn new(link: &Link) -> Self {
        let (config, environment) = (Arc::clone(&link.config), Arc::clone(&link.environment));
        Self { config, environment, kept: None, journey: None }
    }

    /// The way that the last connection took.
    pub(super) const fn journey(&self) -> Option<&Journey> {
        self.journey.as_ref()
    }

    /// Sends a request and reads its answer, which may take this long.
    pub(super) async fn request(&mut self, request: &Request, wait: Duration) -> Result<Answer, LineFailure> {
        if let Some(stream) = self.kept.take()
            && let Some(stream) = is_quiet(stream)
        {
            match self.exchange(stream, request, wait).await {
                Err(LineFailure::Broken(Failure::Broken(Break::Closed | Break::Reset))) => {
                    if request.method != "GET" {
                        return Err(LineFailure::Stale);
                    }
                }
                done => return done,
            }
        }
        let patient = Patient { config: &self.config, environment: &self.environment };
        let connected = patient.connect(&Budget::new(EACH_STEP, ALL_STEPS)).await;
        let (link, _, journey) = connected.map_err(LineFailure::Unconnected)?;
        self.journey = Some(journey);
        self.exchange(link.stream, request, wait).await
    }

    async fn exchange(
        &mut self,
        mut stream: Box<dyn Duplex>,
        request: &Request,
        wait: Duration,
    ) -> Result<Answer, LineFailure> {
        let host = self.config.brain_url.host_header();
        let done = exchange::exchange(&mut *stream, &host, request, wait).await;
        let (answer, usable) = done.map_err(LineFailure::Broken)?;
        self.kept = usable.then_some(stream);
        Ok(answer)
    }
}
