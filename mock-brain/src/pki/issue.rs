//! Issuing: the fields of each certificate, and the chains with a fault in them.
//!
//! Owns what stands in a certificate. ECDSA P-256 throughout; key usage, SKI and AKI are set because strict
//! verifiers look for them (RFC 5280, 4.2.1).

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use z4j_protocol::Timestamp;

use super::PkiError;
use super::authority::{Authority, KeyedCertificate, set_validity};
use crate::clock;
use crate::fault::Tls;

/// Certificates begin a day ago: clocks differ.
const BEGIN: i64 = -1;
/// Days of a CA certificate.
const CA_DAYS: i64 = 3_650;
/// Days of a server certificate.
const SERVER_DAYS: i64 = 90;
/// What a certificate for the wrong host names (RFC 2606 reserves the domain).
const OTHER_HOST: &str = "other-host.invalid";

/// What a server shows, with its key as DER.
pub(super) struct Chain {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) key: Vec<u8>,
}

fn new_key() -> Result<KeyPair, PkiError> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

fn subject(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "mock-brain");
    name.push(DnType::CommonName, common_name);
    name
}

fn ca_params(common_name: &str, depth: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(depth));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

fn root_params(id: &str) -> CertificateParams {
    ca_params(&format!("mock-brain CA {id}"), 1)
}

pub(super) fn intermediate_params(id: &str) -> CertificateParams {
    ca_params(&format!("mock-brain intermediate {id}"), 0)
}

pub(super) fn root(id: &str, now: Timestamp) -> Result<KeyedCertificate, PkiError> {
    let key = new_key()?;
    let mut params = root_params(id);
    set_validity(&mut params, now, BEGIN, CA_DAYS);
    Ok(KeyedCertificate { pem: params.self_signed(&key)?.pem(), key_pem: key.serialize_pem() })
}

pub(super) fn intermediate(
    id: &str,
    root_key: &KeyPair,
    now: Timestamp,
) -> Result<KeyedCertificate, PkiError> {
    let key = new_key()?;
    let mut params = intermediate_params(id);
    set_validity(&mut params, now, BEGIN, CA_DAYS);
    let issuer = Issuer::new(root_params(id), root_key);
    Ok(KeyedCertificate { pem: params.signed_by(&key, &issuer)?.pem(), key_pem: key.serialize_pem() })
}

/// A server certificate, and when it ends.
pub(super) fn server(
    id: &str,
    intermediate_key: &KeyPair,
    names: &[String],
    now: Timestamp,
) -> Result<(KeyedCertificate, i64), PkiError> {
    let key = new_key()?;
    let mut params = server_params(names)?;
    set_validity(&mut params, now, BEGIN, SERVER_DAYS);
    let issuer = Issuer::new(intermediate_params(id), intermediate_key);
    let pem = params.signed_by(&key, &issuer)?.pem();
    Ok((KeyedCertificate { pem, key_pem: key.serialize_pem() }, params.not_after.unix_timestamp()))
}

/// Whether a certificate can bear these names.
pub(super) fn check_names(names: &[String]) -> Result<(), PkiError> {
    let bad = names.iter().find(|name| !is_name(name));
    bad.map_or(Ok(()), |name| Err(PkiError::Name(name.clone())))
}

fn server_params(names: &[String]) -> Result<CertificateParams, PkiError> {
    check_names(names)?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = subject(names.first().map_or("localhost", String::as_str));
    // Explicitly no CA, because rcgen leaves the subject key identifier out otherwise.
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
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

/// What the server shows: its chain, or one with a fault.
pub(super) fn chain(authority: &Authority, fault: Option<Tls>) -> Result<Chain, PkiError> {
    let now = clock::now();
    let begin_end = |from, to| {
        let mut params = server_params(&authority.names)?;
        set_validity(&mut params, now, from, to);
        Ok::<_, PkiError>(params)
    };
    match fault {
        None => sound(authority, true),
        Some(Tls::MissingIntermediate) => sound(authority, false),
        Some(Tls::Expired) => reissued(authority, &begin_end(-SERVER_DAYS, -1)?),
        Some(Tls::NotYetValid) => reissued(authority, &begin_end(1, SERVER_DAYS)?),
        Some(Tls::HostnameMismatch) => {
            let mut params = server_params(&[OTHER_HOST.to_owned()])?;
            set_validity(&mut params, now, BEGIN, SERVER_DAYS);
            reissued(authority, &params)
        }
        Some(Tls::SelfSigned) => {
            let key = authority.server.key()?;
            let certificate = begin_end(BEGIN, SERVER_DAYS)?.self_signed(&key)?;
            Ok(Chain { certificates: vec![certificate.der().clone()], key: key.serialize_der() })
        }
        Some(Tls::UntrustedCa) => sound(&Authority::create(&authority.names, now)?, true),
    }
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| PkiError::Key)
}

/// The server certificate as it is, with or without the intermediate after it.
fn sound(authority: &Authority, with_intermediate: bool) -> Result<Chain, PkiError> {
    let mut certificates = vec![certificate(&authority.server.pem)?];
    if with_intermediate {
        certificates.push(certificate(&authority.intermediate.pem)?);
    }
    Ok(Chain { certificates, key: authority.server.key()?.serialize_der() })
}

/// Another certificate for the server's key, signed by the intermediate.
fn reissued(authority: &Authority, params: &CertificateParams) -> Result<Chain, PkiError> {
    let key = authority.server.key()?;
    let server = params.signed_by(&key, &authority.issuer()?)?.der().clone();
    let certificates = vec![server, certificate(&authority.intermediate.pem)?];
    Ok(Chain { certificates, key: key.serialize_der() })
}
