//! What the tls probe saw, judged.

use rustls::AlertDescription;

use super::super::evidence::{TlsEvidence, WebsocketEvidence};
use super::afterwards::{client_cert_required, h2_only, misses_certificate};
use super::names::{date, list};
use super::{Case, OUT_OF_TIME, Verdict, afterwards, certificate};
use crate::net::Break;
use crate::net::certificate::Certificate;
use crate::net::tls::{Failed, Failure, Session};
use crate::words::printable;

/// Most of a peer's first words that are shown.
const SHOWN_CHARS: usize = 60;

/// Judges. What came after the handshake may tell that it was not as good as it looked.
pub(super) fn judge(case: &Case<'_>, seen: &TlsEvidence, later: Option<&WebsocketEvidence>) -> Verdict {
    match seen {
        TlsEvidence::NotHttps => super::network::not_https(case),
        TlsEvidence::Session(session) => {
            let verdict = later.and_then(|later| afterwards::judge(case, session, later));
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

pub(super) fn names(chain: &[Certificate]) -> String {
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
        Failure::Certificate(error) => certificate::judge(case, error, &failed.chain, source, kin),
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
        Failure::Broken(broken) if failed.asks_client && misses_certificate(broken) => {
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

pub(super) fn probe_line(case: &Case<'_>) -> String {
    let host = case.config.brain_url.host_text();
    format!(
        "openssl s_client -connect {} -servername {host} -showcerts </dev/null",
        case.config.brain_url.endpoint()
    )
}
