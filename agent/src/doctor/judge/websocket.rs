//! What the websocket probe saw, judged.

use z4j_protocol::{Class, PROTOCOL_VERSION_TEXT, Reason, Refusal, SKEW_SECONDS, SecretError, close};

use super::super::evidence::{Trial, TrialEnd, WebsocketEvidence};
use super::super::websocket::{PROJECT_MISMATCH, ahead};
use super::names::offset;
use super::{Case, OUT_OF_TIME, Verdict, longpoll, upgrade};
use crate::net::Break;
use crate::transport::longpoll::{PROJECT_SLUG, RoundTrip};
use crate::transport::session::{End, Stage};
use crate::words::printable;

/// Most of a peer's words that are shown.
pub(super) const SHOWN_CHARS: usize = 200;

/// Judges.
pub(super) fn judge(case: &Case<'_>, seen: &WebsocketEvidence) -> Verdict {
    if let Some(problem) = &seen.unsigned {
        return unsigned(problem.as_ref());
    }
    let verdict = match (&seen.trial, &seen.longpoll) {
        (Some(trial), longpoll) => match (&trial.end, longpoll) {
            (TrialEnd::Quiet, Some(round_trip)) => quiet(case, seen, round_trip),
            _ => of_trial(case, seen, trial),
        },
        (None, Some(round_trip)) => match longpoll::failure(case, seen, round_trip) {
            Some(verdict) => verdict,
            None => {
                Verdict::ok(format!("long-poll round trip to {} succeeded", case.config.brain_url.as_str()))
            }
        },
        (None, None) => Verdict::unknown("was not looked at"),
    };
    details(verdict, seen)
}

fn details(mut verdict: Verdict, seen: &WebsocketEvidence) -> Verdict {
    if let Some(welcome) = seen.trial.as_ref().and_then(|trial| trial.welcome.as_ref()) {
        verdict = verdict
            .with("brain_version", printable(welcome.ack.brain_version.as_bytes(), 40))
            .with("agent_id", printable(welcome.ack.agent_id.as_bytes(), 64))
            .with("project_id", printable(welcome.ack.project_id.as_bytes(), 64));
    }
    if let Some(trial) = &seen.trial {
        verdict = verdict.with("commands_declined", trial.declined);
    }
    if let Some(why) = &seen.no_hello {
        verdict = verdict.with("no_hello", why.clone());
    }
    if let Some(round_trip) = &seen.longpoll {
        verdict = verdict.with("longpoll_verified", round_trip.is_proven());
    }
    if let Some(micros) = ahead(seen) {
        verdict = verdict.with("clock_ahead_seconds", micros / 1_000_000);
    }
    let proven = seen.trial.as_ref().is_some_and(|trial| matches!(trial.end, TrialEnd::Proven));
    let authenticated = proven || seen.longpoll.as_ref().is_some_and(RoundTrip::is_proven);
    let connected = authenticated || seen.trial.as_ref().is_some_and(|trial| trial.answer.is_some());
    verdict
        .with("remote_connection_verified", connected)
        .with("remote_authentication_verified", authenticated)
        .with("remote_signature_verified", proven)
}

fn unsigned(problem: Option<&(SecretError, String)>) -> Verdict {
    let fix = "set it to the project's secret, as the brain shows it\nEnvironment=Z4J_HMAC_SECRET=SECRET";
    match problem {
        // The setting is shown with its file, where the secret stands in one.
        Some((error, setting)) if setting.contains(" (") => Verdict::fail(
            "ws.hmac-invalid",
            format!("{setting}: {error}"),
            "write the project's secret, as the brain shows it, into that file",
        ),
        None => Verdict::fail("ws.hmac-missing", "Z4J_HMAC_SECRET is not set".to_owned(), fix),
        Some((error, setting)) => Verdict::fail("ws.hmac-invalid", format!("{setting}: {error}"), fix),
    }
}

/// The upgrade carried, no hello could be sent, and long-poll proved the rest, or did not.
fn quiet(case: &Case<'_>, seen: &WebsocketEvidence, round_trip: &RoundTrip) -> Verdict {
    let Some(verdict) = longpoll::failure(case, seen, round_trip) else {
        return succeeded(case)
            .with("proven", "upgrade; token and signature towards the brain, by long-poll")
            .with("not_proven", "hello, and the brain's own signature");
    };
    if longpoll::decides(round_trip) {
        return verdict;
    }
    // A deployment that lets only /ws/agent through is a good one for this transport.
    let doubt = seen.no_hello.as_deref().unwrap_or("the agent's engines are not known");
    Verdict::unknown(&format!(
        "the upgrade to {} succeeded; token and signature could not be proven: no hello was sent, since {doubt}, and {}",
        case.config.brain_url.as_str(),
        longpoll::unreachable(round_trip)
    ))
    .with("proven", "upgrade")
    .with("not_proven", "token, signature, hello, and the brain's own signature")
}

fn succeeded(case: &Case<'_>) -> Verdict {
    Verdict::ok(format!("ws upgrade to {} succeeded", case.config.brain_url.as_str()))
}

fn of_trial(case: &Case<'_>, seen: &WebsocketEvidence, trial: &Trial) -> Verdict {
    match &trial.end {
        TrialEnd::Proven | TrialEnd::Quiet => succeeded(case),
        TrialEnd::OtherVersion(theirs) => protocol_refused(&format!(
            "the brain speaks protocol version {:?}, this agent {PROTOCOL_VERSION_TEXT:?}",
            printable(theirs.as_bytes(), 40)
        )),
        TrialEnd::OtherProject => other_project(case, trial),
        TrialEnd::NoUpgrade(refused) => upgrade::no_upgrade(case, refused),
        TrialEnd::Early(stage, end) => early(case, seen, *stage, end),
    }
}

pub(super) fn project_fix(case: &Case<'_>) -> String {
    format!(
        "set Z4J_TOKEN and Z4J_HMAC_SECRET to those of an agent of project {}, or correct Z4J_PROJECT_ID",
        case.config.project_id
    )
}

fn other_project(case: &Case<'_>, trial: &Trial) -> Verdict {
    let told = trial.welcome.as_ref().map(|welcome| {
        let id = printable(welcome.ack.project_id.as_bytes(), 64);
        match &welcome.project_slug {
            Some(slug) => format!("{} ({id})", printable(slug.as_bytes(), 64)),
            None => id,
        }
    });
    let fix = match trial.welcome.as_ref().and_then(|welcome| welcome.project_slug.as_ref()) {
        Some(slug) => format!("Environment=Z4J_PROJECT_ID={}", printable(slug.as_bytes(), 64)),
        None => project_fix(case),
    };
    Verdict::fail(
        "ws.project-mismatch",
        format!(
            "the token belongs to project {}, not to {}",
            told.unwrap_or_default(),
            case.config.project_id
        ),
        fix,
    )
}

pub(super) fn protocol_refused(sentence: &str) -> Verdict {
    Verdict::fail(
        "ws.protocol-refused",
        sentence.to_owned(),
        "upgrade the older of agent and brain: z4j version",
    )
}

pub(super) fn token_rejected(how: &str) -> Verdict {
    Verdict::fail(
        "ws.token-rejected",
        format!("the brain refuses the token ({how})"),
        "set Z4J_TOKEN to the agent's current token (mint a new one on the brain: it shows a token once)",
    )
}

pub(super) fn rate_limited(how: &str) -> Verdict {
    Verdict::fail(
        "ws.rate-limited",
        format!("the brain has too many connections of this agent or address ({how})"),
        "stop what reconnects in a loop, and try again in a minute",
    )
}

pub(super) fn address_refused(how: &str) -> Verdict {
    Verdict::fail(
        "ws.address-refused",
        format!("the brain does not let this address in ({how})"),
        "add this machine's address to Z4J_AGENT_IP_ALLOWLIST of the brain",
    )
}

pub(super) fn hmac_mismatch(how: &str) -> Verdict {
    Verdict::fail(
        "ws.hmac-mismatch",
        format!("Z4J_HMAC_SECRET is not the project's secret: {how}"),
        "set Z4J_HMAC_SECRET to the secret of this project, as the brain shows it",
    )
}

/// How far the clocks differ, if that is more than signatures allow.
pub(super) fn skew(seen: &WebsocketEvidence) -> Option<Verdict> {
    let micros = ahead(seen)?;
    (micros.unsigned_abs() > SKEW_SECONDS.unsigned_abs() * 1_000_000).then(|| {
        Verdict::fail(
            "ws.clock-skew",
            format!("this clock is {} the brain's; signatures allow {SKEW_SECONDS} s", offset(micros)),
            "sudo timedatectl set-ntp true\nhere, or on the brain's machine if its clock is the wrong one",
        )
    })
}

fn early(case: &Case<'_>, seen: &WebsocketEvidence, stage: Stage, end: &End) -> Verdict {
    match end {
        End::Closed { code, reason } => closed(case, seen, stage, *code, reason),
        End::Broken(Break::OutOfTime) => Verdict::unknown(OUT_OF_TIME),
        End::Broken(Break::TimedOut) => Verdict::fail(
            "ws.timeout",
            format!("no {} came from {} in time", stage.awaited(), case.config.brain_url.endpoint()),
            "look at the brain's log, and at proxies on the way that hold WebSocket messages back",
        ),
        End::Broken(Break::Other(how)) => Verdict::fail(
            "ws.dropped",
            format!("the connection ended {}: {}", stage.when(), printable(how.as_bytes(), SHOWN_CHARS)),
            format!("look at what answers at {} in the brain's place", case.config.brain_url.as_str()),
        ),
        End::Broken(broken) => Verdict::fail(
            "ws.dropped",
            format!("the connection ended {} and without a close frame: {broken}", stage.when()),
            dropped_fix(stage, broken),
        ),
        End::Malformed(what) => Verdict::fail(
            "ws.not-a-brain",
            format!(
                "what answers at {} is no brain: {}",
                case.config.brain_url.as_str(),
                printable(what.as_bytes(), SHOWN_CHARS)
            ),
            format!("correct Z4J_BRAIN_URL={}", case.config.brain_url.as_str()),
        ),
        End::Refused(refusal) => refused(case, seen, stage, *refusal),
    }
}

/// Only a session that was quiet for a while can have met a time-out.
const fn dropped_fix(stage: Stage, broken: &Break) -> &'static str {
    match (stage, broken) {
        (Stage::Online, _) => {
            "look at the log of the proxy in front of the brain (nginx: proxy_read_timeout 75s;)"
        }
        (_, Break::Reset) => {
            "let WebSocket messages through what resets connections on the way, a firewall or an inspecting proxy"
        }
        _ => {
            "look at the log of the brain, and of the proxy in front of it, at this moment: no time-out is that short"
        }
    }
}

fn refused(case: &Case<'_>, seen: &WebsocketEvidence, stage: Stage, refusal: Refusal) -> Verdict {
    if let Some(skewed) = skew(seen).filter(|_| refusal.class() == Class::InvalidSignature) {
        return skewed;
    }
    match (refusal.class(), refusal.reason) {
        (Class::ProtocolVersionMismatch, _) => protocol_refused(&format!(
            "the brain's {} is not of protocol version {PROTOCOL_VERSION_TEXT}",
            stage.awaited()
        )),
        (Class::InvalidSignature, Reason::HmacMismatch) if stage == Stage::Online => Verdict::fail(
            "ws.hmac-mismatch",
            "a signed frame of the brain does not verify, though it takes ours under the same secret: it was changed on the way, or signed with another secret".to_owned(),
            "look at the brain's log, and at what inspects WebSocket messages on the way",
        ),
        (Class::InvalidSignature, Reason::HmacMismatch) => {
            hmac_mismatch("the brain's signed frame does not verify with it")
        }
        _ => Verdict::fail(
            "ws.not-a-brain",
            format!("the brain sent a frame that does not hold: {refusal}"),
            format!("correct Z4J_BRAIN_URL={}", case.config.brain_url.as_str()),
        ),
    }
}

fn closed(
    case: &Case<'_>,
    seen: &WebsocketEvidence,
    stage: Stage,
    code: Option<u16>,
    reason: &str,
) -> Verdict {
    let reason = printable(reason.as_bytes(), SHOWN_CHARS);
    let tail = if reason.is_empty() { String::new() } else { format!(", {reason:?}") };
    let Some(code) = code else {
        return Verdict::fail(
            "ws.closed",
            format!("the brain closed without a code, {}", stage.when()),
            "look at the brain's log",
        );
    };
    let how = format!("close {code}{tail}");
    if (code, stage) == (close::FORBIDDEN, Stage::Online)
        && let Some(skewed) = skew(seen)
    {
        return skewed;
    }
    match (code, stage) {
        (close::REPLACED, Stage::Hello | Stage::Batch) => {
            Verdict::unknown(&format!("another doctor used this slot at the same time ({how})"))
        }
        // Told while it is connected, and with 4401 from then on.
        (close::TOKEN | close::REVOKED, _) => token_rejected(&how),
        (close::FORBIDDEN, Stage::Batch) => skew(seen)
            .unwrap_or_else(|| hmac_mismatch(&format!("the brain refused our signed frame ({how})"))),
        (close::FORBIDDEN, _) if reason.contains(PROJECT_MISMATCH) => Verdict::fail(
            "ws.project-mismatch",
            format!(
                "the token is good and belongs to another project than {} ({how})",
                case.config.project_id
            ),
            project_fix(case),
        ),
        (close::FORBIDDEN, Stage::Hello | Stage::Quiet) => address_refused(&how),
        (close::PROTOCOL, _) => protocol_refused(&format!(
            "the brain refuses this agent's protocol version {PROTOCOL_VERSION_TEXT}, and does not say which it speaks ({how})"
        )),
        (close::RATE, _) => rate_limited(&how),
        _ => {
            let meaning = close::meaning(code).map(|meaning| format!(": {meaning}")).unwrap_or_default();
            Verdict::fail(
                "ws.closed",
                format!("the brain closed with {code}{tail} {}{meaning}", stage.when()),
                match code {
                    close::RESTART => "wait until the brain is up again, then: z4j doctor",
                    _ => "look at the brain's log",
                },
            )
        }
    }
}

/// Whether the configured project is known to be the token's.
pub(super) fn project_is_proven(case: &Case<'_>, seen: &WebsocketEvidence) -> bool {
    if case.config.project_uuid().is_some() {
        return true;
    }
    let slug = seen.trial.as_ref().and_then(|trial| trial.welcome.as_ref()?.project_slug.as_ref());
    let echoed = seen.longpoll.as_ref().and_then(|trip| trip.probe.as_ref().ok()?.header(PROJECT_SLUG));
    slug.map(String::as_str).or(echoed) == Some(case.config.project_id.as_str())
}
