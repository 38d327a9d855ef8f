//! Where the brain is, and the way to it: TCP, and TLS where its address says https.
//!
//! Owns the rule that tokens go over plain connections to this machine only.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

/// Largest file of certificates.
const MAX_CA_BYTES: u64 = 4 << 20;

/// A connection's bytes, plain or TLS.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("{0:?} is no address of a brain, such as https://brain.example.com/")]
    Url(String),
    #[error("{0} is plain http, and others could read the tokens; use https, or say --plaintext")]
    Plain(String),
    #[error("certificates {path:?}: {reason}; --ca takes a PEM file")]
    Ca { path: String, reason: String },
}

/// A brain's address.
#[derive(Clone)]
pub(crate) struct Target {
    url: Url,
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Target {
    /// Reads an address. `ca` replaces the system's certificates; `plaintext` allows http to other machines.
    pub(crate) fn new(text: &str, ca: Option<&Path>, plaintext: bool) -> Result<Self, TargetError> {
        let bad = || TargetError::Url(text.to_owned());
        let url = Url::parse(text).map_err(|_| bad())?;
        let host = url.host().ok_or_else(bad)?;
        let tls = match url.scheme() {
            "https" | "wss" => true,
            "http" | "ws" => false,
            _ => return Err(bad()),
        };
        if !tls && !plaintext && !is_loopback(&host) {
            return Err(TargetError::Plain(format!("{}://{host}", url.scheme())));
        }
        let (name, dial) = match &host {
            Host::Domain(name) => ((*name).to_owned(), (*name).to_owned()),
            Host::Ipv4(ip) => (ip.to_string(), ip.to_string()),
            Host::Ipv6(ip) => (ip.to_string(), ip.to_string()),
        };
        let tls =
            if tls { Some((connector(ca)?, ServerName::try_from(name).map_err(|_| bad())?)) } else { None };
        let port = url.port_or_known_default().unwrap_or(if tls.is_some() { 443 } else { 80 });
        Ok(Self { host: dial, port, tls, url })
    }

    /// The address without user name, password and query.
    pub(crate) fn shown(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.url.path())
    }

    /// Host and port, as a Host header has them.
    pub(crate) fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        format!("{host}:{}", self.port)
    }

    /// A path of the brain.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.url.path().trim_end_matches('/'))
    }

    /// The gateway's address.
    pub(crate) fn gateway(&self) -> String {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.authority(), self.path("/ws/agent"))
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> io::Result<Box<dyn Bytes>> {
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await?;
        socket.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Box::new(socket)),
            Some((connector, name)) => Ok(Box::new(connector.connect(name.clone(), socket).await?)),
        }
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => IpAddr::V6(*ip).to_canonical().is_loopback(),
    }
}

fn connector(ca: Option<&Path>) -> Result<TlsConnector, TargetError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let told = |reason: String| TargetError::Ca { path: path.display().to_string(), reason };
            let size = fs::metadata(path).map_err(|error| told(error.to_string()))?.len();
            if size > MAX_CA_BYTES {
                return Err(told(format!("larger than {MAX_CA_BYTES} bytes")));
            }
            let bytes = fs::read(path).map_err(|error| told(error.to_string()))?;
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bytes).flatten());
            if roots.is_empty() {
                return Err(told("no certificate in it".to_owned()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TargetError::Ca { path: String::new(), reason: error.to_string() })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let target = Target::new("http://127.0.0.1:7700/base/", None, false).unwrap();
        assert_eq!(target.gateway(), "ws://127.0.0.1:7700/base/ws/agent");
        assert_eq!(target.shown(), "http://127.0.0.1:7700/base/");
        assert_eq!(Target::new("http://[::1]:1", None, false).unwrap().authority(), "[::1]:1");
        assert!(matches!(Target::new("http://192.0.2.1/", None, false), Err(TargetError::Plain(_))));
        assert!(Target::new("http://192.0.2.1/", None, true).is_ok());
        for bad in ["", "brain", "ftp://x/", "127.0.0.1:7700"] {
            assert!(matches!(Target::new(bad, None, false), Err(TargetError::Url(_))), "{bad}");
        }
    }
}
