//! What the tls probe saw, judged.

use rustls::{AlertDescription, CertificateError};

use super::super::evidence::{TlsEvidence, TrialEnd, WebsocketEvidence};
use super::names::{date, list};
use super::{Case, OUT_OF_TIME, Verdict, interceptor, upgrade};
use crate::net::Break;
use crate::net::certificate::Certificate;
use crate::net::http::{Answer, Failure as HttpFailure};
use crate::net::tls::{Failed, Failure, Session};
use crate::transport::websocket::UpgradeFailure;
use crate::words::{assignment, plain_words, printable};

/// Most of a peer's first words that are shown.
const SHOWN_CHARS: usize = 60;

/// Judges. What came after the handshake may tell that it was not as good as it looked.
pub(super) fn judge(case: &Case<'_>, seen: &TlsEvidence, later: Option<&WebsocketEvidence>) -> Verdict {
    match seen {
        TlsEvidence::NotHttps => super::network::not_https(case),
        TlsEvidence::Session(session) => {
            let verdict = later.and_then(|later| spoiled(case, session, later));
            with_chain(verdict.unwrap_or_else(|| good(case, session)), case, &session.chain)
        }
        TlsEvidence::Failed { failed, source, kin } => {
            with_chain(bad(case, failed, source, *kin), case, &failed.chain)
        }
    }
}

fn good(case: &Case<'_>, session: &Session) -> Verdict {
    let host = case.config.brain_url.host_text();
    let common_name = session.chain.first().and_then(|leaf| leaf.common_name.clone());
    let shown = match &common_name {
        Some(name) => format!("cert CN='{}'", printable(name.as_bytes(), 256)),
        None => format!("cert for {}", names(&session.chain)),
    };
    Verdict::ok(format!("TLS {} to {host} ({shown})", session.version))
        .with("tls_version", session.version.clone())
        .with("cn", common_name)
}

/// What the answer to the first request says of TLS: in TLS 1.3 a client learns only then that it was to show a
/// certificate, and a server of HTTP/2 alone may speak it to whoever comes.
fn spoiled(case: &Case<'_>, session: &Session, later: &WebsocketEvidence) -> Option<Verdict> {
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
        Some(HttpFailure::NotHttp(head)) if is_http2(head) => Some(h2_only(case, "it answers in HTTP/2")),
        Some(HttpFailure::Broken(broken @ (Break::Alert(_) | Break::Closed | Break::Reset)))
            if session.asks_client =>
        {
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

/// Whether bytes begin with a SETTINGS frame, as every HTTP/2 server does (RFC 9113, 3.4 and 6.5).
fn is_http2(head: &[u8]) -> bool {
    matches!(head, [0, _, _, 4, 0 | 1, 0, 0, 0, 0, ..])
}

/// nginx takes the handshake, and refuses the request (ngx_http_ssl_module, ssl_verify_client).
fn wants_certificate(answer: &Answer) -> bool {
    let body = String::from_utf8_lossy(&answer.body);
    answer.status == 400 && body.contains("No required SSL certificate was sent")
}

fn h2_only(case: &Case<'_>, how: &str) -> Verdict {
    let endpoint = case.config.brain_url.endpoint();
    Verdict::fail(
        "tls.h2-only",
        format!("{endpoint} speaks HTTP/2 and no HTTP/1.1, over which WebSocket and long-poll go: {how}"),
        format!(
            "let {endpoint} offer http/1.1 beside h2 (in ALPN), or name a port in Z4J_BRAIN_URL that does"
        ),
    )
}

fn client_cert_required(case: &Case<'_>, how: &str) -> Verdict {
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

fn with_chain(verdict: Verdict, case: &Case<'_>, chain: &[Certificate]) -> Verdict {
    let rows: Vec<serde_json::Value> = chain
        .iter()
        .map(|certificate| {
            serde_json::json!({
                "subject": certificate.subject,
                "issuer": certificate.issuer,
                "names": certificate.names,
                "not_before": date(certificate.not_before),
                "not_after": date(certificate.not_after),
            })
        })
        .collect();
    verdict
        .with("host", case.config.brain_url.host_text())
        .with("port", case.config.brain_url.port())
        .with("chain", rows)
}

fn names(chain: &[Certificate]) -> String {
    let names = chain.first().map(|leaf| leaf.names.clone()).unwrap_or_default();
    if names.is_empty() { "no name".to_owned() } else { printable(list(names).as_bytes(), 400) }
}

fn bad(case: &Case<'_>, failed: &Failed, source: &str, kin: bool) -> Verdict {
    let endpoint = case.config.brain_url.endpoint();
    match &failed.failure {
        Failure::Broken(Break::OutOfTime) => Verdict::unknown(OUT_OF_TIME),
        Failure::NoRoots if source.contains("EMFILE") || source.contains("Too many open files") => {
            Verdict::out_of_files()
        }
        Failure::NoRoots => Verdict::fail(
            "tls.no-roots",
            format!("no root certificate was found in {source}"),
            no_roots_fix(case),
        ),
        Failure::Certificate(error) => certificate(case, error, &failed.chain, source, kin),
        Failure::Incompatible(what) => Verdict::fail(
            "tls.version",
            format!("{endpoint} speaks no TLS version that is spoken here (1.2 and 1.3): {what}"),
            format!("let {endpoint} speak TLS 1.2 or 1.3 (nginx: ssl_protocols TLSv1.2 TLSv1.3;)"),
        ),
        Failure::TooLong => Verdict::fail(
            "tls.aborted",
            format!("{endpoint} sends more certificates than TLS libraries read: over 64 KiB"),
            format!(
                "leave on {endpoint} its own certificate and the intermediates above it, and no bundle of \
                 authorities (nginx: ssl_certificate fullchain.pem;)"
            ),
        ),
        Failure::NotTls => Verdict::fail(
            "tls.not-tls",
            format!(
                "{endpoint} does not speak TLS: its first bytes are {:?}",
                printable(&failed.received.head, SHOWN_CHARS)
            ),
            "correct the port in Z4J_BRAIN_URL, or turn TLS on for it",
        ),
        Failure::Broken(Break::Alert(AlertDescription::NoApplicationProtocol)) => {
            h2_only(case, "it refuses http/1.1 with the TLS alert NoApplicationProtocol")
        }
        Failure::Broken(broken @ (Break::Alert(_) | Break::Closed | Break::Reset)) if failed.asks_client => {
            client_cert_required(case, &broken.to_string())
        }
        Failure::Broken(broken) => aborted(case, broken, failed),
        Failure::Other(text) => Verdict::fail(
            "tls.aborted",
            format!("the TLS handshake with {endpoint} failed: {text}"),
            probe_line(case),
        ),
    }
}

/// A variable that replaces the system's store is what to look at, where one does.
fn no_roots_fix(case: &Case<'_>) -> String {
    let ca = &case.config.ca;
    let file = ca.cert_file.as_deref().map(|file| ("SSL_CERT_FILE", file));
    match file.or(ca.cert_dir.as_deref().map(|dir| ("SSL_CERT_DIR", dir))) {
        Some((name, path)) => format!(
            "let {name}={} name readable PEM certificates, or leave it to the system:\nUnsetEnvironment={name}",
            path.display()
        ),
        None => "sudo apt-get install ca-certificates".to_owned(),
    }
}

fn aborted(case: &Case<'_>, broken: &Break, failed: &Failed) -> Verdict {
    let endpoint = &case.config.brain_url.endpoint();
    if *broken == Break::TimedOut && failed.received.bytes == 0 {
        return Verdict::fail(
            "tls.aborted",
            format!("{endpoint} takes connections and does not answer our ClientHello"),
            format!("look at what listens on {endpoint}: it hangs, or waits for something other than TLS"),
        );
    }
    let when = match (failed.received.bytes, failed.chain.is_empty()) {
        (0, _) => "after our ClientHello, before it sent a byte".to_owned(),
        (bytes, true) => format!("after our ClientHello and {bytes} bytes of its own"),
        (_, false) => "after it sent its certificate".to_owned(),
    };
    let host = case.config.brain_url.host_text();
    let fix = match broken {
        Break::Alert(AlertDescription::UnrecognisedName) => format!(
            "correct the host in Z4J_BRAIN_URL, or add {host} to what terminates TLS on {endpoint} (nginx: \
             server_name {host};)"
        ),
        Break::Alert(AlertDescription::HandshakeFailure) => format!(
            "let {endpoint} offer TLS 1.3, or TLS 1.2 with ECDHE and AES-GCM or ChaCha20 (nginx: ssl_ciphers HIGH;)"
        ),
        Break::Closed | Break::Reset if failed.received.bytes == 0 => format!(
            "let {host} through what looks at TLS on the way (a firewall that reads the name), or look at the log of \
             what terminates TLS on {endpoint}"
        ),
        _ => format!("look at the log of what terminates TLS on {endpoint}"),
    };
    let sentence = match broken {
        Break::Alert(AlertDescription::UnrecognisedName) => {
            format!("{endpoint} has no virtual host {host}: {broken} after our ClientHello")
        }
        Break::Alert(AlertDescription::HandshakeFailure) if failed.chain.is_empty() => {
            format!(
                "{endpoint} finds no cipher, curve or signature in common: {broken} after our ClientHello"
            )
        }
        _ => format!("the TLS handshake with {endpoint} ended {when}: {broken}"),
    };
    Verdict::fail("tls.aborted", sentence, fix)
}

fn probe_line(case: &Case<'_>) -> String {
    let host = case.config.brain_url.host_text();
    format!(
        "openssl s_client -connect {} -servername {host} -showcerts </dev/null",
        case.config.brain_url.endpoint()
    )
}

fn certificate(
    case: &Case<'_>,
    error: &CertificateError,
    chain: &[Certificate],
    source: &str,
    kin: bool,
) -> Verdict {
    use CertificateError as E;
    let host = case.config.brain_url.host_text();
    let now = case.now.unix_seconds();
    match error {
        E::Expired | E::ExpiredContext { .. } => {
            let ended = chain.iter().find(|certificate| certificate.not_after < now).or(chain.first());
            let (subject, end) = subject_and(ended, |certificate| certificate.not_after);
            let sentence = format!("{subject} ended {end}; it is {} by this clock", date(now));
            Verdict::fail("tls.expired", sentence, format!("renew the certificate of {host}"))
        }
        E::NotValidYet | E::NotValidYetContext { .. } => {
            let later = chain.iter().find(|certificate| certificate.not_before > now).or(chain.first());
            let (subject, start) = subject_and(later, |certificate| certificate.not_before);
            let sentence = format!("{subject} begins {start}; it is {} by this clock", date(now));
            Verdict::fail(
                "tls.not-yet-valid",
                sentence,
                "set this machine's clock: sudo timedatectl set-ntp true",
            )
        }
        E::NotValidForName | E::NotValidForNameContext { .. } if is_nameless(chain) => Verdict::fail(
            "tls.hostname-mismatch",
            format!(
                "the certificate has no alternative names, and its common name {} is not looked at",
                chain
                    .first()
                    .and_then(|leaf| leaf.common_name.as_deref())
                    .map_or_else(|| "(there is none)".to_owned(), |name| printable(name.as_bytes(), 200))
            ),
            format!("issue the certificate anew with subjectAltName=DNS:{host}"),
        ),
        E::NotValidForName | E::NotValidForNameContext { .. } => Verdict::fail(
            "tls.hostname-mismatch",
            format!("the certificate is not for {host}; it is for {}", names(chain)),
            mismatch_fix(case, chain),
        ),
        E::UnknownIssuer => unknown_issuer(case, chain, source, kin),
        E::Other(other) if other.0.to_string() == CA_AS_LEAF && is_shuffled(chain) => Verdict::fail(
            "tls.wrong-order",
            format!(
                "{host} sends its chain in the wrong order: the certificate of {} comes first",
                top_words(chain)
            ),
            format!(
                "put the certificate of {host} first, then those above it, in that order (nginx: cat {host}.pem \
                 intermediate.pem > fullchain.pem)"
            ),
        ),
        E::Other(other) if other.0.to_string() == CA_AS_LEAF => Verdict::fail(
            "tls.self-signed",
            format!(
                "the certificate of {host} is that of a certificate authority (CA:TRUE), and no server may use one as its own"
            ),
            format!(
                "issue a certificate for {host} with basicConstraints=CA:FALSE, and sign it with that one"
            ),
        ),
        other => Verdict::fail(
            "tls.untrusted-ca",
            format!("the certificate of {host} is not acceptable: {}", reason(other)),
            probe_line(case),
        ),
    }
}

fn is_nameless(chain: &[Certificate]) -> bool {
    chain.first().is_some_and(|leaf| leaf.names.is_empty())
}

/// Whether the server's own certificate is there, and not first.
fn is_shuffled(chain: &[Certificate]) -> bool {
    chain.first().is_some_and(|first| first.is_ca) && chain.iter().any(|other| !other.is_ca)
}

fn top_words(chain: &[Certificate]) -> String {
    chain.first().map(|first| printable(first.subject.as_bytes(), 200)).unwrap_or_default()
}

/// The name that the verifier gives a certificate of an authority in a server's place.
const CA_AS_LEAF: &str = "CaUsedAsEndEntity";

/// Why a certificate is refused, in words: what the library prints of it is not meant for people.
fn reason(error: &CertificateError) -> String {
    match error {
        CertificateError::Other(other) => plain_words(&other.0.to_string()),
        other => plain_words(&format!("{other:?}")),
    }
}

fn subject_and(certificate: Option<&Certificate>, when: impl Fn(&Certificate) -> i64) -> (String, String) {
    certificate.map_or_else(
        || ("the certificate".to_owned(), "then".to_owned()),
        |certificate| {
            let subject = printable(certificate.subject.as_bytes(), 200);
            (format!("the certificate of {subject}"), date(when(certificate)))
        },
    )
}

fn mismatch_fix(case: &Case<'_>, chain: &[Certificate]) -> String {
    let host = case.config.brain_url.host_text();
    let usable = chain.first().and_then(|leaf| leaf.names.iter().find(|name| !name.starts_with('*')));
    match usable {
        Some(name) => format!(
            "{}\nor install a certificate that names {host}",
            assignment("Z4J_BRAIN_URL", &case.config.brain_url.with_host(&printable(name.as_bytes(), 253)))
        ),
        None => format!("install a certificate that names {host}"),
    }
}

/// rustls says the same of all of these; the presented chain tells them apart.
fn unknown_issuer(case: &Case<'_>, chain: &[Certificate], source: &str, kin: bool) -> Verdict {
    let host = case.config.brain_url.host_text();
    let top = top_of(chain);
    let issuer = top.map(|top| printable(top.issuer.as_bytes(), 200)).unwrap_or_default();
    let alone = chain.len() == 1;
    if alone && top.is_some_and(Certificate::is_self_issued) {
        return Verdict::fail(
            "tls.self-signed",
            format!("the certificate of {host} is signed by itself ({issuer}), and not among {source}"),
            trust_line(case),
        );
    }
    let fetchable = top.is_some_and(|top| top.issuer_url.is_some());
    if alone && (fetchable || kin) {
        return Verdict::fail(
            "tls.missing-intermediate",
            format!("{host} sends its own certificate alone, without that of its issuer, {issuer}"),
            format!(
                "install the full chain on {host} (nginx: ssl_certificate fullchain.pem;), its own certificate first"
            ),
        );
    }
    if interceptor::is_likely(&issuer) {
        return Verdict::fail(
            "tls.intercepted",
            format!(
                "the certificate of {host} is from {issuer}, as a proxy that inspects TLS makes one, and no root \
                 certificate knows that; roots are from {source}"
            ),
            format!("{}\nor have {host} left out of the inspection", trust_line(case)),
        );
    }
    Verdict::fail(
        "tls.untrusted-ca",
        format!("no root certificate knows the issuer {issuer}; roots are from {source}"),
        trust_line(case),
    )
}

fn trust_line(case: &Case<'_>) -> String {
    let host = case.config.brain_url.host_text();
    format!(
        "put that issuer's PEM into /etc/ssl/{host}-ca.pem\nEnvironment=Z4J_CA_FILE=/etc/ssl/{host}-ca.pem"
    )
}

/// The certificate at which the presented chain ends, following issuers from the peer's own.
fn top_of(chain: &[Certificate]) -> Option<&Certificate> {
    let mut top = chain.first()?;
    for _ in 0..chain.len() {
        let above = chain.iter().find(|other| other.subject == top.issuer && *other != top);
        match above {
            Some(above) if !top.is_self_issued() => top = above,
            _ => break,
        }
    }
    Some(top)
}
