//! What a certificate says: names, dates, issuer. Owns reading one; must not judge it.

use x509_parser::prelude::*;

/// Most names of a certificate that are kept.
const MAX_NAMES: usize = 100;

/// The facts of one certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Its subject, as one line.
    pub(crate) subject: String,
    /// The subject's common name.
    pub(crate) common_name: Option<String>,
    /// The subject's organisation.
    pub(crate) subject_organization: Option<String>,
    /// Its issuer, as one line.
    pub(crate) issuer: String,
    /// The issuer's organisation.
    pub(crate) issuer_organization: Option<String>,
    /// DNS names and addresses that it is for.
    pub(crate) names: Vec<String>,
    /// Seconds since the epoch.
    pub(crate) not_before: i64,
    /// Seconds since the epoch.
    pub(crate) not_after: i64,
    /// Whether it is an authority's.
    pub(crate) is_ca: bool,
    /// Where the issuer's certificate can be fetched (RFC 5280, 4.2.2.1).
    pub(crate) issuer_url: Option<String>,
}

impl Certificate {
    /// Reads DER; `None` if it is no certificate.
    pub(crate) fn parse(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let (subject, issuer) = (certificate.subject(), certificate.issuer());
        let text = |attribute: Option<&AttributeTypeAndValue<'_>>| {
            attribute.and_then(|attribute| attribute.as_str().ok()).map(str::to_owned)
        };
        Some(Self {
            subject: subject.to_string(),
            common_name: text(subject.iter_common_name().next()),
            subject_organization: text(subject.iter_organization().next()),
            issuer: issuer.to_string(),
            issuer_organization: text(issuer.iter_organization().next()),
            names: names(&certificate),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            is_ca: certificate.is_ca(),
            issuer_url: issuer_url(&certificate),
        })
    }

    /// Whether it names itself as its issuer.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    names.take(MAX_NAMES).collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string())
}

fn issuer_url(certificate: &X509Certificate<'_>) -> Option<String> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => access.accessdescs.iter().find_map(|description| {
            let is_issuer = description.access_method == oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS;
            match &description.access_location {
                GeneralName::URI(url) if is_issuer => Some((*url).to_owned()),
                _ => None,
            }
        }),
        _ => None,
    })
}
