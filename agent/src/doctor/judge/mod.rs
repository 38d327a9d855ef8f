//! From evidence to findings: a pure function. It must not look at anything itself.

mod afterwards;
mod buffer;
mod certificate;
mod interceptor;
mod longpoll;
mod names;
mod network;
mod notes;
mod place;
mod proxy;
mod tls;
mod upgrade;
mod websocket;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use z4j_protocol::{PROTOCOL_VERSION_TEXT, Timestamp};

use super::evidence::{Evidence, Timed, TlsEvidence, TrialEnd};
use super::report::{ConfigView, Finding, ProbeName, Report, SCHEMA_VERSION, Status};
use crate::config::{Config, Framework};
use crate::environment::Account;
use crate::net::Break;
use crate::net::{http, tls as net_tls};
use crate::transport::websocket::UpgradeFailure;

/// Whose machine and configuration the evidence is about.
#[derive(Debug)]
pub(super) struct Case<'a> {
    /// The configuration.
    pub(super) config: &'a Config,
    /// Who ran the probes.
    pub(super) account: &'a Account,
    /// The resolver's configuration.
    pub(super) resolv_conf: PathBuf,
    /// What the application is built on.
    pub(super) framework: Framework,
    /// Engines that are installed.
    pub(super) engines: Vec<String>,
    /// Those of them that no adapter serves.
    pub(super) without_adapter: Vec<String>,
    /// pip of the application's environment.
    pub(super) pip: Option<PathBuf>,
    /// The release of z4j-core in the application's environment.
    pub(super) core_version: Option<String>,
    /// Which probes were asked for.
    pub(super) selected: Vec<ProbeName>,
    /// When.
    pub(super) now: Timestamp,
}

/// Why something was not looked at to its end, where that says nothing about the network.
const OUT_OF_TIME: &str = "the time for the whole run was up";

/// What is said about one probe.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Verdict {
    word: Word,
    sentence: String,
    code: Option<&'static str>,
    fix: Option<String>,
    details: Map<String, Value>,
}

/// The word in front of a verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Word {
    Ok,
    /// Good, because there was nothing to look at.
    OkSkip,
    Fail,
    Skip,
    #[default]
    Unknown,
}

impl Verdict {
    fn of(word: Word, sentence: String) -> Self {
        Self { word, sentence, ..Self::default() }
    }

    pub(super) fn ok(sentence: String) -> Self {
        Self::of(Word::Ok, sentence)
    }

    pub(super) fn ok_skip(sentence: String) -> Self {
        Self::of(Word::OkSkip, sentence)
    }

    pub(super) fn unknown(sentence: &str) -> Self {
        Self::of(Word::Unknown, sentence.to_owned())
    }

    /// Nothing can be opened any more, which says nothing about what was to be opened.
    fn out_of_files() -> Self {
        let sentence = "this process may not open another file or socket, as LimitNOFILE= makes it";
        Self { fix: Some("LimitNOFILE=65536".to_owned()), ..Self::unknown(sentence) }
    }

    pub(super) fn fail(code: &'static str, sentence: String, fix: impl Into<String>) -> Self {
        Self { code: Some(code), fix: Some(fix.into()), ..Self::of(Word::Fail, sentence) }
    }

    fn needs(probe: ProbeName) -> Self {
        Self::of(Word::Skip, format!("needs {}", probe.as_str()))
    }

    /// Adds a detail.
    pub(super) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    fn finding(self, name: ProbeName, took: Duration) -> Finding {
        let (status, ok, word) = match self.word {
            Word::Ok => (Status::Ok, Some(true), "OK"),
            Word::OkSkip => (Status::Ok, Some(true), "SKIP"),
            Word::Fail => (Status::Fail, Some(false), "FAIL"),
            Word::Skip => (Status::Skip, None, "SKIP"),
            Word::Unknown => (Status::Unknown, None, "UNKNOWN"),
        };
        Finding {
            name,
            ok,
            status,
            message: format!("{word}: {}", self.sentence),
            code: self.code,
            fix: self.fix,
            details: self.details,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Judges everything.
pub(super) fn judge(case: &Case<'_>, evidence: &Evidence) -> Report {
    let mut findings: Vec<Finding> = Vec::new();
    for name in ProbeName::ALL {
        let (verdict, took) = verdict(case, evidence, name, &findings);
        findings.push(verdict.finding(name, took));
    }
    let notes = notes::notes(case, evidence, &findings);
    let probes = shown(case, findings);
    Report {
        schema_version: SCHEMA_VERSION,
        ok: probes.iter().all(|finding| finding.status != Status::Fail),
        stage: "probes",
        framework: case.framework.as_str(),
        config: view(case, evidence),
        engines: case.engines.clone(),
        probes,
        notes,
        agent_version: env!("CARGO_PKG_VERSION"),
        protocol_version: PROTOCOL_VERSION_TEXT,
    }
}

fn verdict(case: &Case<'_>, evidence: &Evidence, name: ProbeName, before: &[Finding]) -> (Verdict, Duration) {
    let failed =
        |probe: ProbeName| before.iter().any(|finding| finding.name == probe && finding.status != Status::Ok);
    if name == ProbeName::Tls && !case.config.brain_url.is_secure() {
        return (network::not_https(case), Duration::ZERO);
    }
    let waits_for = match name.needs() {
        // Plain http has no TLS to wait for.
        Some(ProbeName::Tls) if !case.config.brain_url.is_secure() => Some(ProbeName::Tcp),
        other => other,
    };
    if let Some(needed) = waits_for.filter(|needed| failed(*needed)) {
        return (Verdict::needs(needed), Duration::ZERO);
    }
    let judged = match name {
        ProbeName::BufferPath => pair(evidence.buffer.as_ref(), |seen| buffer::judge(case, seen)),
        ProbeName::Dns => pair(evidence.dns.as_ref(), |seen| network::dns(case, seen)),
        ProbeName::Tcp if was_reset(evidence) => {
            pair(evidence.tcp.as_ref(), |seen| network::reset(case, seen))
        }
        ProbeName::Tcp => pair(evidence.tcp.as_ref(), |seen| network::tcp(case, seen)),
        ProbeName::Tls => {
            let later = evidence.websocket.as_ref().map(|timed| &timed.seen);
            pair(evidence.tls.as_ref(), |seen| tls::judge(case, seen, later))
        }
        ProbeName::Websocket => pair(evidence.websocket.as_ref(), |seen| websocket::judge(case, seen)),
    };
    judged.unwrap_or_else(|| {
        let why = if evidence.out_of_time { OUT_OF_TIME } else { "was not looked at" };
        (Verdict::unknown(why), Duration::ZERO)
    })
}

fn pair<T>(timed: Option<&Timed<T>>, judge: impl FnOnce(&T) -> Verdict) -> Option<(Verdict, Duration)> {
    timed.map(|timed| (judge(&timed.seen), timed.took))
}

/// Whether the connection was reset before the peer had sent a byte: then it is the connection that does not
/// work, and not what was to go over it.
fn was_reset(evidence: &Evidence) -> bool {
    let tls = evidence.tls.as_ref().is_some_and(|timed| match &timed.seen {
        TlsEvidence::Failed { failed, .. } => {
            failed.received.bytes == 0 && matches!(failed.failure, net_tls::Failure::Broken(Break::Reset))
        }
        _ => false,
    });
    let trial = evidence.websocket.as_ref().and_then(|timed| timed.seen.trial.as_ref());
    let http = trial.is_some_and(|trial| {
        let reset = UpgradeFailure::NoAnswer(http::Failure::Broken(Break::Reset));
        matches!(&trial.end, TrialEnd::NoUpgrade(refused) if refused.silent && refused.failure == reset)
    });
    tls || http
}

/// The findings that were asked for, and what those wait for: a failure, or what could not be looked at.
fn shown(case: &Case<'_>, findings: Vec<Finding>) -> Vec<Finding> {
    let selected = |finding: &Finding| case.selected.contains(&finding.name);
    let waits = findings.iter().any(|finding| selected(finding) && finding.status == Status::Skip);
    // Only the probes of the network wait for each other, so what is not good there is what is waited for.
    let is_bad = |finding: &Finding| matches!(finding.status, Status::Fail | Status::Unknown);
    let is_cause = |finding: &Finding| waits && is_bad(finding) && finding.name != ProbeName::BufferPath;
    findings.into_iter().filter(|finding| selected(finding) || is_cause(finding)).collect()
}

fn view(case: &Case<'_>, evidence: &Evidence) -> ConfigView {
    let buffer = evidence.buffer.as_ref().map(|timed| timed.seen.path.clone());
    ConfigView {
        brain_url: case.config.brain_url.as_str().to_owned(),
        project_id: case.config.project_id.clone(),
        agent_name: case.config.agent_name.clone(),
        buffer_path: buffer.map_or_else(|| "<not looked at>".to_owned(), |path| path.display().to_string()),
        transport: case.config.transport.as_str(),
        dev_mode: case.config.dev_mode,
    }
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

#[cfg(test)]
mod fix_tests;
#[cfg(test)]
mod proxy_tests;
#[cfg(test)]
mod tls_tests;
