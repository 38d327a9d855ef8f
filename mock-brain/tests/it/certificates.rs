//! Certificate profiles as a client meets them, rotation while serving, and certificates for others.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use mock_brain::{Brain, IssuedCertificate, Options};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use crate::cli::{Serve, told};
use crate::support::{Agent, hello, start, tcp, tls, within};

const HOST: &str = "tasks.example.com";

async fn brain(profile: &str) -> Brain {
    let certificate = profile.parse().unwrap();
    start(Options { names: vec![HOST.to_owned()], certificate, ..Options::default() }).await
}

/// What a careful client says of a profile; empty if nothing.
async fn refusal(profile: &str) -> String {
    tls(&brain(profile).await, HOST).await.map_or_else(|error| error.to_string(), |_| String::new())
}

#[tokio::test]
async fn each_word_as_a_careful_client_meets_it() {
    let good = [
        "valid",
        "expires-in=1h",
        "no-cn",
        "wildcard",
        "extra-certificate",
        "cross-signed-expired",
        "rsa",
        "ecdsa-p384",
        "ed25519",
        "tls-1.2",
        "tls-1.3",
        "wildcard+rsa+tls-1.2",
    ];
    for profile in good {
        assert_eq!(refusal(profile).await, "", "{profile}");
    }
    let bad = [
        ("expired+rsa", "expired"),
        ("not-yet-valid", "not valid yet"),
        ("hostname-mismatch", "not valid for name"),
        ("cn-only", "not valid for name"),
        ("self-signed", "UnknownIssuer"),
        ("untrusted-ca", "UnknownIssuer"),
        ("intercepted+no-cn", "UnknownIssuer"),
        ("missing-intermediate", "UnknownIssuer"),
        ("wrong-order", "CaUsedAsEndEntity"),
        ("huge-chain", "TooLarge"),
        // Both hold, and webpki tells of the dates first.
        ("expired+untrusted-ca", "expired"),
    ];
    for (profile, part) in bad {
        let refusal = refusal(profile).await;
        assert!(refusal.contains(part), "{profile}: {refusal}");
    }
}

#[tokio::test]
async fn versions_are_kept_to() {
    for (profile, version) in [("tls-1.2", ProtocolVersion::TLSv1_2), ("tls-1.3", ProtocolVersion::TLSv1_3)] {
        let stream = tls(&brain(profile).await, HOST).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version));
    }
}

#[tokio::test]
async fn a_certificate_that_ends_while_it_is_shown_is_renewed_by_a_rotation() {
    let brain = brain("expires-in=1s").await;
    let shown = brain.certificates().unwrap().unwrap();
    let end = shown.chain[0].not_after;
    while crate::support::now().unix_seconds() <= end + 1 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(tls(&brain, HOST).await.unwrap_err().to_string().contains("expired"));
    brain.rotate_certificate(Some("valid".parse().unwrap())).unwrap();
    assert!(tls(&brain, HOST).await.is_ok());
}

#[tokio::test]
async fn rotation_leaves_open_connections_alone() {
    let brain = brain("valid").await;
    let before = brain.certificates().unwrap().unwrap();
    let bearer = format!("Bearer {}", brain.credentials().token);
    let mut agent = Agent::over(tls(&brain, HOST).await.unwrap(), &brain, "wss", &bearer).await.unwrap();
    agent.greet(&hello()).await;
    brain.rotate_certificate(None).unwrap();
    let after = brain.certificates().unwrap().unwrap();
    assert_ne!(before.chain[0].serial, after.chain[0].serial);
    assert_eq!((&before.chain[1], &before.root), (&after.chain[1], &after.root));
    assert_eq!(agent.batch(serde_json::json!([])).await, (0, 0, 0));
    brain.rotate_certificate(Some("self-signed".parse().unwrap())).unwrap();
    assert_eq!(agent.batch(serde_json::json!([])).await, (0, 0, 0));
    assert!(tls(&brain, HOST).await.is_err());
    // A fault is a word more, whatever the profile is.
    brain.rotate_certificate(Some("rsa".parse().unwrap())).unwrap();
    brain.set_fault("tls.expired first 1".parse().unwrap()).unwrap();
    assert!(tls(&brain, HOST).await.unwrap_err().to_string().contains("expired"));
    assert!(tls(&brain, HOST).await.is_ok());
}

#[tokio::test]
async fn http2_only() {
    let brain = brain("h2-only").await;
    let mut stream = tls(&brain, HOST).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut heard = Vec::new();
    within(stream.read_to_end(&mut heard)).await.unwrap();
    assert_eq!((heard[3], heard[9 + 3]), (4, 7), "SETTINGS, then GOAWAY: {heard:?}");
    let error = connect(&brain, None, &[b"http/1.1"]).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
}

/// A client with a certificate of its own, or with a wish for a protocol.
async fn connect(
    brain: &Brain,
    own: Option<&IssuedCertificate>,
    alpn: &[&[u8]],
) -> std::io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(brain.ca_pem().unwrap().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.unwrap().with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = CertificateDer::pem_slice_iter(own.chain.as_bytes()).map(Result::unwrap).collect();
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(HOST).unwrap();
    within(TlsConnector::from(Arc::new(config)).connect(name, tcp(brain).await)).await
}

#[tokio::test]
async fn clients_have_to_show_a_certificate() {
    let brain = brain("client-cert-required").await;
    let bearer = format!("Bearer {}", brain.credentials().token);
    let mut stream = tls(&brain, HOST).await.unwrap();
    let error = within(stream.read(&mut [0])).await.unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
    let issued = brain.issue_certificate(&["worker-1".to_owned()], true, Default::default()).unwrap();
    let stream = connect(&brain, Some(&issued), &[]).await.unwrap();
    let mut agent = Agent::over(stream, &brain, "wss", &bearer).await.unwrap();
    agent.greet(&hello()).await;
    // A server's certificate is none for a client.
    let issued = brain.issue_certificate(&["worker-1".to_owned()], false, Default::default()).unwrap();
    let mut stream = connect(&brain, Some(&issued), &[]).await.unwrap();
    assert!(within(stream.read(&mut [0])).await.is_err());
    assert!(!format!("{issued:?}").contains("PRIVATE"), "keys are not shown");
}

#[tokio::test]
async fn what_is_issued_shows_every_word_of_its_profile() {
    let brain = brain("valid").await;
    let issue = |client: bool, profile: &str| {
        brain.issue_certificate(&["worker-1".to_owned()], client, profile.parse().unwrap())
    };
    let without_effect = [
        (false, "rsa+tls-1.2", "tls-1.2 is about a server's handshake"),
        (false, "tls-1.3", "tls-1.3 is about"),
        (false, "h2-only", "h2-only is about"),
        (true, "client-cert-required", "client-cert-required is about"),
        (true, "expired+no-cn", "no-cn is about a server's names"),
        (true, "wildcard", "leave it out"),
    ];
    for (client, profile, part) in without_effect {
        let error = issue(client, profile).unwrap_err().to_string();
        assert!(error.contains(part), "{profile}: {error}");
    }
    assert!(issue(true, "expired+rsa+self-signed").is_ok());
    let issued = issue(false, "wrong-order").unwrap();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(issued.chain.as_bytes()).map(Result::unwrap).collect();
    let own = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    assert_eq!(
        chain.iter().position(|certificate| *certificate == own),
        Some(1),
        "the intermediate is first"
    );
}

fn openssl(arguments: &[&str], dir: &Path) -> Option<String> {
    let output = match Command::new("openssl").args(arguments).current_dir(dir).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: openssl is not installed");
            return None;
        }
        Err(error) => panic!("openssl: {error}"),
    };
    Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_program_shows_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    let _serve = Serve::start(dir.path(), &["--name", HOST, "--certificate", "expires-in=1h"]);
    let (exit, shown, _) = told(dir.path(), &["cert", "show"]);
    assert_eq!(exit, 0);
    for part in [
        "Certificate chain (expires-in=1h)\n 0 s:O=mock-brain, CN=tasks.example.com\n   i:O=mock-brain, CN=mock-brain intermediate ",
        "   a:PKEY: id-ecPublicKey, 256 (bit); sigalg: ecdsa-with-SHA256\n   v:NotBefore: ",
        "   X509v3 Subject Alternative Name: DNS:tasks.example.com, DNS:localhost, IP Address:127.0.0.1, IP Address:::1\n",
        "   WARNING: it ends soon, in ",
        " 1 s:O=mock-brain, CN=mock-brain intermediate ",
        "Not sent: the root that clients are to trust\n   s:O=mock-brain, CN=mock-brain CA ",
        "   it ends in 36",
    ] {
        assert!(shown.contains(part), "{part:?} in\n{shown}");
    }
}

#[test]
fn the_program_rotates() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &[]);
    let (exit, rotated, _) = told(dir.path(), &["cert", "rotate", "expired+rsa"]);
    assert_eq!(exit, 0);
    assert!(
        rotated.contains("(expired+rsa)") && rotated.contains("WARNING: it ended 1 day ago"),
        "{rotated}"
    );
    assert!(rotated.contains("a:PKEY: rsaEncryption, 2048 (bit); sigalg: ecdsa-with-SHA256"), "{rotated}");
    let (exit, _, error) = told(dir.path(), &["cert", "rotate", "expird"]);
    assert_eq!(exit, 2);
    assert!(
        error.contains("certificate profile \"expird\", column 1") && error.contains("did you mean expired?"),
        "{error}"
    );
    drop(serve);
    let (exit, _, error) = told(dir.path(), &["serve", "--certificate", "rsa+rsa-4096"]);
    assert_eq!(exit, 2);
    assert!(error.contains("column 5") && error.contains("exclude each other"), "{error}");
    assert_eq!(told(dir.path(), &["serve", "--no-tls", "--certificate", "rsa"]).0, 2);
}

#[test]
fn the_program_issues_what_openssl_takes() {
    let dir = tempfile::tempdir().unwrap();
    let _serve = Serve::start(dir.path(), &[]);
    let out = dir.path().join("tls");
    let (exit, files, error) =
        told(dir.path(), &["cert", "issue", "*.example.com", "192.0.2.7", "--out", out.to_str().unwrap()]);
    assert_eq!(exit, 0, "{error}");
    assert_eq!(files.lines().count(), 3, "{files}");
    let key = out.join("wildcard.example.com-key.pem");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let (exit, _, error) = told(dir.path(), &["cert", "issue", "a b"]);
    assert_eq!((exit, error.contains("neither a DNS name nor an IP address")), (1, true), "{error}");
    let verify = ["verify", "-x509_strict", "-verify_hostname", "x.example.com", "-CAfile", "ca.pem"];
    let files = ["-untrusted", "wildcard.example.com.pem", "wildcard.example.com.pem"];
    if let Some(verdict) = openssl(&[&verify[..], &files[..]].concat(), &out) {
        assert!(verdict.contains("wildcard.example.com.pem: OK"), "{verdict}");
    }
    let (exit, _, _) = told(dir.path(), &["cert", "issue", "--client", "w1", "--out", out.to_str().unwrap()]);
    assert_eq!(exit, 0);
    let verify = ["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "ca.pem", "-untrusted"];
    if let Some(verdict) = openssl(&[&verify[..], &["w1.pem", "w1.pem"]].concat(), &out) {
        assert!(verdict.contains("w1.pem: OK"), "{verdict}");
    }
}
