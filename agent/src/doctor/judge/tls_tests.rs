//! What is said of a handshake that looked good until the first request.

use super::super::evidence::NoUpgrade;
use super::fixtures::{Outcome, account, case, codes, config, connected, timed};
use super::*;

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
    let alert = Break::Alert(rustls::AlertDescription::CertificateRequired);
    let no_answer = |broken: &Break| UpgradeFailure::NoAnswer(http::Failure::Broken(broken.clone()));
    let missed = [Some("tls.client-cert-required"), None];
    assert_eq!(after_handshake(true, no_answer(&alert))?, missed);
    assert_eq!(after_handshake(true, no_answer(&Break::Closed))?, missed);
    assert_eq!(after_handshake(false, no_answer(&Break::Closed))?, [None, Some("ws.dropped")]);
    let body = b"<center>No required SSL certificate was sent</center>".to_vec();
    let nginx = http::Answer { status: 400, body, ..http::Answer::default() };
    assert_eq!(after_handshake(false, UpgradeFailure::Answered(nginx))?, missed);
    Ok(())
}

#[test]
fn http2_in_place_of_an_answer() -> Outcome {
    let frames = vec![0, 0, 18, 4, 0, 0, 0, 0, 0, 0, 3];
    let failure = UpgradeFailure::NoAnswer(http::Failure::NotHttp(frames));
    assert_eq!(after_handshake(false, failure)?, [Some("tls.h2-only"), None]);
    Ok(())
}
