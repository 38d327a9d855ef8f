//! The certificate authority of one brain: root, intermediate, and the server's own certificate.
//!
//! Owns the keys and their stored form, and when the server certificate is due. `Debug` shows no key.

use std::fmt;

use rcgen::{CertificateParams, Issuer, KeyPair};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use z4j_protocol::Timestamp;

use super::PkiError;
use super::issue;
use crate::random;

/// Names that every server certificate bears.
const ALWAYS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// A server certificate with less than this left is issued anew, in seconds.
const RENEW_BEFORE: i64 = 30 * 86_400;

/// A certificate with its key, as PEM.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct KeyedCertificate {
    pub(crate) pem: String,
    pub(crate) key_pem: String,
}

impl KeyedCertificate {
    pub(crate) fn key(&self) -> Result<KeyPair, PkiError> {
        KeyPair::from_pem(&self.key_pem).map_err(|_| PkiError::Key)
    }
}

/// The authority as it is stored.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Authority {
    /// Tells the subjects of two authorities apart.
    pub(crate) id: String,
    pub(crate) root: KeyedCertificate,
    pub(crate) intermediate: KeyedCertificate,
    pub(crate) server: KeyedCertificate,
    /// The server certificate's names, the first one is its CN.
    pub(crate) names: Vec<String>,
    /// End of the server certificate's validity, seconds since the epoch.
    pub(crate) expires_at: i64,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("id", &self.id).field("names", &self.names).finish_non_exhaustive()
    }
}

/// The names of a server certificate: the wanted ones, then those that are always there.
fn all_names(wanted: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in wanted.iter().map(String::as_str).chain(ALWAYS) {
        let name = name.to_ascii_lowercase();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

impl Authority {
    /// Makes a new authority with a server certificate.
    pub(crate) fn create(wanted: &[String], now: Timestamp) -> Result<Self, PkiError> {
        let id = random::hex::<4>();
        let root = issue::root(&id, now)?;
        let intermediate = issue::intermediate(&id, &root.key()?, now)?;
        let names = all_names(wanted);
        let (server, expires_at) = issue::server(&id, &intermediate.key()?, &names, now)?;
        Ok(Self { id, root, intermediate, server, names, expires_at })
    }

    /// Issues the server certificate anew if its names are others or its end is near. Tells whether it did.
    pub(crate) fn renew(&mut self, wanted: &[String], now: Timestamp) -> Result<bool, PkiError> {
        let names = all_names(wanted);
        if names == self.names && self.expires_at - now.unix_seconds() > RENEW_BEFORE {
            return Ok(false);
        }
        let (server, expires_at) = issue::server(&self.id, &self.intermediate.key()?, &names, now)?;
        (self.server, self.names, self.expires_at) = (server, names, expires_at);
        Ok(true)
    }

    /// The intermediate as an issuer: its subject and key identifier follow from the id and the key.
    pub(super) fn issuer(&self) -> Result<Issuer<'static, KeyPair>, PkiError> {
        Ok(Issuer::new(issue::intermediate_params(&self.id), self.intermediate.key()?))
    }
}

/// A point in time for rcgen, some days from now.
pub(super) fn days_from(now: Timestamp, days: i64) -> OffsetDateTime {
    let seconds = now.unix_seconds().saturating_add(days * 86_400);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Sets the validity, which rcgen would otherwise set to 1975..4096.
pub(super) fn set_validity(params: &mut CertificateParams, now: Timestamp, from: i64, to: i64) {
    params.not_before = days_from(now, from);
    params.not_after = days_from(now, to);
}
