//! The WebSocket transport: how a session comes to be.
//!
//! Owns the way from nothing to hello_ack, and what a failure on it says about the transport. Must not try
//! again.

#[cfg(test)]
mod measure;
mod pings;
mod session;
#[cfg(test)]
mod tests;

use std::time::Duration;

use pings::Pings;
pub(super) use session::run;

use super::Link;
use super::failure::{Failure, class_of_answer, class_of_end, retry_after};
use super::flow::Flow;
use crate::doctor::diagnosis::Journey;
use crate::net::Break;
use crate::net::budget::Budget;
use crate::net::http::Answer;
use crate::status::FailureClass;
use crate::transport::session::{End, Stage, Welcome, greet};
use crate::transport::websocket::{Socket, UpgradeFailure, upgrade};

/// How long each step of the way may take; hello_ack's own limit too.
const EACH_STEP: Duration = Duration::from_secs(10);
/// How long all of them may take: never the tighter bound.
const ALL_STEPS: Duration = Duration::from_secs(120);
/// How long a farewell may take.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// What outlives a session.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// How much may be on the way.
    flow: Flow,
    /// How often the peer is pinged.
    pings: Pings,
}

/// A session that has begun: hello_ack has come, and is for us.
pub(super) struct Opened {
    pub(super) socket: Socket,
    pub(super) welcome: Welcome,
    pub(super) journey: Journey,
}

/// What a failure says about the WebSocket as a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The upgrade is answered otherwise: something on the way does not let WebSockets through.
    Stripped,
    /// It was cut between the 101 and hello_ack, or failed in the gateway, which such a thing may do as well.
    Cut,
    /// Nothing.
    Silent,
}

/// Why there is no session.
#[derive(Debug)]
pub(super) struct Unopened {
    pub(super) failure: Failure,
    pub(super) verdict: Verdict,
}

impl Unopened {
    const fn silent(failure: Failure) -> Self {
        Self { failure, verdict: Verdict::Silent }
    }
}

/// A budget for one thing that may take this long.
pub(super) fn within(each: Duration) -> Budget {
    Budget::new(each, ALL_STEPS.saturating_add(each))
}

/// Connects, upgrades, says hello, and waits for hello_ack.
pub(super) async fn open(link: &Link) -> Result<Opened, Box<Unopened>> {
    let patient = link.patient();
    let connected = patient.connect(&within(EACH_STEP)).await;
    let (net, route, journey) =
        connected.map_err(|diagnosis| Unopened::silent(Failure::connection(diagnosis)))?;
    let seen = net.seen.clone();
    let upgraded = upgrade(net, &route, &link.config.token).await;
    let (mut socket, _) = match upgraded {
        Ok(upgraded) => upgraded,
        Err(failure) => {
            let silent = seen.is_some_and(|seen| seen.get().bytes == 0);
            let (class, verdict) = weigh(&failure);
            let asked = match &failure {
                UpgradeFailure::Answered(answer) => retry_after(answer),
                _ => None,
            };
            let diagnosis = patient.refused_upgrade(&journey, &route, failure, silent).await;
            let failure = Failure { retry_after: asked, ..Failure::of(class, diagnosis) };
            return Err(Box::new(Unopened { failure, verdict }));
        }
    };
    let welcome = match greet(&mut socket, &link.hello, link.clock(), &within(EACH_STEP)).await {
        Ok(welcome) => welcome,
        Err(end) => {
            if matches!(end, End::Malformed(_) | End::Refused(_)) {
                socket.close(&within(FAREWELL)).await;
            }
            return Err(Box::new(ungreeted(link, &journey, end)));
        }
    };
    if let Some(objection) = patient.objection(&journey, &welcome) {
        socket.close(&within(FAREWELL)).await;
        let spoken = welcome.ack.speaks_our_version();
        let class = if spoken { FailureClass::Auth } else { FailureClass::Incompatible };
        return Err(Box::new(Unopened::silent(Failure::of(class, objection))));
    }
    Ok(Opened { socket, welcome, journey })
}

fn ungreeted(link: &Link, journey: &Journey, end: End) -> Unopened {
    let class = class_of_end(&end);
    let verdict = match &end {
        End::Broken(Break::Reset | Break::Closed | Break::TimedOut | Break::Other(_)) => Verdict::Cut,
        _ => Verdict::Silent,
    };
    let diagnosis = link.patient().ended(journey, None, Stage::Hello, end);
    Unopened { failure: Failure::of(class, diagnosis), verdict }
}

fn weigh(failure: &UpgradeFailure) -> (FailureClass, Verdict) {
    match failure {
        UpgradeFailure::Answered(answer) => (class_of_answer(answer), verdict_on(answer)),
        UpgradeFailure::BadAccept(_) | UpgradeFailure::Forced(_) => (FailureClass::Connection, Verdict::Cut),
        UpgradeFailure::NoAnswer(_) => (FailureClass::Connection, Verdict::Silent),
    }
}

/// What an answer to the upgrade says. Long-poll takes over only where it works, so a wrong guess costs a
/// probe.
const fn verdict_on(answer: &Answer) -> Verdict {
    match answer.status {
        // These would meet long-poll as well: redirects, refused credentials, limits.
        300..=399 | 401 | 407 | 408 | 425 | 429 => Verdict::Silent,
        // Mostly a gateway whose brain is away for a moment; some give it to every upgrade.
        500 | 502..=504 => Verdict::Cut,
        // It took the upgrade for a plain request, or does not let it through.
        _ => Verdict::Stripped,
    }
}
