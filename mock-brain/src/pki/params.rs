//! What stands in each certificate: subject, names, usage, dates, and its kind of key.
//!
//! Owns the fields. Key usage, SKI and AKI are set because strict verifiers look for them (RFC 5280, 4.2.1).
//! Must not decide who signs (`chain`).

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    RsaKeySize,
};
use time::OffsetDateTime;
use z4j_protocol::Timestamp;

use super::PkiError;
use super::word::Word;

/// A day, in seconds.
pub(super) const DAY: i64 = 86_400;
/// Days of a CA certificate.
const CA_DAYS: i64 = 3_650;
/// Days of a server certificate.
const SERVER_DAYS: i64 = 90;
/// What a certificate for the wrong host names (RFC 2606 reserves the domain).
const OTHER_HOST: &str = "other-host.invalid";

/// When a certificate is valid, in seconds since the epoch.
#[derive(Clone, Copy)]
pub(super) struct Validity {
    from: i64,
    to: i64,
}

impl Validity {
    /// Begins a day ago, because clocks differ.
    pub(super) fn of_ca(now: Timestamp) -> Self {
        let now = now.unix_seconds();
        Self { from: now - DAY, to: now + CA_DAYS * DAY }
    }

    /// That of a CA that ended a day ago.
    pub(super) fn of_old_ca(now: Timestamp) -> Self {
        let now = now.unix_seconds();
        Self { from: now - CA_DAYS * DAY, to: now - DAY }
    }

    pub(super) fn of_server(word: Option<Word>, now: Timestamp) -> Self {
        let now = now.unix_seconds();
        match word {
            Some(Word::Expired) => Self { from: now - SERVER_DAYS * DAY, to: now - DAY },
            Some(Word::NotYetValid) => Self { from: now + DAY, to: now + SERVER_DAYS * DAY },
            Some(Word::ExpiresIn(time)) => {
                Self { from: now - DAY, to: now.saturating_add_unsigned(time.as_secs()) }
            }
            _ => Self { from: now - DAY, to: now + SERVER_DAYS * DAY },
        }
    }

    /// Sets the dates, which rcgen would otherwise set to 1975..4096.
    pub(super) fn set(self, params: &mut CertificateParams) {
        let time = |at| OffsetDateTime::from_unix_timestamp(at).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        params.not_before = time(self.from);
        params.not_after = time(self.to);
    }
}

/// A new key of the kind that a word asks for; ECDSA on P-256 without one.
pub(super) fn new_key(word: Option<Word>) -> Result<KeyPair, PkiError> {
    Ok(match word {
        Some(Word::Rsa) => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?,
        Some(Word::Rsa4096) => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096)?,
        Some(Word::EcdsaP384) => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?,
        Some(Word::Ed25519) => KeyPair::generate_for(&PKCS_ED25519)?,
        _ => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
    })
}

fn subject(organization: &str, common_name: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, organization);
    if let Some(common_name) = common_name {
        name.push(DnType::CommonName, common_name);
    }
    name
}

fn ca(organization: &str, common_name: &str, depth: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(organization, Some(common_name));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(depth));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

pub(super) fn root(id: &str) -> CertificateParams {
    ca("mock-brain", &format!("mock-brain CA {id}"), 1)
}

pub(super) fn intermediate(id: &str) -> CertificateParams {
    ca("mock-brain", &format!("mock-brain intermediate {id}"), 0)
}

/// The authority of a company's proxy that makes a certificate for every host.
pub(super) fn interceptor() -> CertificateParams {
    ca("Example Corp", "Example Corp TLS Inspection CA", 0)
}

/// The authority that signed the root before that was known.
pub(super) fn old_root() -> CertificateParams {
    ca("mock-brain", "mock-brain old CA", 2)
}

/// Whether a certificate can bear these names.
pub(super) fn check_names(names: &[String]) -> Result<(), PkiError> {
    let bad = names.iter().find(|name| !is_name(name));
    bad.map_or(Ok(()), |name| Err(PkiError::Name(name.clone())))
}

/// A server's certificate for these names, or for what a word makes of them.
pub(super) fn server(names: &[String], word: Option<Word>) -> Result<CertificateParams, PkiError> {
    check_names(names)?;
    let first = names.first().map_or("localhost", String::as_str);
    let (common_name, names) = match word {
        Some(Word::HostnameMismatch) => (Some(OTHER_HOST.to_owned()), vec![OTHER_HOST.to_owned()]),
        Some(Word::NoCn) => (None, names.to_vec()),
        Some(Word::CnOnly) => (Some(first.to_owned()), Vec::new()),
        Some(Word::Wildcard) => (Some(wildcard(first)), vec![wildcard(first)]),
        _ => (Some(first.to_owned()), names.to_vec()),
    };
    let mut params = leaf(names, common_name.as_deref())?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

/// A client's certificate: its name is no host's.
pub(super) fn client(name: &str) -> Result<CertificateParams, PkiError> {
    let mut params = leaf(Vec::new(), Some(name))?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn leaf(names: Vec<String>, common_name: Option<&str>) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = subject("mock-brain", common_name);
    // Explicitly no CA, because rcgen leaves the subject key identifier out otherwise.
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// The name with `*` for its first label; of a domain without a subdomain, its subdomains.
fn wildcard(name: &str) -> String {
    match name.split_once('.') {
        Some((_, domain)) if domain.contains('.') && name.parse::<std::net::IpAddr>().is_err() => {
            format!("*.{domain}")
        }
        _ => format!("*.{name}"),
    }
}

/// Whether a certificate can bear it: an address, or labels of letters, digits and hyphens, of which the
/// first one may be `*`.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (1..=63).contains(&label.len()) && label.chars().all(plain)
    };
    let labels = name.strip_prefix("*.").unwrap_or(name);
    let is_host = name.len() <= 253 && labels.split('.').all(label);
    is_host || name.parse::<std::net::IpAddr>().is_ok()
}
