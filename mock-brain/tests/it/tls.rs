//! The certificates: what they hold, and each fault's chain as a client sees it.

use std::sync::Arc;

use mock_brain::{Brain, Options};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio_rustls::TlsConnector;
use x509_parser::prelude::*;

use crate::support::{now, start, tcp, tls, within};

/// Takes any certificate, so that the chain can be looked at.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

async fn chain(brain: &Brain) -> Vec<CertificateDer<'static>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("tasks.example.com").unwrap();
    let stream = within(connector.connect(name, tcp(brain).await)).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap().iter().map(|c| c.clone().into_owned()).collect()
}

fn parse<'c>(der: &'c CertificateDer<'_>) -> X509Certificate<'c> {
    X509Certificate::from_der(der).unwrap().1
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
    names.iter().map(ToString::to_string).collect()
}

async fn brain() -> Brain {
    start(Options { names: vec!["tasks.example.com".to_owned()], ..Options::default() }).await
}

#[tokio::test]
async fn the_sound_chain_is_what_strict_verifiers_want() {
    let brain = brain().await;
    let chain = chain(&brain).await;
    assert_eq!(chain.len(), 2);
    let ca = brain.ca_pem().unwrap();
    let (_, ca) = parse_x509_pem(ca.as_bytes()).unwrap();
    let root = ca.parse_x509().unwrap();
    let (leaf, intermediate) = (parse(&chain[0]), parse(&chain[1]));
    let key = |certificate: &X509Certificate<'_>| *certificate.key_usage().unwrap().unwrap().value;
    assert_eq!(leaf.subject().iter_common_name().next().unwrap().as_str(), Ok("tasks.example.com"));
    assert!(!leaf.is_ca() && intermediate.is_ca() && root.is_ca());
    assert!(
        key(&leaf).digital_signature() && key(&intermediate).key_cert_sign() && key(&root).key_cert_sign()
    );
    assert!(leaf.extended_key_usage().unwrap().unwrap().value.server_auth);
    assert_eq!(names(&leaf).len(), 4, "{:?}", names(&leaf));
    for (certificate, issuer) in [(&leaf, &intermediate), (&intermediate, &root), (&root, &root)] {
        certificate.verify_signature(Some(issuer.public_key())).unwrap();
        assert_eq!(certificate.issuer(), issuer.subject());
        assert_eq!(authority(certificate), Some(subject(issuer)));
        let days = (certificate.validity().not_after.timestamp() - now().unix_seconds()) / 86_400;
        assert!((60..4_000).contains(&days), "{days}");
    }
}

fn subject(certificate: &X509Certificate<'_>) -> Vec<u8> {
    let found = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    });
    found.expect("a subject key identifier")
}

fn authority(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => Some(id.key_identifier.as_ref()?.0.to_vec()),
        _ => None,
    })
}

/// Sets a fault and returns the chain, and what a careful client says.
async fn broken(brain: &Brain, fault: &str) -> (Vec<CertificateDer<'static>>, String) {
    brain.clear_faults();
    brain.set_fault(fault.parse().unwrap()).unwrap();
    let chain = chain(brain).await;
    let refusal = tls(brain, "tasks.example.com").await.expect_err("the client refuses").to_string();
    (chain, refusal)
}

#[tokio::test]
async fn each_fault_in_its_chain() {
    let brain = brain().await;
    let sound = chain(&brain).await;
    let time = now().unix_seconds();

    let (chain, refusal) = broken(&brain, "tls.expired").await;
    assert!(refusal.contains("expired"), "{refusal}");
    assert!(parse(&chain[0]).validity().not_after.timestamp() < time);
    assert_eq!((chain.len(), names(&parse(&chain[0])).len()), (2, 4));

    let (chain, refusal) = broken(&brain, "tls.not-yet-valid").await;
    assert!(refusal.contains("not valid yet"), "{refusal}");
    assert!(parse(&chain[0]).validity().not_before.timestamp() > time);

    let (chain, refusal) = broken(&brain, "tls.hostname-mismatch").await;
    assert!(refusal.contains("not valid for name"), "{refusal}");
    assert_eq!(names(&parse(&chain[0])), ["DNSName(other-host.invalid)"]);
    assert!(tls(&brain, "other-host.invalid").await.is_ok(), "nothing else is wrong with it");

    let (chain, refusal) = broken(&brain, "tls.self-signed").await;
    assert!(refusal.contains("UnknownIssuer"), "{refusal}");
    let leaf = parse(&chain[0]);
    assert_eq!((chain.len(), leaf.issuer()), (1, leaf.subject()));
    leaf.verify_signature(None).unwrap();

    let (chain, refusal) = broken(&brain, "tls.untrusted-ca").await;
    assert!(refusal.contains("UnknownIssuer"), "{refusal}");
    parse(&chain[0]).verify_signature(Some(parse(&chain[1]).public_key())).unwrap();
    assert_ne!(parse(&chain[1]).issuer(), parse(&sound[1]).issuer());

    let (chain, refusal) = broken(&brain, "tls.missing-intermediate").await;
    assert!(refusal.contains("UnknownIssuer"), "{refusal}");
    assert_eq!(chain, sound[..1]);

    brain.clear_faults();
    assert!(tls(&brain, "tasks.example.com").await.is_ok());
}

#[tokio::test]
async fn handshakes_are_counted_and_bare_connects_are_not() {
    let brain = brain().await;
    brain.set_fault("tls.expired first 1".parse().unwrap()).unwrap();
    drop(tcp(&brain).await);
    drop(tcp(&brain).await);
    assert!(tls(&brain, "localhost").await.is_err());
    assert!(tls(&brain, "localhost").await.is_ok());
}
