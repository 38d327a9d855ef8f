//! An upgrade that was not answered with 101, judged by what else answers there.

use super::super::evidence::NoUpgrade;
use super::super::websocket::is_health;
use super::websocket::{SHOWN_CHARS, rate_limited, token_rejected};
use super::{Case, OUT_OF_TIME, Verdict};
use crate::net::Break;
use crate::net::http::{Answer, Failure};
use crate::transport::websocket::UpgradeFailure;
use crate::words::{assignment, printable, public_url};

/// The lines that an nginx in front of a brain needs (nginx, "WebSocket proxying").
const NGINX_LINES: &str = "in the nginx location of /ws/agent:\n\
    proxy_http_version 1.1;\n\
    proxy_set_header Upgrade $http_upgrade;\n\
    proxy_set_header Connection \"upgrade\";";

pub(super) fn no_upgrade(case: &Case<'_>, refused: &NoUpgrade) -> Verdict {
    match &refused.failure {
        UpgradeFailure::Answered(answer) => {
            answered(case, answer, refused.health.as_ref(), refused.root_health.as_ref())
        }
        UpgradeFailure::BadAccept(got) => Verdict::fail(
            "ws.bad-accept",
            match got {
                Some(got) => format!(
                    "the 101 has Sec-WebSocket-Accept {:?}, which is not for our key",
                    printable(got.as_bytes(), 64)
                ),
                None => "the 101 has no Sec-WebSocket-Accept".to_owned(),
            },
            "take the proxy that answers in the brain's place out of the way",
        ),
        UpgradeFailure::Forced(line) => Verdict::fail(
            "ws.bad-accept",
            format!("the 101 forces what was not offered: {}", printable(line.as_bytes(), SHOWN_CHARS)),
            "take the proxy that changes the brain's answer out of the way",
        ),
        UpgradeFailure::NoAnswer(failure) => no_answer(case, "the upgrade", failure),
    }
}

pub(super) fn no_answer(case: &Case<'_>, what: &str, failure: &Failure) -> Verdict {
    let endpoint = case.config.brain_url.endpoint();
    match failure {
        Failure::Broken(Break::OutOfTime) => Verdict::unknown(OUT_OF_TIME),
        Failure::Broken(Break::TimedOut) => Verdict::fail(
            "ws.timeout",
            format!("{endpoint} did not answer {what} in time"),
            "look at the brain's log, and at proxies on the way",
        ),
        Failure::Broken(broken) => Verdict::fail(
            "ws.dropped",
            format!("{endpoint} ended the connection in place of an answer to {what}: {broken}"),
            "look at the log of the proxy in front of the brain, and of the brain",
        ),
        // A TLS alert (RFC 8446, 5.1 and 6).
        Failure::NotHttp(head) if head.starts_with(&[0x15, 0x03]) => {
            speaks_tls(case, "it answers with a TLS alert")
        }
        Failure::NotHttp(head) => {
            not_a_brain(case, &format!("its first bytes are {:?}", printable(head, 60)))
        }
        Failure::TooLong => not_a_brain(case, "the head of its answer does not end"),
    }
}

pub(super) fn not_a_brain(case: &Case<'_>, what: &str) -> Verdict {
    let url = case.config.brain_url.as_str();
    Verdict::fail(
        "ws.not-a-brain",
        format!("what answers at {url} is no brain: {what}"),
        format!("correct Z4J_BRAIN_URL={url}, or log in to the network's portal"),
    )
}

/// Plain HTTP met a port that wants TLS.
fn speaks_tls(case: &Case<'_>, how: &str) -> Verdict {
    let endpoint = case.config.brain_url.endpoint();
    Verdict::fail(
        "ws.not-a-brain",
        format!("{endpoint} wants TLS, and Z4J_BRAIN_URL says http://: {how}"),
        assignment("Z4J_BRAIN_URL", &case.config.brain_url.with_https()),
    )
}

/// What nginx and Go say in plain text on a port that wants TLS.
fn wants_tls(case: &Case<'_>, answer: &Answer) -> bool {
    let body = String::from_utf8_lossy(&answer.body);
    let told = ["plain HTTP request was sent to HTTPS port", "HTTP request to an HTTPS server"];
    !case.config.brain_url.is_secure()
        && answer.status == 400
        && told.iter().any(|words| body.contains(words))
}

fn stripped(answer: &Answer, status: &str) -> Verdict {
    Verdict::fail(
        "ws.upgrade-stripped",
        format!(
            "the upgrade was answered with {status}{}, while GET /api/v1/health is fine: {}",
            server(answer),
            if answer.is_old {
                "what answers speaks HTTP/1.0, which knows no upgrade"
            } else {
                "a proxy drops the Upgrade header"
            }
        ),
        NGINX_LINES,
    )
    .with("status", answer.status)
    .with("server", answer.header("server").map(|name| printable(name.as_bytes(), 80)))
}

/// The upgrade got an answer that is no 101.
fn answered(
    case: &Case<'_>,
    answer: &Answer,
    health: Option<&Result<Answer, Failure>>,
    root_health: Option<&Result<Answer, Failure>>,
) -> Verdict {
    let fine = health.is_some_and(is_health);
    let status = status_words(answer);
    match answer.status {
        400 if wants_tls(case, answer) => return speaks_tls(case, &status),
        401 if is_proxys(answer) => return http_status(answer),
        401 => return token_rejected(&status),
        429 => return rate_limited(&status),
        400 if error_code(answer).as_deref() == Some("invalid_host") => return http_status(answer),
        404 | 400 | 426 | 405 if fine => {
            return stripped(answer, &status);
        }
        300..=399 | 500..=599 => return http_status(answer),
        _ => {}
    }
    if let Some(base) = case.config.brain_url.without_endpoint().filter(|_| !fine) {
        return Verdict::fail(
            "ws.path",
            format!("{} ends in /ws/agent, which the agent adds itself", case.config.brain_url.as_str()),
            assignment("Z4J_BRAIN_URL", &base),
        );
    }
    // What refuses everything says nothing about the path.
    if answer.status == 403 && matches!(health, Some(Ok(health)) if health.status == 403) {
        return http_status(answer);
    }
    if root_health.is_some_and(is_health) {
        let root = case.config.brain_url.without_prefix();
        return Verdict::fail(
            "ws.path",
            format!("there is no brain below {}; there is one at {root}", case.config.brain_url.as_str()),
            format!("Environment=Z4J_BRAIN_URL={root}"),
        );
    }
    if fine {
        return http_status(answer);
    }
    nothing_there(case, answer, health)
}

/// Neither the upgrade nor the health is answered as by a brain.
fn nothing_there(case: &Case<'_>, answer: &Answer, health: Option<&Result<Answer, Failure>>) -> Verdict {
    let status = status_words(answer);
    // What would tell a wrong path from another service was not heard to its end.
    if matches!(health, Some(Err(Failure::Broken(Break::OutOfTime)))) {
        return Verdict::unknown(OUT_OF_TIME);
    }
    let health_words = match health {
        Some(Ok(health)) => format!("{}{}{}", status_words(health), server(health), title(health)),
        Some(Err(_)) | None => "no answer".to_owned(),
    };
    let sentence = format!(
        "the upgrade was answered with {status}{}, GET /api/v1/health with {health_words}",
        server(answer)
    );
    if matches!(answer.status, 403 | 404) {
        let fix = format!(
            "add the path under which the brain is: Environment=Z4J_BRAIN_URL={}PATH/",
            case.config.brain_url.as_str()
        );
        return Verdict::fail("ws.path", format!("no brain is at this path: {sentence}"), fix);
    }
    not_a_brain(case, &sentence)
}

pub(super) fn http_status(answer: &Answer) -> Verdict {
    let location = answer.header("location").map(|to| {
        // A redirect may carry a session in its query.
        format!(" to {}", printable(public_url(to).as_bytes(), SHOWN_CHARS))
    });
    let location_is_none = location.is_none();
    let fix = match (answer.status, error_code(answer).as_deref()) {
        (400, Some("invalid_host")) => "add the host to Z4J_ALLOWED_HOSTS of the brain",
        (300..=399, _) => "set Z4J_BRAIN_URL to the address that does not redirect",
        (401, _) => {
            "let /ws/agent and /api/v1/agent/ through without the proxy's own login (nginx: auth_basic off;)"
        }
        (403, _) => "let /ws/agent through in what protects the brain (proxy, WAF, its project)",
        (502..=504, _) => "start the brain behind the proxy, or correct the proxy's upstream",
        _ => "look at the log of the proxy in front of the brain, and of the brain",
    };
    let code = error_code(answer).map(|code| format!(" ({code})")).unwrap_or_default();
    Verdict::fail(
        "ws.http-status",
        format!(
            "the request was answered with {}{}{code}{}{}",
            status_words(answer),
            location.unwrap_or_default(),
            server(answer),
            // nginx repeats the status there.
            if answer.status < 500 && location_is_none { title(answer) } else { String::new() }
        ),
        fix,
    )
    .with("status", answer.status)
}

/// Whether a refusal is a proxy's own: a brain asks for a bearer token and answers in JSON.
pub(super) fn is_proxys(answer: &Answer) -> bool {
    let basic = answer.header("www-authenticate").is_some_and(|value| {
        value.trim_start().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"))
    });
    basic || !answer.body.is_empty() && answer.json().is_none()
}

pub(super) fn status_words(answer: &Answer) -> String {
    printable(format!("{} {}", answer.status, answer.reason).as_bytes(), 80)
}

pub(super) fn server(answer: &Answer) -> String {
    answer
        .header("server")
        .map(|name| format!(" by Server: {}", printable(name.as_bytes(), 80)))
        .unwrap_or_default()
}

/// The title of a page, for people to recognise it; nothing if it only repeats the status.
fn title(answer: &Answer) -> String {
    let body = String::from_utf8_lossy(&answer.body);
    let title = body.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    let title = title.map(|(title, _)| title.trim()).unwrap_or_default();
    if title.is_empty() || title.starts_with(&answer.status.to_string()) {
        return String::new();
    }
    format!(", a page titled {:?}", printable(title.as_bytes(), 80))
}

/// The brain's own word for an error: `error`, or the text of `detail`.
pub(super) fn error_code(answer: &Answer) -> Option<String> {
    let body = answer.json()?;
    let word = body.get("error").or_else(|| body.get("detail"))?.as_str()?;
    Some(printable(word.as_bytes(), 80))
}
