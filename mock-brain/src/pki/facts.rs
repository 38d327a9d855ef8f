//! What a certificate says, for people and programs that look at it.
//!
//! Owns reading one. Must not judge it.

use ::time::format_description::BorrowedFormatItem;
use ::time::macros::format_description;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use x509_parser::prelude::*;
use x509_parser::public_key::PublicKey;

use super::PkiError;
use super::chain::pem_text;

/// The facts of one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificateFacts {
    /// `server`, `intermediate` or `root`.
    pub role: String,
    /// As one line.
    pub subject: String,
    /// As one line.
    pub issuer: String,
    /// Hexadecimal bytes with colons.
    pub serial: String,
    /// DNS names and addresses that it is for.
    pub names: Vec<String>,
    /// Seconds since the epoch.
    pub not_before: i64,
    /// Seconds since the epoch.
    pub not_after: i64,
    /// As `openssl x509 -text` writes them.
    #[schema(value_type = Vec<String>)]
    pub valid: [String; 2],
    /// As openssl names it.
    pub key: String,
    /// The algorithm of its signature, as openssl names it.
    pub signature: String,
    /// The certificate itself.
    pub pem: String,
}

impl CertificateFacts {
    pub(super) fn read(der: &[u8]) -> Result<Self, PkiError> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| PkiError::Key)?;
        let role = match (parsed.is_ca(), parsed.subject() == parsed.issuer()) {
            (false, _) => "server",
            (true, true) => "root",
            (true, false) => "intermediate",
        };
        let names = match parsed.subject_alternative_name() {
            Ok(Some(extension)) => extension.value.general_names.iter().filter_map(name).collect(),
            _ => Vec::new(),
        };
        let validity = parsed.validity();
        let date = |time: ASN1Time| {
            let text = time.to_datetime().format(DATE).unwrap_or_default();
            format!("{text} GMT")
        };
        Ok(Self {
            role: role.to_owned(),
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            serial: parsed.raw_serial_as_string(),
            names,
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            valid: [date(validity.not_before), date(validity.not_after)],
            key: key(&parsed),
            signature: signature(&parsed),
            pem: pem_text(der),
        })
    }
}

/// `Nov 26 09:05:00 2026`
const DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[month repr:short] [day padding:space] [hour]:[minute]:[second] [year]");

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match **bytes {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(a, b, c, d).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string()),
        },
        _ => None,
    }
}

fn key(certificate: &X509Certificate<'_>) -> String {
    let info = certificate.public_key();
    match info.parsed() {
        Ok(PublicKey::RSA(key)) => format!("rsaEncryption, {} (bit)", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("id-ecPublicKey, {} (bit)", point.key_size()),
        _ => info.algorithm.algorithm.to_id_string().replace("1.3.101.112", "ED25519, 256 (bit)"),
    }
}

fn signature(certificate: &X509Certificate<'_>) -> String {
    let oid = certificate.signature_algorithm.algorithm.to_id_string();
    match oid.as_str() {
        "1.2.840.10045.4.3.2" => "ecdsa-with-SHA256".to_owned(),
        "1.2.840.10045.4.3.3" => "ecdsa-with-SHA384".to_owned(),
        "1.2.840.113549.1.1.11" => "sha256WithRSAEncryption".to_owned(),
        "1.3.101.112" => "ED25519".to_owned(),
        _ => oid,
    }
}
