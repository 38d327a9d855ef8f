//! Certificates for the servers of these tests.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use crate::world::Outcome;

/// A root, an intermediate, and what they sign.
pub(crate) struct Pki {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

/// What a server's certificate is like.
#[derive(Clone, Copy)]
pub(crate) struct Leaf {
    pub(crate) name: &'static str,
    /// Days from now.
    pub(crate) from: i64,
    pub(crate) until: i64,
    pub(crate) chain: Chain,
}

/// What the server sends along.
#[derive(Clone, Copy)]
pub(crate) enum Chain {
    Full,
    Alone,
    SelfSigned,
    /// Signed by itself, and a certificate authority.
    Authority,
}

impl Leaf {
    pub(crate) const GOOD: Self = Self { name: "127.0.0.1", from: -1, until: 90, chain: Chain::Full };
}

#[expect(clippy::disallowed_methods, reason = "the dates of certificates are about the real clock")]
fn now() -> OffsetDateTime {
    OffsetDateTime::from(std::time::SystemTime::now())
}

fn params(name: &str, organization: &str, from: i64, until: i64) -> Outcome<CertificateParams> {
    let names = if organization.is_empty() { vec![name.to_owned()] } else { Vec::new() };
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    if !organization.is_empty() {
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params.not_before = now() + Duration::days(from);
    params.not_after = now() + Duration::days(until);
    Ok(params)
}

impl Pki {
    pub(crate) fn new(organization: &str) -> Outcome<Self> {
        let root =
            CertifiedIssuer::self_signed(params("root", organization, -1, 365)?, KeyPair::generate()?)?;
        let intermediate = CertifiedIssuer::signed_by(
            params("intermediate", organization, -1, 365)?,
            KeyPair::generate()?,
            &root,
        )?;
        Ok(Self { root, intermediate })
    }

    pub(crate) fn root_pem(&self) -> String {
        self.root.pem()
    }

    pub(crate) fn server(&self, leaf: Leaf) -> Outcome<Arc<ServerConfig>> {
        let key = KeyPair::generate()?;
        let mut params = params(leaf.name, "", leaf.from, leaf.until)?;
        if matches!(leaf.chain, Chain::Authority) {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let signed = match leaf.chain {
            Chain::SelfSigned | Chain::Authority => params.self_signed(&key)?,
            Chain::Full | Chain::Alone => params.signed_by(&key, &self.intermediate)?,
        };
        let mut chain: Vec<CertificateDer<'static>> = vec![signed.der().clone()];
        if matches!(leaf.chain, Chain::Full) {
            chain.push(self.intermediate.der().clone());
        }
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Arc::new(config))
    }
}
