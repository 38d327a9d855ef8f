//! TLS: the handshake, and what the peer presented when it failed.
//!
//! rustls decides; a verifier around its own keeps the presented chain, since rustls cannot tell one unknown
//! issuer from another. Nothing is accepted that rustls refuses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::budget::Budget;
use super::certificate::Certificate;
use super::roots::Roots;
use super::tap::{Received, Tap};
use super::{Break, rustls_error};
use crate::clock::Clock;
use crate::words::plain_words;

/// Most certificates of a chain that are kept.
const MAX_CHAIN: usize = 16;

/// What a handshake arrived at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// `TLSv1.3`
    pub(crate) version: String,
    /// The chain as the peer sent it, its own certificate first.
    pub(crate) chain: Vec<Certificate>,
    /// It asked for a certificate of ours, and was told that there is none.
    pub(crate) asks_client: bool,
}

/// Why there is no session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Failure {
    /// This machine has no root certificates.
    NoRoots,
    /// The peer's certificate is not acceptable.
    Certificate(CertificateError),
    /// No version or algorithm in common; what was said.
    Incompatible(String),
    /// The peer speaks something else.
    NotTls,
    /// The peer's part of the handshake, its chain in it, is longer than TLS libraries read.
    TooLong,
    /// The connection ended.
    Broken(Break),
    /// Anything else that TLS says.
    Other(String),
}

/// A handshake that failed, with what was seen of the peer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failed {
    /// Why.
    pub(crate) failure: Failure,
    /// The chain as the peer sent it, if it came to that.
    pub(crate) chain: Vec<Certificate>,
    /// What the peer sent, encrypted or not.
    pub(crate) received: Received,
    /// It asked for a certificate of ours, and was told that there is none.
    pub(crate) asks_client: bool,
}

/// Everything that handshakes with one brain share.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// Whom we trust.
    pub(crate) roots: Roots,
    /// Whom we expect: a name, or an address.
    pub(crate) host: String,
    /// For the dates of certificates.
    pub(crate) clock: Clock,
}

impl Context {
    /// Shakes hands over a new connection.
    ///
    /// # Errors
    /// Why not, with what the peer presented.
    pub(crate) async fn handshake(
        &self,
        stream: TcpStream,
        budget: &Budget,
    ) -> Result<(TlsStream<Tap<TcpStream>>, Session), Failed> {
        let (tap, seen) = Tap::new(stream);
        let presented = Presented::default();
        let asked = Asked::default();
        let failed = |failure| Failed {
            failure,
            chain: presented.chain(),
            received: seen.get(),
            asks_client: asked.get(),
        };
        let config = self.client_config(&presented, &asked).map_err(&failed)?;
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| failed(Failure::Other(format!("{:?} is no host name", self.host))))?;
        let connector = TlsConnector::from(Arc::new(config));
        match budget.bound(connector.connect(name, tap)).await {
            Err(up) => Err(failed(Failure::Broken(up.into()))),
            Ok(Err(error)) => Err(failed(read_failure(&error))),
            Ok(Ok(stream)) => {
                let version = stream.get_ref().1.protocol_version();
                let session = Session {
                    version: version_text(version),
                    chain: presented.chain(),
                    asks_client: asked.get(),
                };
                Ok((stream, session))
            }
        }
    }

    fn client_config(&self, presented: &Presented, asked: &Asked) -> Result<ClientConfig, Failure> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = self.verifier(&provider, presented)?;
        let builder = ClientConfig::builder_with_details(provider, Arc::new(self.clock));
        let versions =
            builder.with_safe_default_protocol_versions().map_err(|e| Failure::Other(e.to_string()))?;
        let trusting = versions.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = trusting.with_client_cert_resolver(Arc::new(asked.clone()));
        // A server of HTTP/2 alone says so now, instead of in frames that are no HTTP/1.1.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
        presented: &Presented,
    ) -> Result<Arc<Keeping>, Failure> {
        if self.roots.store.is_empty() {
            return Err(Failure::NoRoots);
        }
        let roots = Arc::clone(&self.roots.store);
        let inner = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
        let inner = inner.map_err(|error| Failure::Other(error.to_string()))?;
        Ok(Arc::new(Keeping { inner, presented: presented.clone() }))
    }
}

fn read_failure(error: &std::io::Error) -> Failure {
    match rustls_error(error) {
        Some(rustls::Error::InvalidCertificate(error)) => Failure::Certificate(error.clone()),
        Some(rustls::Error::PeerIncompatible(what)) => {
            Failure::Incompatible(plain_words(&format!("{what:?}")))
        }
        Some(rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion)) => {
            Failure::Incompatible("the peer sent the alert ProtocolVersion".to_owned())
        }
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::HandshakePayloadTooLarge)) => {
            Failure::TooLong
        }
        Some(rustls::Error::InvalidMessage(_) | rustls::Error::PeerSentOversizedRecord) => Failure::NotTls,
        Some(rustls::Error::AlertReceived(alert)) => Failure::Broken(Break::Alert(*alert)),
        Some(rustls::Error::PeerMisbehaved(how)) => {
            Failure::Other(format!("the peer breaks the protocol: {}", plain_words(&format!("{how:?}"))))
        }
        Some(rustls::Error::Other(other)) => Failure::Other(plain_words(&other.0.to_string())),
        Some(other) => Failure::Other(other.to_string()),
        None => Failure::Broken(Break::from_io(error)),
    }
}

fn version_text(version: Option<rustls::ProtocolVersion>) -> String {
    match version {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3".to_owned(),
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Whether the peer asked for a certificate of ours. There is none to give.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<AtomicBool>);

impl Asked {
    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// The chain that the peer presented.
#[derive(Clone, Debug, Default)]
struct Presented(Arc<Mutex<Vec<Certificate>>>);

impl Presented {
    fn chain(&self) -> Vec<Certificate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// rustls' own verifier, with a memory.
#[derive(Debug)]
struct Keeping {
    inner: Arc<WebPkiServerVerifier>,
    presented: Presented,
}

impl ServerCertVerifier for Keeping {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let sent = std::iter::once(end_entity).chain(intermediates).take(MAX_CHAIN);
        let chain = sent.filter_map(|der| Certificate::parse(der)).collect();
        *self.presented.0.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
