//! A long-poll round trip, judged.

use super::super::evidence::{TrialEnd, WebsocketEvidence};
use super::super::websocket::PROJECT_MISMATCH;
use super::upgrade::{error_code, http_status, is_proxys, no_answer, not_a_brain, server, status_words};
use super::websocket::{address_refused, hmac_mismatch, project_fix, rate_limited, skew, token_rejected};
use super::{Case, Verdict};
use crate::config::Transport;
use crate::net::http::Failure;
use crate::transport::longpoll::RoundTrip;
use crate::transport::session::End;
use crate::words::printable;

/// What is wrong with a long-poll round trip; `None` if it proved what it can.
pub(super) fn failure(case: &Case<'_>, seen: &WebsocketEvidence, round_trip: &RoundTrip) -> Option<Verdict> {
    if round_trip.is_proven() {
        return project(case, round_trip);
    }
    let (answer, is_batch) = match (&round_trip.probe, &round_trip.batch) {
        (Err(failure), _) | (_, Some(Err(failure))) => {
            return Some(no_answer(case, "a long-poll request", failure));
        }
        (_, Some(Ok(answer))) => (answer, true),
        (Ok(answer), None) => (answer, false),
    };
    let how = status_words(answer);
    Some(match (answer.status, error_code(answer).as_deref()) {
        (401, _) if !is_proxys(answer) => token_rejected(&how),
        (403, Some("ip_denied")) => address_refused(&how),
        (403, Some(PROJECT_MISMATCH)) => Verdict::fail(
            "ws.project-mismatch",
            format!(
                "the token is good and belongs to another project than {} ({how})",
                case.config.project_id
            ),
            project_fix(case),
        ),
        (409, _) if is_batch => skew(seen)
            .unwrap_or_else(|| hmac_mismatch(&format!("the brain refused our signed frame ({how})"))),
        (429, _) => rate_limited(&how),
        (404, _) if !is_batch => Verdict::fail(
            "ws.path",
            format!(
                "no brain is at this path: a long-poll request was answered with {how}{}",
                server(answer)
            ),
            format!("correct Z4J_BRAIN_URL={}", case.config.brain_url.as_str()),
        ),
        (200, _) if !is_batch => {
            not_a_brain(case, "its answer to a long-poll request names no agent or holds no frames")
        }
        _ => http_status(answer),
    })
}

/// Whether what long-poll came to is a brain's own word about this agent, and not about long-poll.
pub(super) fn decides(round_trip: &RoundTrip) -> bool {
    if round_trip.is_proven() {
        return true;
    }
    let answer = match (&round_trip.probe, &round_trip.batch) {
        (_, Some(Ok(answer))) | (Ok(answer), None) => answer,
        _ => return false,
    };
    let word = error_code(answer);
    let named = matches!(word.as_deref(), Some("ip_denied" | "project_inactive" | PROJECT_MISMATCH));
    matches!(answer.status, 409 | 429)
        || answer.status == 401 && !is_proxys(answer)
        || answer.status == 403 && named
}

/// How long-poll was not reached, for a sentence.
pub(super) fn unreachable(round_trip: &RoundTrip) -> String {
    match (&round_trip.probe, &round_trip.batch) {
        (_, Some(Ok(answer))) | (Ok(answer), None) => {
            format!("a long-poll request was answered with {}{}", status_words(answer), server(answer))
        }
        (Err(failure), _) | (_, Some(Err(failure))) => match failure {
            Failure::Broken(broken) => format!("a long-poll request got no answer: {broken}"),
            Failure::NotHttp(_) | Failure::TooLong => "a long-poll request got no HTTP answer".to_owned(),
        },
    }
}

fn project(case: &Case<'_>, round_trip: &RoundTrip) -> Option<Verdict> {
    let (_, project) = round_trip.ids()?;
    let configured = case.config.project_uuid()?;
    (!project.eq_ignore_ascii_case(&configured.to_string())).then(|| {
        Verdict::fail(
            "ws.project-mismatch",
            format!(
                "the token belongs to project {}, not to {configured}",
                printable(project.as_bytes(), 64)
            ),
            project_fix(case),
        )
    })
}

/// Whether long-poll carries what the WebSocket does not.
pub(super) fn works(case: &Case<'_>, seen: &WebsocketEvidence) -> bool {
    // What the brain itself says over a WebSocket, it means on long-poll too.
    let failed = seen.trial.as_ref().is_some_and(|trial| {
        !matches!(trial.end, TrialEnd::Quiet | TrialEnd::Early(_, End::Closed { code: Some(_), .. }))
    });
    case.config.transport == Transport::Auto
        && failed
        && seen.longpoll.as_ref().is_some_and(RoundTrip::is_proven)
}
