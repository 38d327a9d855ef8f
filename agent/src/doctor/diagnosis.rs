//! What the doctor says of a failure that the running agent met.
//!
//! One judgement for both: the agent's log and status name a failure by the code and the words of `z4j
//! doctor`. Owns the way from what the agent met to the evidence that is judged. Must not decide what follows.

use std::net::SocketAddr;
use std::time::Duration;

use z4j_protocol::close;

use super::evidence::{
    DnsEvidence, Evidence, TcpEvidence, Timed, TlsEvidence, Trial, TrialEnd, WebsocketEvidence,
};
use super::judge::{self, Case};
use super::report::{ProbeName, Status};
use super::{network, websocket};
use crate::config::{Config, Framework};
use crate::environment::Environment;
use crate::net::budget::Budget;
use crate::net::http::Answer;
use crate::net::route::{Link, Route};
use crate::net::tls;
use crate::transport::longpoll::RoundTrip;
use crate::transport::session::{End, Stage, Welcome};
use crate::transport::websocket::UpgradeFailure;

/// What is said of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    /// The doctor's code; none where it has none, or is not certain.
    pub(crate) code: Option<&'static str>,
    /// One sentence.
    pub(crate) sentence: String,
    /// What to do.
    pub(crate) fix: Option<String>,
}

impl Diagnosis {
    /// A failure that the doctor has no code for.
    pub(crate) fn uncoded(sentence: impl Into<String>) -> Self {
        Self { code: None, sentence: sentence.into(), fix: None }
    }
}

/// A connection that came to be: what there is to tell of the way there when it fails later.
#[derive(Clone, Debug)]
pub(crate) struct Journey {
    address: SocketAddr,
    tls: Option<tls::Session>,
}

/// Whose failure it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patient<'a> {
    /// The configuration.
    pub(crate) config: &'a Config,
    /// The process.
    pub(crate) environment: &'a Environment,
}

impl Patient<'_> {
    /// Connects to the brain, ready for HTTP.
    ///
    /// # Errors
    /// What stands in the way.
    pub(crate) async fn connect(self, budget: &Budget) -> Result<(Link, Route, Journey), Diagnosis> {
        let mut evidence = Evidence::default();
        let walked =
            network::walk(self.config, self.environment, ProbeName::Websocket, budget, &mut evidence).await;
        let Some((link, route)) = walked else { return Err(self.diagnose(&evidence)) };
        let tls = match evidence.tls.map(|timed| timed.seen) {
            Some(TlsEvidence::Session(session)) => Some(session),
            _ => None,
        };
        let journey = Journey { address: route.address, tls };
        Ok((link, route, journey))
    }

    /// An upgrade that was refused. Where it was answered otherwise, a plain request tells more.
    pub(crate) async fn refused_upgrade(
        self,
        journey: &Journey,
        route: &Route,
        failure: UpgradeFailure,
        silent: bool,
    ) -> Diagnosis {
        let end = websocket::no_upgrade(route, failure, silent).await;
        self.of_trial(journey, None, None, end)
    }

    /// A WebSocket that ended.
    pub(crate) fn ended(
        self,
        journey: &Journey,
        welcome: Option<&Welcome>,
        stage: Stage,
        end: End,
    ) -> Diagnosis {
        let answer = Some(Answer { status: 101, ..Answer::default() });
        // Doctors meet each other in a slot of their own; who takes an agent's is another agent.
        let is_replaced = matches!(end, End::Closed { code: Some(close::REPLACED), .. });
        let stage = match stage {
            Stage::Hello if is_replaced => Stage::Quiet,
            Stage::Batch if is_replaced => Stage::Online,
            stage => stage,
        };
        self.of_trial(journey, welcome, answer, TrialEnd::Early(stage, end))
    }

    /// Why a hello_ack is not for this agent; none if it is.
    pub(crate) fn objection(self, journey: &Journey, welcome: &Welcome) -> Option<Diagnosis> {
        let end = if !welcome.ack.speaks_our_version() {
            TrialEnd::OtherVersion(welcome.ack.protocol_version.clone())
        } else if websocket::is_other_project(self.config, welcome) {
            TrialEnd::OtherProject
        } else {
            return None;
        };
        Some(self.of_trial(journey, Some(welcome), None, end))
    }

    /// Long-poll requests that failed.
    pub(crate) fn failed_longpoll(self, journey: &Journey, round_trip: RoundTrip) -> Diagnosis {
        let now = self.environment.clock.now();
        self.of_websocket(
            journey,
            WebsocketEvidence {
                longpoll: Some(round_trip),
                longpoll_at: Some(now),
                ..WebsocketEvidence::default()
            },
        )
    }

    fn of_trial(
        self,
        journey: &Journey,
        welcome: Option<&Welcome>,
        answer: Option<Answer>,
        end: TrialEnd,
    ) -> Diagnosis {
        let answered_at = self.environment.clock.now();
        let trial = Trial { answer, answered_at, welcome: welcome.cloned(), declined: 0, end };
        self.of_websocket(journey, WebsocketEvidence { trial: Some(trial), ..WebsocketEvidence::default() })
    }

    fn of_websocket(self, journey: &Journey, seen: WebsocketEvidence) -> Diagnosis {
        let tls = journey.tls.clone().map_or(TlsEvidence::NotHttps, TlsEvidence::Session);
        self.diagnose(&Evidence {
            dns: untimed(DnsEvidence::Found(vec![journey.address])),
            tcp: untimed(TcpEvidence::Connected(journey.address)),
            tls: untimed(tls),
            websocket: untimed(seen),
            ..Evidence::default()
        })
    }

    /// The first thing that is wrong, in the order of the probes.
    fn diagnose(self, evidence: &Evidence) -> Diagnosis {
        let case = Case {
            config: self.config,
            account: &self.environment.account,
            resolv_conf: self.environment.resolv_conf.clone(),
            framework: Framework::Bare,
            engines: Vec::new(),
            without_adapter: Vec::new(),
            pip: None,
            core_version: None,
            selected: ProbeName::ALL.into_iter().filter(|name| *name != ProbeName::BufferPath).collect(),
            now: self.environment.clock.now(),
        };
        let report = judge::judge(&case, evidence);
        let wrong = |status: Status| report.probes.iter().find(|finding| finding.status == status);
        let Some(finding) = wrong(Status::Fail).or_else(|| wrong(Status::Unknown)) else {
            return Diagnosis::uncoded("the connection ended");
        };
        let sentence = finding.message.split_once(": ").map_or(&*finding.message, |(_, rest)| rest);
        Diagnosis { code: finding.code, sentence: sentence.to_owned(), fix: finding.fix.clone() }
    }
}

fn untimed<T>(seen: T) -> Option<Timed<T>> {
    Some(Timed { seen, took: Duration::ZERO })
}
