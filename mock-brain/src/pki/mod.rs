//! Certificates: what the server shows, by its profile and by faults.
//!
//! Owns the TLS configurations, one for each way to be shown, and when they are made anew. Must not touch
//! files (`state` keeps the authority) or sockets.

pub(crate) mod authority;
mod chain;
mod config;
mod facts;
mod params;
pub(crate) mod profile;
pub(crate) mod word;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock;
use crate::lock::lock;
use authority::Authority;
pub use facts::CertificateFacts;
pub use profile::{Profile, ProfileError};
pub use word::{WORDS, Word};

/// Most ways to be shown that are kept; others are made anew when they are wanted.
const MAX_SHOWN: usize = 64;

/// Why certificates cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A name is no DNS name.
    #[error("certificates cannot name {0:?}: it is neither a DNS name nor an IP address")]
    Name(String),
    /// A client's certificate for more than one.
    #[error("a client's certificate is for one name; issue one for each")]
    ClientNames,
    /// A word of a profile that no certificate can show.
    #[error("{0} is about a server's handshake and changes nothing in a certificate: leave it out")]
    OfHandshake(Word),
    /// A word of a profile that no client's certificate can show.
    #[error("{0} is about a server's names and changes nothing in a client's certificate: leave it out")]
    OfServer(Word),
    /// There are none.
    #[error("this brain runs without TLS (--no-tls), and has no certificates")]
    NoTls,
    /// A stored key or certificate cannot be read.
    #[error("a stored key or certificate cannot be read")]
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
    params::check_names(names)
}

/// A certificate that was made for others, as PEM.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct IssuedCertificate {
    /// The certificate.
    pub certificate: String,
    /// It with what is to be sent beside it, its own first unless the profile has it otherwise.
    pub chain: String,
    /// Its private key.
    pub key: String,
    /// The CA that those are to trust who meet it.
    pub ca: String,
}

impl std::fmt::Debug for IssuedCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedCertificate").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// What a server shows now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Certificates {
    /// The profile.
    #[schema(value_type = String)]
    pub profile: Profile,
    /// What is sent in a handshake, in that order.
    pub chain: Vec<CertificateFacts>,
    /// The CA certificate, which is not sent.
    pub root: CertificateFacts,
}

/// One way to be shown.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) config: Arc<ServerConfig>,
    /// The profile that this is, faults included.
    pub(crate) profile: Profile,
    chain: Vec<CertificateDer<'static>>,
}

impl Shown {
    fn new(authority: &Authority, profile: Profile) -> Result<Self, PkiError> {
        let made = chain::of_server(authority, profile, clock::now())?;
        let chain = made.certificates.clone();
        let root = chain::certificate(&authority.root.pem)?;
        Ok(Self { config: Arc::new(config::server(made, profile, root)?), profile, chain })
    }
}

struct Inner {
    authority: Authority,
    profile: Profile,
    shown: HashMap<Profile, Shown>,
}

/// The certificates of one brain.
pub(crate) struct Pki(Mutex<Inner>);

impl Pki {
    /// What the profile shows is made at once: what cannot be made is told at the start.
    pub(crate) fn new(authority: Authority, profile: Profile) -> Result<Self, PkiError> {
        let shown = HashMap::from([(profile, Shown::new(&authority, profile)?)]);
        Ok(Self(Mutex::new(Inner { authority, profile, shown })))
    }

    /// The CA certificate that clients are to trust.
    pub(crate) fn ca_pem(&self) -> String {
        lock(&self.0).authority.root.pem.clone()
    }

    /// How the server shows itself: by its profile, or with a fault in that. Made at first use.
    pub(crate) fn shown(&self, fault: Option<Word>) -> Result<Shown, PkiError> {
        let mut inner = lock(&self.0);
        let profile = fault.map_or(inner.profile, |word| inner.profile.with(word));
        if let Some(shown) = inner.shown.get(&profile) {
            return Ok(shown.clone());
        }
        let shown = Shown::new(&inner.authority, profile)?;
        if inner.shown.len() == MAX_SHOWN {
            inner.shown.clear();
        }
        inner.shown.insert(profile, shown.clone());
        Ok(shown)
    }

    /// What is shown without faults.
    pub(crate) fn certificates(&self) -> Result<Certificates, PkiError> {
        let shown = self.shown(None)?;
        let chain = shown.chain.iter().map(|der| CertificateFacts::read(der)).collect::<Result<_, _>>()?;
        let root = chain::certificate(&lock(&self.0).authority.root.pem)?;
        Ok(Certificates { profile: shown.profile, chain, root: CertificateFacts::read(&root)? })
    }

    /// Issues the server's certificate anew, with another profile if one is given. `keep` stores the authority;
    /// if it cannot, nothing changes. Connections that are open go on.
    pub(crate) fn rotate<E: From<PkiError>>(
        &self,
        profile: Option<Profile>,
        keep: impl FnOnce(&Authority) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut inner = lock(&self.0);
        let mut authority = inner.authority.clone();
        authority.rotate(clock::now())?;
        let profile = profile.unwrap_or(inner.profile);
        let shown = HashMap::from([(profile, Shown::new(&authority, profile)?)]);
        keep(&authority)?;
        *inner = Inner { authority, profile, shown };
        Ok(())
    }

    /// Makes a certificate for others.
    pub(crate) fn issue(
        &self,
        names: &[String],
        client: bool,
        profile: Profile,
    ) -> Result<IssuedCertificate, PkiError> {
        chain::issue(&lock(&self.0).authority, names, client, profile, clock::now())
    }
}
