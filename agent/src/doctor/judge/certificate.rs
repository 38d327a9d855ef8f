//! A certificate that is not acceptable, judged by the chain that was presented.

use rustls::CertificateError;

use super::names::date;
use super::tls::{names, probe_line};
use super::{Case, Verdict, interceptor};
use crate::net::certificate::Certificate;
use crate::words::{assignment, plain_words, printable};

/// Judges.
pub(super) fn judge(
    case: &Case<'_>,
    error: &CertificateError,
    chain: &[Certificate],
    source: &str,
    kin: bool,
) -> Verdict {
    use CertificateError as E;
    let host = case.config.brain_url.host_text();
    match error {
        E::Expired | E::ExpiredContext { .. } => expired(case, chain),
        E::NotValidYet | E::NotValidYetContext { .. } => not_yet_valid(case, chain),
        E::NotValidForName | E::NotValidForNameContext { .. } => not_for_host(case, chain),
        E::UnknownIssuer => unknown_issuer(case, chain, source, kin),
        E::Other(other) if other.0.to_string() == CA_AS_LEAF => authority_first(&host, chain),
        other => Verdict::fail(
            "tls.untrusted-ca",
            format!("the certificate of {host} is not acceptable: {}", reason(other)),
            probe_line(case),
        ),
    }
}

fn expired(case: &Case<'_>, chain: &[Certificate]) -> Verdict {
    let now = case.now.unix_seconds();
    let ended = chain.iter().find(|certificate| certificate.not_after < now).or(chain.first());
    let (subject, end) = subject_and(ended, |certificate| certificate.not_after);
    let sentence = format!("{subject} ended {end}; it is {} by this clock", date(now));
    let fix = format!("renew the certificate of {}", case.config.brain_url.host_text());
    Verdict::fail("tls.expired", sentence, fix)
}

fn not_yet_valid(case: &Case<'_>, chain: &[Certificate]) -> Verdict {
    let now = case.now.unix_seconds();
    let later = chain.iter().find(|certificate| certificate.not_before > now).or(chain.first());
    let (subject, start) = subject_and(later, |certificate| certificate.not_before);
    let sentence = format!("{subject} begins {start}; it is {} by this clock", date(now));
    let fix = "set this machine's clock: sudo timedatectl set-ntp true";
    Verdict::fail("tls.not-yet-valid", sentence, fix)
}

fn not_for_host(case: &Case<'_>, chain: &[Certificate]) -> Verdict {
    let host = case.config.brain_url.host_text();
    let leaf = chain.first().filter(|leaf| leaf.names.is_empty());
    if let Some(name) = leaf.and_then(|leaf| leaf.common_name.as_deref()) {
        return Verdict::fail(
            "tls.hostname-mismatch",
            format!(
                "the certificate has no alternative names, and its common name {} is not looked at",
                printable(name.as_bytes(), 200)
            ),
            format!("issue the certificate anew with subjectAltName=DNS:{host}"),
        );
    }
    let sentence = format!("the certificate is not for {host}; it is for {}", names(chain));
    Verdict::fail("tls.hostname-mismatch", sentence, mismatch_fix(case, chain))
}

/// The first certificate is an authority's: of a chain in the wrong order, or as the server's own.
fn authority_first(host: &str, chain: &[Certificate]) -> Verdict {
    let first = chain.first().map(|first| printable(first.subject.as_bytes(), 200)).unwrap_or_default();
    if chain.iter().any(|other| !other.is_ca) {
        return Verdict::fail(
            "tls.wrong-order",
            format!("{host} sends its chain in the wrong order: the certificate of {first} comes first"),
            format!(
                "put the certificate of {host} first, then those above it, in that order (nginx: cat {host}.pem \
                 intermediate.pem > fullchain.pem)"
            ),
        );
    }
    Verdict::fail(
        "tls.self-signed",
        format!(
            "the certificate of {host} is that of a certificate authority (CA:TRUE), and no server may use one as its own"
        ),
        format!("issue a certificate for {host} with basicConstraints=CA:FALSE, and sign it with that one"),
    )
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
