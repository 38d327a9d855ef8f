//! Root certificates: where they come from.
//!
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the system's, `Z4J_CA_FILE` adds to them.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::certificate::Certificate;
use crate::config::CaSettings;

/// The root certificates of a configuration.
#[derive(Clone, Debug)]
pub(crate) struct Roots {
    /// For verification.
    pub(crate) store: Arc<RootCertStore>,
    /// Where they come from, for people.
    pub(crate) source: String,
    /// What could not be read.
    pub(crate) problems: Vec<String>,
    certificates: Vec<CertificateDer<'static>>,
}

/// Loads the root certificates.
pub(crate) fn load(settings: &CaSettings) -> Roots {
    let replaced = settings.cert_file.is_some() || settings.cert_dir.is_some();
    let mut loaded = if replaced {
        rustls_native_certs::load_certs_from_paths(
            settings.cert_file.as_deref(),
            settings.cert_dir.as_deref(),
        )
    } else {
        rustls_native_certs::load_native_certs()
    };
    if let Some(file) = &settings.extra_file {
        let extra = rustls_native_certs::load_certs_from_paths(Some(file), None);
        loaded.certs.extend(extra.certs);
        loaded.errors.extend(extra.errors);
    }
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(loaded.certs.iter().cloned());
    Roots {
        store: Arc::new(store),
        source: source(settings),
        problems: loaded.errors.iter().map(ToString::to_string).collect(),
        certificates: loaded.certs,
    }
}

impl Roots {
    /// Whether a root could stand above an unknown issuer: it has the same organisation. Then an intermediate
    /// is missing, rather than the root unknown.
    pub(crate) fn has_kin_of(&self, certificate: &Certificate) -> bool {
        let Some(organization) = &certificate.issuer_organization else { return false };
        let mut roots = self.certificates.iter().filter_map(|der| Certificate::parse(der));
        roots.any(|root| root.subject_organization.as_ref() == Some(organization))
    }
}

fn source(settings: &CaSettings) -> String {
    let named = |name: &str, path: &Path| format!("{name}={}", path.display());
    let mut parts: Vec<String> = Vec::new();
    parts.extend(settings.cert_file.as_deref().map(|path| named("SSL_CERT_FILE", path)));
    parts.extend(settings.cert_dir.as_deref().map(|path| named("SSL_CERT_DIR", path)));
    if parts.is_empty() {
        parts.push("the system's store".to_owned());
    }
    parts.extend(settings.extra_file.as_deref().map(|path| named("Z4J_CA_FILE", path)));
    crate::words::join_words(&parts)
}
