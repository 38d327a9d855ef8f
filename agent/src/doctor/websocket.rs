//! The websocket probe: a real round trip, without disturbing the agents that live.
//!
//! Upgrade, hello, hello_ack, one signed batch without events, its signed ack: that proves the token, the
//! secret in both directions, the protocol and the clock. A hello is sent only where it is the agent's own.

use std::time::Duration;

use z4j_protocol::payload::Hello;
use z4j_protocol::{HmacSecret, Timestamp, close};

use super::evidence::{NoUpgrade, Trial, TrialEnd, WebsocketEvidence};
use crate::clock::Clock;
use crate::config::{Config, Signing, Transport};
use crate::net::Break;
use crate::net::http::{self, Answer, Failure, Request};
use crate::net::route::{Link, Route};
use crate::transport::longpoll;
use crate::transport::session::{End, Event, Signed, Stage, Welcome, greet};
use crate::transport::websocket::{Incoming, Socket, UpgradeFailure, upgrade};

/// How long a brain has to refuse a connection on which no hello is sent.
const QUIET_WAIT: Duration = Duration::from_millis(500);
/// How long the farewell may take.
const FAREWELL_WAIT: Duration = Duration::from_secs(1);
/// What a command is answered with.
const DECLINED: &str = "received by z4j doctor, not run: issue it again";
/// The reason of a close that is about the project (protocol.md, Frames).
pub(super) const PROJECT_MISMATCH: &str = "project_mismatch";
/// Most frames that are read while the ack is awaited.
const MAX_FRAMES: usize = 1_000;

/// What the probe needs.
pub(super) struct Probe<'a> {
    /// The configuration.
    pub(super) config: &'a Config,
    /// The way to the brain.
    pub(super) route: &'a Route,
    /// The clock.
    pub(super) clock: Clock,
    /// The hello of the application's agent, as far as it can be known.
    pub(super) hello: Hello,
    /// Why that agent may say something else.
    pub(super) doubt: Option<String>,
}

/// Looks. `link` is a connection that nothing has been sent over yet.
pub(super) async fn gather(probe: &Probe<'_>, link: Link) -> WebsocketEvidence {
    let secret = match &probe.config.signing {
        Signing::Missing => {
            return WebsocketEvidence { unsigned: Some(None), ..WebsocketEvidence::default() };
        }
        Signing::Invalid(error, setting) => {
            let unsigned = Some(Some((*error, setting.clone())));
            return WebsocketEvidence { unsigned, ..WebsocketEvidence::default() };
        }
        Signing::Ready(secret) => secret,
    };
    let mut evidence = WebsocketEvidence::default();
    if probe.config.transport == Transport::Longpoll {
        drop(link);
        return with_longpoll(evidence, probe, secret).await;
    }
    let hello = sendable_hello(probe).await;
    evidence.no_hello = if hello.is_none() { probe.doubt.clone() } else { None };
    let mut trial = trial(probe, secret, link, hello).await;
    if was_replaced(&trial) {
        // Another doctor of this machine took the slot: it is gone in a moment.
        if let Ok(link) = probe.route.open().await {
            trial = self::trial(probe, secret, link, hello).await;
        }
    }
    let more = wants_longpoll(probe.config.transport, &trial);
    evidence.trial = Some(trial);
    if more { with_longpoll(evidence, probe, secret).await } else { evidence }
}

/// The hello, if it can take nothing from a live agent. On a published brain a Python agent may live under
/// this token, and a hello without its engines would take them from it; mock-brain is for trying things.
async fn sendable_hello<'p>(probe: &'p Probe<'_>) -> Option<&'p Hello> {
    let known = probe.doubt.is_none();
    (known || longpoll::names_projects(probe.route, probe.config).await).then_some(&probe.hello)
}

/// Whether another connection of the same slot ended this one (protocol.md, Session).
fn was_replaced(trial: &Trial) -> bool {
    matches!(trial.end, TrialEnd::Early(_, End::Closed { code: Some(close::REPLACED), .. }))
}

async fn with_longpoll(
    mut evidence: WebsocketEvidence,
    probe: &Probe<'_>,
    secret: &HmacSecret,
) -> WebsocketEvidence {
    let trip = || longpoll::round_trip(probe.route, probe.config, secret, probe.clock, DECLINED);
    let mut round_trip = trip().await;
    if round_trip.is_conflict() {
        // A brain that forgot the session takes the next one, as it would from an agent; a wrong secret stays.
        round_trip = trip().await;
    }
    evidence.longpoll = Some(round_trip);
    evidence.longpoll_at = Some(probe.clock.now());
    evidence
}

/// Long-poll proves what an upgrade alone does not, and is what `auto` would fall back to.
fn wants_longpoll(transport: Transport, trial: &Trial) -> bool {
    // Another transport changes nothing about these.
    let refused_credentials = match &trial.end {
        TrialEnd::Early(_, End::Closed { code: Some(close::TOKEN | close::RATE), .. }) => true,
        TrialEnd::NoUpgrade(refused) => {
            matches!(&refused.failure, UpgradeFailure::Answered(answer) if matches!(answer.status, 401 | 429))
        }
        TrialEnd::Early(_, End::Closed { code: Some(close::FORBIDDEN), reason }) => {
            reason.contains(PROJECT_MISMATCH)
        }
        _ => false,
    };
    match trial.end {
        TrialEnd::Quiet => true,
        TrialEnd::NoUpgrade(_) | TrialEnd::Early(Stage::Hello | Stage::Quiet, _) => {
            transport == Transport::Auto && !refused_credentials
        }
        _ => false,
    }
}

async fn trial(probe: &Probe<'_>, secret: &HmacSecret, link: Link, hello: Option<&Hello>) -> Trial {
    let seen = link.seen.clone();
    let upgraded = upgrade(link, probe.route, &probe.config.token).await;
    let answered_at = probe.clock.now();
    let (mut socket, answer) = match upgraded {
        Ok(upgraded) => upgraded,
        Err(failure) => {
            let silent = seen.is_some_and(|seen| seen.get().bytes == 0);
            let end = no_upgrade(probe.route, failure, silent).await;
            return Trial { answer: None, answered_at, welcome: None, declined: 0, end };
        }
    };
    let mut trial =
        Trial { answer: Some(answer), answered_at, welcome: None, declined: 0, end: TrialEnd::Quiet };
    trial.end = match hello {
        None => stay_quiet(&mut socket, probe).await,
        Some(hello) => match greet(&mut socket, hello, probe.clock, &probe.route.budget).await {
            Err(end) => TrialEnd::Early(Stage::Hello, end),
            Ok(welcome) => {
                let end = signed_part(&mut socket, probe, secret, &welcome, &mut trial.declined).await;
                trial.welcome = Some(welcome);
                end
            }
        },
    };
    if !matches!(trial.end, TrialEnd::Early(_, End::Closed { .. } | End::Broken(_))) {
        socket.close(&probe.route.budget.with_each(FAREWELL_WAIT)).await;
    }
    trial
}

/// What a plain request to the same brain says, once the upgrade was answered otherwise.
pub(super) async fn no_upgrade(route: &Route, failure: UpgradeFailure, silent: bool) -> TrialEnd {
    let answered = matches!(failure, UpgradeFailure::Answered(_));
    let health = if answered { Some(health(route, route.url.prefix()).await) } else { None };
    let fine = health.as_ref().is_some_and(is_health);
    let root_health = if answered && !fine && !route.url.prefix().is_empty() {
        Some(self::health(route, "").await)
    } else {
        None
    };
    TrialEnd::NoUpgrade(Box::new(NoUpgrade { failure, silent, health, root_health }))
}

async fn health(route: &Route, prefix: &str) -> Result<Answer, Failure> {
    let target = format!("{prefix}/api/v1/health");
    http::once(route, &Request { method: "GET", target, headers: Vec::new(), body: None }).await
}

/// Whether an answer is that of a brain's health: 200 and `{"status": …}`.
pub(super) fn is_health(answer: &Result<Answer, Failure>) -> bool {
    let Ok(answer) = answer else { return false };
    answer.status == 200 && answer.json().is_some_and(|body| body.get("status").is_some())
}

async fn stay_quiet(socket: &mut Socket, probe: &Probe<'_>) -> TrialEnd {
    match socket.receive(&probe.route.budget.with_each(QUIET_WAIT)).await {
        Incoming::Broken(Break::TimedOut) | Incoming::Message(_) => TrialEnd::Quiet,
        Incoming::Closed { code, reason } => TrialEnd::Early(Stage::Quiet, End::Closed { code, reason }),
        Incoming::Broken(broken) => TrialEnd::Early(Stage::Quiet, End::Broken(broken)),
    }
}

async fn signed_part(
    socket: &mut Socket,
    probe: &Probe<'_>,
    secret: &HmacSecret,
    welcome: &Welcome,
    declined: &mut usize,
) -> TrialEnd {
    if !welcome.ack.speaks_our_version() {
        return TrialEnd::OtherVersion(welcome.ack.protocol_version.clone());
    }
    if is_other_project(probe.config, welcome) {
        return TrialEnd::OtherProject;
    }
    match prove(socket, probe, secret, welcome, declined).await {
        Ok(()) => TrialEnd::Proven,
        Err(end) => TrialEnd::Early(Stage::Batch, end),
    }
}

/// Whether hello_ack belongs to another project, as far as that can be told.
pub(super) fn is_other_project(config: &Config, welcome: &Welcome) -> bool {
    match (config.project_uuid(), &welcome.project_slug) {
        (Some(uuid), _) => !welcome.ack.project_id.eq_ignore_ascii_case(&uuid.to_string()),
        (None, Some(slug)) => *slug != config.project_id,
        (None, None) => false,
    }
}

async fn prove(
    socket: &mut Socket,
    probe: &Probe<'_>,
    secret: &HmacSecret,
    welcome: &Welcome,
    declined: &mut usize,
) -> Result<(), End> {
    let budget = &probe.route.budget;
    let mut signed = Signed::new(secret, welcome.binding(), probe.clock);
    let (frame, id) = signed.empty_batch()?;
    let sent = socket.send(frame, budget).await;
    for _ in 0..MAX_FRAMES {
        let bytes = match socket.receive(budget).await {
            Incoming::Message(bytes) => bytes,
            Incoming::Closed { code, reason } => return Err(End::Closed { code, reason }),
            Incoming::Broken(broken) => return Err(End::Broken(sent.err().unwrap_or(broken))),
        };
        match signed.read(&bytes)? {
            Event::BatchAck(ack) if ack.acked_id == id => return Ok(()),
            Event::Command { id, command } => {
                *declined += 1;
                for frame in signed.decline(&id, &command, DECLINED)? {
                    socket.send(frame, budget).await.map_err(End::Broken)?;
                }
            }
            Event::BatchAck(_) | Event::Error(_) | Event::Other => {}
        }
    }
    Err(End::Malformed(format!("{MAX_FRAMES} other frames came instead of the ack")))
}

/// How far this clock is ahead of the brain's, in microseconds, by whatever the brain told of its time.
pub(super) fn ahead(evidence: &WebsocketEvidence) -> Option<i64> {
    let ahead = |here: Timestamp, there: Timestamp| here.micros_since(there);
    if let Some(trial) = &evidence.trial {
        if let Some(welcome) = &trial.welcome
            && let Some(there) = welcome.brain_time
        {
            return Some(ahead(welcome.received_at, there));
        }
        if let Some(there) = trial.answer.as_ref().and_then(crate::transport::date_of) {
            return Some(ahead(trial.answered_at, there));
        }
    }
    let round_trip = evidence.longpoll.as_ref()?;
    // The later answer tells the later time, if it tells any.
    let answers = round_trip.batch.iter().chain([&round_trip.probe]).flatten();
    let there = answers.filter_map(crate::transport::date_of).next()?;
    Some(ahead(evidence.longpoll_at?, there))
}
