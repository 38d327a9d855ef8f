//! What is said of a handshake that looked good until the first request.

use rustls::AlertDescription;

use super::super::evidence::NoUpgrade;
use super::fixtures::{Outcome, account, case, codes, config, connected, timed};
use super::*;
use crate::net::certificate::Certificate;
use crate::net::tap::Received;

fn after_handshake(asks_client: bool, failure: UpgradeFailure) -> Outcome<Vec<Option<&'static str>>> {
    let (config, account) = (config("https://tasks.example.com/")?, account());
    let mut evidence = connected();
    let session = net_tls::Session { version: "TLSv1.3".into(), chain: Vec::new(), asks_client };
    evidence.tls = timed(TlsEvidence::Session(session));
    let refused = NoUpgrade { failure, silent: false, health: None, root_health: None };
    evidence.websocket = timed(fixtures::trial(None, TrialEnd::NoUpgrade(Box::new(refused))));
    Ok(codes(&judge(&case(&config, &account), &evidence))
        .into_iter()
        .skip(3)
        .map(|(.., code)| code)
        .collect())
}

#[test]
fn a_client_certificate_is_missed_at_the_first_request() -> Outcome {
    let alert = Break::Alert(AlertDescription::CertificateRequired);
    let no_answer = |broken: &Break| UpgradeFailure::NoAnswer(http::Failure::Broken(broken.clone()));
    let missed = [Some("tls.client-cert-required"), None];
    assert_eq!(after_handshake(true, no_answer(&alert))?, missed);
    assert_eq!(after_handshake(true, no_answer(&Break::Reset))?, missed);
    // A server that merely asked ends a connection for other reasons.
    for other in [Break::Closed, Break::Alert(AlertDescription::InternalError)] {
        assert_eq!(after_handshake(true, no_answer(&other))?, [None, Some("ws.dropped")]);
    }
    assert_eq!(after_handshake(false, no_answer(&Break::Closed))?, [None, Some("ws.dropped")]);
    let body = b"<center>No required SSL certificate was sent</center>".to_vec();
    let nginx = http::Answer { status: 400, body, ..http::Answer::default() };
    assert_eq!(after_handshake(false, UpgradeFailure::Answered(nginx))?, missed);
    Ok(())
}

#[test]
fn a_handshake_that_was_closed_after_the_question_misses_nothing() -> Outcome {
    let (config, account) = (config("https://tasks.example.com/")?, account());
    for (broken, code) in [
        (Break::Alert(AlertDescription::BadCertificate), "tls.client-cert-required"),
        (Break::Closed, "tls.aborted"),
    ] {
        let failed = net_tls::Failed {
            failure: net_tls::Failure::Broken(broken),
            chain: vec![Certificate::default()],
            received: Received { bytes: 2_000, head: Vec::new() },
            asks_client: true,
        };
        let mut evidence = connected();
        evidence.tls = timed(TlsEvidence::Failed { failed, source: String::new(), kin: false });
        assert_eq!(codes(&judge(&case(&config, &account), &evidence))[3].2, Some(code));
    }
    Ok(())
}

#[test]
fn http2_in_place_of_an_answer() -> Outcome {
    let frames = vec![0, 0, 18, 4, 0, 0, 0, 0, 0, 0, 3];
    let failure = UpgradeFailure::NoAnswer(http::Failure::NotHttp(frames));
    assert_eq!(after_handshake(false, failure)?, [Some("tls.h2-only"), None]);
    Ok(())
}
