//! Certificates: what the server shows, whole or with a fault in it.
//!
//! Owns the TLS configurations, one for each way to be shown. Must not touch files (`state` keeps the
//! authority) or sockets.

pub(crate) mod authority;
mod issue;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::NoServerSessionStorage;

use crate::fault::Tls;
use crate::lock::lock;
use authority::Authority;
use issue::Chain;

/// Why certificates cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A name is no DNS name.
    #[error("certificates cannot name {0:?}: it is neither a DNS name nor an IP address")]
    Name(String),
    /// A stored key cannot be read.
    #[error("a stored key cannot be read")]
    Key,
    /// rcgen refused.
    #[error("a certificate cannot be made: {0}")]
    Issue(#[from] rcgen::Error),
    /// rustls refused.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Whether certificates can be made for these names.
pub(crate) fn check_names(names: &[String]) -> Result<(), PkiError> {
    issue::check_names(names)
}

/// The certificates of one brain.
pub(crate) struct Pki {
    authority: Authority,
    configs: Mutex<HashMap<Option<Tls>, Arc<ServerConfig>>>,
}

impl Pki {
    pub(crate) fn new(authority: Authority) -> Self {
        Self { authority, configs: Mutex::default() }
    }

    /// The CA certificate that clients are to trust.
    pub(crate) fn ca_pem(&self) -> &str {
        &self.authority.root.pem
    }

    /// How the server shows itself: whole, or with a fault. Made at first use.
    pub(crate) fn server_config(&self, fault: Option<Tls>) -> Result<Arc<ServerConfig>, PkiError> {
        let mut configs = lock(&self.configs);
        if let Some(config) = configs.get(&fault) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(server_config(issue::chain(&self.authority, fault)?)?);
        configs.insert(fault, Arc::clone(&config));
        Ok(config)
    }
}

/// The one crypto provider of this crate.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Nothing of a session is kept for resumption: a resumed session shows no certificate, and a fault set
/// meanwhile would not be seen.
fn server_config(chain: Chain) -> Result<ServerConfig, PkiError> {
    let key = PrivateKeyDer::try_from(chain.key).map_err(|_| PkiError::Key)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain.certificates, key)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
