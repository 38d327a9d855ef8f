//! The way through a proxy, judged.

use nix::libc;

use super::super::evidence::{LocalNetwork, TcpEvidence};
use super::fixtures::*;
use super::*;
use crate::net::proxy::{self, Failure};
use crate::net::tcp::{Attempt, Failure as TcpFailure};

fn proxied(value: &str) -> Outcome<Config> {
    let mut config = config("https://tasks.example.com/")?;
    let mut environment = crate::environment::Environment::capture();
    environment.variables = [("HTTPS_PROXY".into(), value.into())].into();
    config.proxy = proxy::choose(&environment, &config.brain_url)?;
    Ok(config)
}

/// What the tcp probe says.
fn tcp(config: &Config, seen: TcpEvidence) -> (String, Option<&'static str>, String) {
    let account = account();
    let report = judge(&case(config, &account), &Evidence { tcp: timed(seen), ..connected() });
    let finding = report.probes.into_iter().find(|finding| finding.name == ProbeName::Tcp);
    finding
        .map(|finding| (finding.message, finding.code, finding.fix.unwrap_or_default()))
        .unwrap_or_default()
}

#[test]
fn a_good_run_says_which_way_it_went() -> Outcome {
    let config = proxied("http://me:geheim@proxy.corp:3128")?;
    let account = account();
    let report = judge(&case(&config, &account), &connected());
    let messages: Vec<&str> = report.probes.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(
        messages[1..3],
        [
            "OK: proxy.corp -> 198.51.100.42 via proxy proxy.corp:3128",
            "OK: TCP connect to tasks.example.com:443 via proxy proxy.corp:3128",
        ]
    );
    assert_eq!(report.notes.first().map(|note| note.code), Some("note.proxy"));
    assert!(!report.json().contains("geheim"));
    Ok(())
}

#[test]
fn each_way_to_fail_has_its_code() -> Outcome {
    let answered = |status, schemes: &[&str]| Failure::Answered {
        status,
        reason: String::new(),
        schemes: schemes.iter().map(|scheme| (*scheme).to_owned()).collect(),
    };
    let (bare, known) = ("http://proxy.corp:3128", "http://me:geheim@proxy.corp:3128");
    for (url, failure, code, fix) in [
        (bare, answered(407, &["Basic"]), "proxy.auth", "HTTPS_PROXY=http://USER:PASSWORD@proxy.corp:3128"),
        (known, answered(407, &["basic"]), "proxy.auth", "correct the user"),
        (known, answered(407, &["NTLM", "Negotiate"]), "proxy.auth", "take Basic"),
        (bare, answered(403, &[]), "proxy.refused", "let tasks.example.com:443 through"),
        (bare, answered(502, &[]), "proxy.refused", "let tasks.example.com:443 through"),
        (bare, Failure::NotHttp("SSH".into()), "proxy.unreachable", "correct HTTPS_PROXY"),
        (bare, Failure::Broken(Break::Closed), "proxy.unreachable", "correct HTTPS_PROXY"),
    ] {
        let said = tcp(&proxied(url)?, TcpEvidence::NoTunnel { address: BRAIN, failure });
        assert!(said.1 == Some(code) && said.2.contains(fix), "{said:?}");
        assert!(
            said.0.starts_with("FAIL: the proxy proxy.corp:3128 gives no way to tasks.example.com:443: ")
        );
        assert!(!format!("{said:?}").contains("geheim"));
    }
    for (failure, code) in [
        (TcpFailure::Errno(libc::ECONNREFUSED), "proxy.refused"),
        (TcpFailure::Errno(libc::EHOSTUNREACH), "proxy.unreachable"),
        (TcpFailure::TimedOut, "proxy.unreachable"),
    ] {
        let attempts = vec![Attempt { address: BRAIN, failure, forbidden: false }];
        let local = LocalNetwork { interfaces: Some(vec!["lo".into(), "eth0".into()]), ..Default::default() };
        let said = tcp(&proxied(bare)?, TcpEvidence::Failed { attempts, local });
        assert!(said.1 == Some(code) && said.0.contains("HTTPS_PROXY names that proxy"), "{said:?}");
    }
    Ok(())
}
