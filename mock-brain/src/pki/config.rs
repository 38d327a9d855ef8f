//! TLS as a profile wants it spoken.
//!
//! Owns the rustls configuration. Nothing of a session is kept for resumption: a resumed session shows no
//! certificate, and a fault set meanwhile would not be seen.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

use super::PkiError;
use super::chain::Chain;
use super::profile::Profile;
use super::word::{Respect, Word};

/// What HTTP/2 is called in ALPN (RFC 9113, 3.1).
const H2: &[u8] = b"h2";

/// The one crypto provider of this crate.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

pub(super) fn server(
    chain: Chain,
    profile: Profile,
    root: CertificateDer<'static>,
) -> Result<ServerConfig, PkiError> {
    let provider = provider();
    let key = PrivateKeyDer::try_from(chain.key).map_err(|_| PkiError::Key)?;
    let key = provider.key_provider.load_private_key(key)?;
    let versions = match profile.word(Respect::Versions) {
        Some(Word::Tls12) => vec![&TLS12],
        Some(Word::Tls13) => vec![&TLS13],
        _ => vec![&TLS12, &TLS13],
    };
    let clients = clients(profile, root, &provider)?;
    // Not the builder's own way to give a certificate: it would refuse a chain in the wrong order.
    let shown = SingleCertAndKey::from(CertifiedKey::new(chain.certificates, key));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(shown));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    if profile.has(Word::H2Only) {
        config.alpn_protocols = vec![H2.to_vec()];
    }
    Ok(config)
}

fn clients(
    profile: Profile,
    root: CertificateDer<'static>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, PkiError> {
    if !profile.has(Word::ClientCertRequired) {
        return Ok(Arc::new(NoClientAuth));
    }
    let mut roots = RootCertStore::empty();
    roots.add(root)?;
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| PkiError::Tls(rustls::Error::General(error.to_string())))
}
