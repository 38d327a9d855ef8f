//! The chain of certificates that a profile makes a server show.
//!
//! Owns who signs and what is sent beside it. Must not know TLS.

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use z4j_protocol::Timestamp;

use super::authority::{Authority, KeyedCertificate};
use super::params::{self, Validity};
use super::profile::Profile;
use super::word::{Respect, Word};
use super::{IssuedCertificate, PkiError};

/// How often a stranger's certificate is sent in a chain that is too long: over 100 KiB, which is OpenSSL's
/// bound (SSL_CTX_set_max_cert_list(3)), and over rustls' 64 KiB.
const HUGE: usize = 300;

/// What a server shows, with its key as DER.
pub(super) struct Chain {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) key: Vec<u8>,
}

pub(super) fn certificate(pem: &str) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| PkiError::Key)
}

/// The chain for the server's own names.
pub(super) fn of_server(authority: &Authority, profile: Profile, now: Timestamp) -> Result<Chain, PkiError> {
    let chain = profile.word(Respect::Chain);
    let as_stored =
        [Respect::Dates, Respect::Names, Respect::Key].iter().all(|it| profile.word(*it).is_none())
            && !matches!(chain, Some(Word::SelfSigned | Word::UntrustedCa | Word::Intercepted));
    if as_stored {
        let leaf = certificate(&authority.server.pem)?;
        return complete(authority, chain, leaf, &authority.server.key()?, now);
    }
    let key = match profile.word(Respect::Key) {
        None => authority.server.key()?,
        word => params::new_key(word)?,
    };
    let mut params = params::server(&authority.names, profile.word(Respect::Names))?;
    Validity::of_server(profile.word(Respect::Dates), now).set(&mut params);
    signed(authority, chain, &params, &key, now)
}

/// A certificate for others: a server's for these names, or a client's for one.
pub(super) fn issue(
    authority: &Authority,
    names: &[String],
    client: bool,
    profile: Profile,
    now: Timestamp,
) -> Result<IssuedCertificate, PkiError> {
    check_effect(client, profile)?;
    let key = params::new_key(profile.word(Respect::Key))?;
    let mut params = match names {
        [name] if client => params::client(name)?,
        _ if client => return Err(PkiError::ClientNames),
        _ => params::server(names, profile.word(Respect::Names))?,
    };
    Validity::of_server(profile.word(Respect::Dates), now).set(&mut params);
    let chain = signed(authority, profile.word(Respect::Chain), &params, &key, now)?;
    let pem = |der: &CertificateDer<'_>| pem_text(der);
    let own = match profile.word(Respect::Chain) {
        Some(Word::WrongOrder) => chain.certificates.last(),
        _ => chain.certificates.first(),
    };
    Ok(IssuedCertificate {
        certificate: own.map(pem).unwrap_or_default(),
        chain: chain.certificates.iter().map(pem).collect(),
        key: key.serialize_pem(),
        ca: authority.root.pem.clone(),
    })
}

/// Whether each word of a profile changes something in a certificate for others.
fn check_effect(client: bool, profile: Profile) -> Result<(), PkiError> {
    for word in profile.words() {
        match word.respect() {
            Respect::Versions | Respect::Protocol | Respect::Client => {
                return Err(PkiError::OfHandshake(word));
            }
            Respect::Names if client => return Err(PkiError::OfServer(word)),
            Respect::Dates | Respect::Names | Respect::Chain | Respect::Key => {}
        }
    }
    Ok(())
}

/// RFC 7468: base64 in lines of 64 characters.
pub(super) fn pem_text(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for start in (0..text.len()).step_by(64) {
        out.push_str(text.get(start..text.len().min(start + 64)).unwrap_or_default());
        out.push('\n');
    }
    out + "-----END CERTIFICATE-----\n"
}

/// Signs a certificate as the word for the chain says, and completes the chain.
fn signed(
    authority: &Authority,
    word: Option<Word>,
    params: &CertificateParams,
    key: &KeyPair,
    now: Timestamp,
) -> Result<Chain, PkiError> {
    let alone = |certificates| Ok(Chain { certificates, key: key.serialize_der() });
    match word {
        Some(Word::SelfSigned) => alone(vec![params.self_signed(key)?.der().clone()]),
        Some(Word::UntrustedCa) => {
            let stranger = Authority::create(&authority.names, now)?;
            let leaf = params.signed_by(key, &stranger.issuer()?)?.der().clone();
            alone(vec![leaf, certificate(&stranger.intermediate.pem)?])
        }
        Some(Word::Intercepted) => {
            let mut ca = params::interceptor();
            Validity::of_ca(now).set(&mut ca);
            let ca_key = params::new_key(None)?;
            let ca_der = ca.self_signed(&ca_key)?.der().clone();
            let leaf = params.signed_by(key, &Issuer::new(ca, ca_key))?.der().clone();
            alone(vec![leaf, ca_der])
        }
        other => {
            let leaf = params.signed_by(key, &authority.issuer()?)?.der().clone();
            complete(authority, other, leaf, key, now)
        }
    }
}

/// Adds what is sent beside a certificate that the intermediate signed.
fn complete(
    authority: &Authority,
    word: Option<Word>,
    leaf: CertificateDer<'static>,
    key: &KeyPair,
    now: Timestamp,
) -> Result<Chain, PkiError> {
    let intermediate = certificate(&authority.intermediate.pem)?;
    let certificates = match word {
        Some(Word::MissingIntermediate) => vec![leaf],
        Some(Word::WrongOrder) => vec![intermediate, leaf],
        Some(Word::ExtraCertificate) => vec![leaf, intermediate, stranger(now)?],
        Some(Word::HugeChain) => {
            let mut chain = vec![leaf, intermediate];
            chain.resize(HUGE, stranger(now)?);
            chain
        }
        Some(Word::CrossSignedExpired) => {
            vec![leaf, intermediate, cross_signed(&authority.id, &authority.root, now)?]
        }
        _ => vec![leaf, intermediate],
    };
    Ok(Chain { certificates, key: key.serialize_der() })
}

/// A certificate that has nothing to do with the server's.
fn stranger(now: Timestamp) -> Result<CertificateDer<'static>, PkiError> {
    let mut params = params::interceptor();
    Validity::of_ca(now).set(&mut params);
    Ok(params.self_signed(&params::new_key(None)?)?.der().clone())
}

/// The root as an older one signed it; that signature ended a day ago.
fn cross_signed(
    id: &str,
    root: &KeyedCertificate,
    now: Timestamp,
) -> Result<CertificateDer<'static>, PkiError> {
    let mut params = params::root(id);
    Validity::of_old_ca(now).set(&mut params);
    let old = Issuer::new(params::old_root(), params::new_key(None)?);
    Ok(params.signed_by(&root.key()?, &old)?.der().clone())
}
