//! The certificate authority of one brain: root, intermediate, and the server's own certificate.
//!
//! Owns the keys and their stored form, and when the server certificate is due. `Debug` shows no key.

use std::fmt;

use rcgen::{Issuer, KeyPair};
use serde::{Deserialize, Serialize};
use z4j_protocol::Timestamp;

use super::params::{self, Validity};
use super::{PkiError, word::Word};
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
        let root = root(&id, now)?;
        let issuer = Issuer::new(params::root(&id), root.key()?);
        let intermediate = intermediate(&id, &issuer, now)?;
        let names = all_names(wanted);
        let issuer = Issuer::new(params::intermediate(&id), intermediate.key()?);
        let (server, expires_at) = server(&issuer, &names, now)?;
        Ok(Self { id, root, intermediate, server, names, expires_at })
    }

    /// Issues the server certificate anew if its names are others or its end is near. Tells whether it did.
    pub(crate) fn renew(&mut self, wanted: &[String], now: Timestamp) -> Result<bool, PkiError> {
        let names = all_names(wanted);
        if names == self.names && self.expires_at - now.unix_seconds() > RENEW_BEFORE {
            return Ok(false);
        }
        self.names = names;
        self.rotate(now)?;
        Ok(true)
    }

    /// Issues the server certificate anew, with a new key.
    pub(crate) fn rotate(&mut self, now: Timestamp) -> Result<(), PkiError> {
        (self.server, self.expires_at) = server(&self.issuer()?, &self.names, now)?;
        Ok(())
    }

    /// The intermediate as an issuer: its subject and key identifier follow from the id and the key.
    pub(super) fn issuer(&self) -> Result<Issuer<'static, KeyPair>, PkiError> {
        Ok(Issuer::new(params::intermediate(&self.id), self.intermediate.key()?))
    }
}

fn root(id: &str, now: Timestamp) -> Result<KeyedCertificate, PkiError> {
    let key = params::new_key(None)?;
    let mut params = params::root(id);
    Validity::of_ca(now).set(&mut params);
    Ok(KeyedCertificate { pem: params.self_signed(&key)?.pem(), key_pem: key.serialize_pem() })
}

fn intermediate(
    id: &str,
    issuer: &Issuer<'_, KeyPair>,
    now: Timestamp,
) -> Result<KeyedCertificate, PkiError> {
    let key = params::new_key(None)?;
    let mut params = params::intermediate(id);
    Validity::of_ca(now).set(&mut params);
    Ok(KeyedCertificate { pem: params.signed_by(&key, issuer)?.pem(), key_pem: key.serialize_pem() })
}

/// A server certificate, and when it ends.
fn server(
    issuer: &Issuer<'_, KeyPair>,
    names: &[String],
    now: Timestamp,
) -> Result<(KeyedCertificate, i64), PkiError> {
    let key = params::new_key(None)?;
    let mut params = params::server(names, None::<Word>)?;
    Validity::of_server(None, now).set(&mut params);
    let pem = params.signed_by(&key, issuer)?.pem();
    Ok((KeyedCertificate { pem, key_pem: key.serialize_pem() }, params.not_after.unix_timestamp()))
}
