//! A running brain's certificates: look at them, rotate them, issue more.
//!
//! Owns no state: the hub's authority does all of it. Must not show a key of the brain's own.

use crate::brain::Brain;
use crate::pki::{Certificates, IssuedCertificate, Pki, PkiError, Profile};
use crate::state::StateError;

impl Brain {
    /// The CA certificate that agents are to trust; none without TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<String> {
        self.hub.pki.as_ref().map(Pki::ca_pem)
    }

    /// What the server shows; none without TLS.
    ///
    /// # Errors
    /// A certificate cannot be read.
    pub fn certificates(&self) -> Result<Option<Certificates>, PkiError> {
        self.hub.pki.as_ref().map(Pki::certificates).transpose()
    }

    /// Issues the server's certificate anew, with another profile if one is given. It is shown from the next
    /// handshake on; connections that are open go on.
    ///
    /// # Errors
    /// This brain runs without TLS, the certificate cannot be made, or the state cannot be written.
    pub fn rotate_certificate(&self, profile: Option<Profile>) -> Result<(), StateError> {
        self.hub.rotate_certificate(profile)
    }

    /// Makes a certificate for a server of these names, or for one client, with its key.
    ///
    /// # Errors
    /// This brain runs without TLS, or there can be no such certificate.
    pub fn issue_certificate(
        &self,
        names: &[String],
        client: bool,
        profile: Profile,
    ) -> Result<IssuedCertificate, PkiError> {
        self.hub.pki.as_ref().ok_or(PkiError::NoTls)?.issue(names, client, profile)
    }
}
