//! The long-poll transport: the same frames over plain requests.
//!
//! Owns how a session comes to be: the probe, and what is remembered from one session to the next. Must not
//! try again.

mod body;
mod judge;
mod line;
mod pace;
mod session;
mod size;
mod suspicion;
#[cfg(test)]
mod tests;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;
use z4j_protocol::{Binding, HmacSecret};

pub(super) use session::run;

use super::Link;
use super::failure::Failure;
use super::silence::Silence;
use crate::doctor::diagnosis::Journey;
use crate::net::http::{self, Answer};
use crate::transport::longpoll::RoundTrip;
use crate::transport::{longpoll, random_bytes};
use line::{Line, LineFailure};
use size::{BELIEF, Sizes};

/// How long a request for commands asks the brain to wait, at first, in seconds.
const FIRST_WAIT: u64 = 30;

/// What outlives a session.
#[derive(Debug)]
pub(super) struct Memory {
    /// What is known about sizes.
    sizes: Sizes,
    /// How long requests for commands ask the brain to wait, in seconds: less where a proxy waits less.
    wait: u64,
    /// The same, as far as it does not depend on what a proxy answered, and when one last did.
    longest_wait: u64,
    hurried_at: Option<Instant>,
    /// Requests for commands that were cut while they waited.
    silence: Silence,
    /// The secret under which a frame was accepted, since a session was last refused.
    accepted: Option<HmacSecret>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            sizes: Sizes::default(),
            wait: FIRST_WAIT,
            longest_wait: FIRST_WAIT,
            hurried_at: None,
            silence: Silence::default(),
            accepted: None,
        }
    }
}

impl Memory {
    fn has_accepted(&self, secret: &HmacSecret) -> bool {
        self.accepted.as_ref() == Some(secret)
    }

    /// A proxy answered before the brain did: it waits for less long than that.
    fn was_hurried(&mut self, now: Instant) {
        self.wait = (self.wait / 2).max(1);
        self.hurried_at = Some(now);
    }

    /// A request for commands was answered by the brain. After a while it may wait for as long as at first.
    fn waited(&mut self, now: Instant) {
        if self.hurried_at.is_some_and(|at| now.duration_since(at) >= BELIEF) {
            (self.wait, self.hurried_at) = (self.longest_wait, None);
        }
    }

    /// A request for commands was not answered. Whether it is enough to wait for less long: something on the
    /// way cuts connections that are quiet.
    fn cut(&mut self, failed: &LineFailure, waited: Duration) -> bool {
        let LineFailure::Broken(http::Failure::Broken(how)) = failed else { return false };
        let Some(limit) = self.silence.cut(how, waited) else { return false };
        let wait = (limit.as_secs() / 2).max(1);
        let is_less = wait < self.wait;
        if is_less {
            (self.wait, self.longest_wait) = (wait, wait);
            tracing::info!(
                "requests are cut on the way after {} s: those for commands wait {wait} s from now on",
                limit.as_secs()
            );
        }
        is_less
    }
}

/// A session that has begun: the probe was answered.
pub(super) struct Opened {
    binding: Binding,
    headers: Vec<(&'static str, String)>,
    prefix: String,
    probe: Answer,
    journey: Journey,
    line: Line,
}

/// Probes with a fresh nonce, which claims no command.
pub(super) async fn open(link: &Link) -> Result<Opened, Failure> {
    let nonce = URL_SAFE_NO_PAD.encode(random_bytes());
    let mut headers = longpoll::headers(&link.config, &nonce);
    headers.push(("X-Z4J-Retry-Contracts", retry_contracts(link)));
    let prefix = link.config.brain_url.prefix().to_owned();
    let mut line = Line::new(link);
    let probe = longpoll::probe(&mut line, &prefix, &headers).await;
    let probe = probe.map_err(|failed| unanswered(link, line.journey(), failed, None))?;
    let Some(journey) = line.journey().cloned() else {
        return Err(Failure::uncoded(crate::status::FailureClass::Connection, "no probe was answered"));
    };
    let Some((agent_id, project_id)) = longpoll::identity(&link.config, &probe) else {
        let round_trip = RoundTrip { probe: Ok(probe.clone()), batch: None };
        let diagnosis = link.patient().failed_longpoll(&journey, round_trip);
        return Err(Failure::answered(&probe, diagnosis));
    };
    let binding = Binding { agent_id, project_id, session_id: nonce };
    Ok(Opened { binding, headers, prefix, probe, journey, line })
}

/// The engines whose retries go by reference, as the header wants them.
fn retry_contracts(link: &Link) -> String {
    let able = link.hello.capabilities.iter();
    let able = able.filter(|(_, words)| words.iter().any(|word| word == "retry_by_reference_v1"));
    able.map(|(engine, _)| format!("{engine}=1")).collect::<Vec<_>>().join(",")
}

/// A request that was not answered.
fn unanswered(
    link: &Link,
    journey: Option<&Journey>,
    failed: LineFailure,
    probe: Option<&Answer>,
) -> Failure {
    let failure = match failed {
        LineFailure::Unconnected(diagnosis) => return Failure::connection(diagnosis),
        LineFailure::Broken(failure) => failure,
        LineFailure::Stale => http::Failure::Broken(crate::net::Break::Closed),
    };
    let Some(journey) = journey else {
        return Failure::uncoded(crate::status::FailureClass::Connection, "a long-poll request failed");
    };
    let round_trip = match probe {
        None => RoundTrip { probe: Err(failure), batch: None },
        Some(probe) => RoundTrip { probe: Ok(probe.clone()), batch: Some(Err(failure)) },
    };
    Failure::connection(link.patient().failed_longpoll(journey, round_trip))
}
