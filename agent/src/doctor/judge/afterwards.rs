//! What the answer to the first request says of TLS.

use rustls::AlertDescription;

use super::super::evidence::{TrialEnd, WebsocketEvidence};
use super::{Case, Verdict, upgrade};
use crate::net::Break;
use crate::net::http::{Answer, Failure};
use crate::net::tls::Session;
use crate::transport::websocket::UpgradeFailure;

/// What is wrong with a handshake that looked good: in TLS 1.3 a client learns only then that it was to show a
/// certificate, and a server of HTTP/2 alone may speak it to whoever comes.
pub(super) fn judge(case: &Case<'_>, session: &Session, later: &WebsocketEvidence) -> Option<Verdict> {
    let refused = later.trial.as_ref().and_then(|trial| match &trial.end {
        TrialEnd::NoUpgrade(refused) => Some(&refused.failure),
        _ => None,
    });
    let probe = later.longpoll.as_ref().map(|trip| &trip.probe);
    let (answer, failure) = match (refused, probe) {
        (Some(UpgradeFailure::Answered(answer)), _) | (None, Some(Ok(answer))) => (Some(answer), None),
        (Some(UpgradeFailure::NoAnswer(failure)), _) | (None, Some(Err(failure))) => (None, Some(failure)),
        _ => return None,
    };
    match failure {
        Some(Failure::NotHttp(head)) if is_http2(head) => Some(h2_only(case, "it answers in HTTP/2")),
        Some(Failure::Broken(broken)) if session.asks_client && misses_certificate(broken) => {
            Some(client_cert_required(case, &broken.to_string()))
        }
        _ => answer.filter(|answer| wants_certificate(answer)).map(|answer| {
            client_cert_required(
                case,
                &format!("the request was answered with {}", upgrade::status_words(answer)),
            )
        }),
    }
}

/// Whether a connection ended as from a server that asked for a certificate and does not do without. One that
/// merely asks closes for reasons of its own. An alert can be lost to the reset that follows it, since such a
/// server leaves our request unread.
pub(super) const fn misses_certificate(broken: &Break) -> bool {
    matches!(
        broken,
        Break::Reset
            | Break::Alert(
                AlertDescription::CertificateRequired
                    | AlertDescription::HandshakeFailure
                    | AlertDescription::BadCertificate
                    | AlertDescription::AccessDenied
            )
    )
}

/// Whether bytes begin with a SETTINGS frame, as every HTTP/2 server does (RFC 9113, 3.4 and 6.5).
fn is_http2(head: &[u8]) -> bool {
    matches!(head, [0, _, _, 4, 0 | 1, 0, 0, 0, 0, ..])
}

/// nginx takes the handshake, and refuses the request (ngx_http_ssl_module, ssl_verify_client).
fn wants_certificate(answer: &Answer) -> bool {
    let body = String::from_utf8_lossy(&answer.body);
    answer.status == 400 && body.contains("No required SSL certificate was sent")
}

pub(super) fn h2_only(case: &Case<'_>, how: &str) -> Verdict {
    let endpoint = case.config.brain_url.endpoint();
    Verdict::fail(
        "tls.h2-only",
        format!("{endpoint} speaks HTTP/2 and no HTTP/1.1, over which WebSocket and long-poll go: {how}"),
        format!(
            "let {endpoint} offer http/1.1 beside h2 (in ALPN), or name a port in Z4J_BRAIN_URL that does"
        ),
    )
}

pub(super) fn client_cert_required(case: &Case<'_>, how: &str) -> Verdict {
    let endpoint = case.config.brain_url.endpoint();
    Verdict::fail(
        "tls.client-cert-required",
        format!("{endpoint} wants a client certificate, and the agent shows none: {how}"),
        format!(
            "let /ws/agent and /api/v1/agent/ on {endpoint} do without one (nginx: ssl_verify_client optional;): \
             agents prove themselves by token and signature"
        ),
    )
}
