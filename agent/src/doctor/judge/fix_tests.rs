//! Fixes that fix: what is pasted must lead out of the condition, and never make another.

use nix::libc;

use super::fixtures::*;
use super::*;
use crate::net::dns::ResolveError;
use crate::net::tcp::{Attempt, Failure as TcpFailure};
use crate::paths::Cause;
use crate::transport::session::End;

use super::super::evidence::{BufferOutcome, DnsEvidence, LocalNetwork, NoUpgrade, TcpEvidence};

fn buffer_fix(case: &Case<'_>, outcome: BufferOutcome, home: Option<crate::paths::Refusal>) -> Finding {
    let evidence = Evidence { buffer: timed(buffer(outcome, home)), ..Evidence::default() };
    judge(case, &evidence).probes[0].clone()
}

#[test]
fn root_is_never_told_to_take_the_services_directory() -> Outcome {
    let config = config("https://tasks.example.com/")?;
    let root = Account { uid: 0, gid: 0, name: Some("root".into()), group: None, home: None };
    let temporary = || BufferOutcome::NoRoot(vec![refusal("/tmp", Cause::Errno(libc::EACCES), 0, 0o755)]);
    let home = refusal("/var/www/.z4j", Cause::ForeignOwner, 61_234, 0o700);
    let finding = buffer_fix(&case(&config, &root), temporary(), Some(home.clone()));
    assert_eq!(finding.code, Some("buffer.owned-by-other"));
    assert_eq!(finding.fix.as_deref(), Some("sudo -u '#61234' z4j doctor --framework bare"));
    assert!(finding.message.contains("runs as root"), "{}", finding.message);
    let account = account();
    let finding = buffer_fix(&case(&config, &account), temporary(), Some(home));
    assert_eq!(finding.fix.as_deref(), Some("sudo chown -R www-data:www-data /var/www/.z4j"));
    Ok(())
}

#[test]
fn what_is_the_systems_or_everybodys_is_left_as_it_is() -> Outcome {
    let account = account();
    let mut config = config("https://tasks.example.com/")?;
    config.buffer_path = Some("b.sqlite".into());
    let denied = Cause::Errno(libc::EACCES);
    let closed = |component: &str, cause: Cause, uid, mode| {
        let refusal =
            crate::paths::Refusal { wanted: component.into(), ..refusal(component, cause, uid, mode) };
        BufferOutcome::Explicit(refusal)
    };
    for (component, cause, uid, mode) in [
        ("/", Cause::ForeignOwner, 0, 0o755),
        ("/etc", Cause::ForeignOwner, 0, 0o755),
        ("/usr/local/share/z", Cause::ForeignOwner, 0, 0o755),
        ("/var/lib", Cause::ForeignOwner, 0, 0o755),
        ("/srv/drop/off", Cause::ForeignOwner, 0, 0o1777),
        ("/tmp", Cause::OpenToOthers, 33, 0o1777),
        ("/etc/passwd", Cause::NotADirectory, 0, 0o644),
        ("/lib", Cause::Link, 0, 0o755),
        ("/opt", denied, 33, 0o500),
    ] {
        let finding = buffer_fix(&case(&config, &account), closed(component, cause, uid, mode), None);
        let fix = finding.fix.unwrap_or_default();
        assert!(!fix.contains(&format!("{component} ")) && !fix.ends_with(component), "{component}: {fix}");
        assert!(fix.contains("Environment=Z4J_HOME=") && fix.contains("Unset"), "{component}: {fix}");
    }
    let foreign = BufferOutcome::Foreign(crate::paths::Owner { uid: 0, gid: 0, mode: 0o644 });
    let mut seen = buffer(foreign, None);
    seen.path = "/etc/passwd".into();
    let report = judge(&case(&config, &account), &Evidence { buffer: timed(seen), ..Evidence::default() });
    assert!(report.probes[0].fix.as_ref().is_some_and(|fix| fix.starts_with("StateDirectory=")));
    // Only what is in an agent's own directory is an agent's.
    let finding =
        buffer_fix(&case(&config, &account), closed("/srv/data/x", Cause::ForeignOwner, 0, 0o755), None);
    assert_eq!(finding.fix.as_deref(), Some("sudo chown www-data:www-data /srv/data/x"));
    Ok(())
}

#[test]
fn a_fix_moves_everything_that_stands_in_the_way() -> Outcome {
    let account = account();
    let mut config = config("https://tasks.example.com/")?;
    // The temporary root would serve, were files allowed to be large enough.
    let too_large = BufferOutcome::NoRoot(vec![refusal("/tmp", Cause::Errno(libc::EFBIG), 33, 0o700)]);
    let home = refusal("/var/www", Cause::Errno(libc::EACCES), 0, 0o755);
    let finding = buffer_fix(&case(&config, &account), too_large, Some(home));
    assert_eq!(finding.fix.as_deref(), Some("LimitFSIZE=infinity"));
    // Another home is of no use while the explicit path leads to the old one.
    config.buffer_path = Some("/var/www/x/.z4j/b.sqlite".into());
    let closed = refusal("/var/www", Cause::Errno(libc::EACCES), 0, 0o700);
    let finding = buffer_fix(&case(&config, &account), BufferOutcome::Explicit(closed), None);
    let fix = finding.fix.unwrap_or_default();
    assert!(
        fix.contains("Z4J_HOME=/var/lib/z4j") && fix.ends_with("UnsetEnvironment=Z4J_BUFFER_PATH"),
        "{fix}"
    );
    Ok(())
}

#[test]
fn read_only_is_told_without_the_mounts_too() -> Outcome {
    let (config, account) = (config("https://tasks.example.com/")?, account());
    let outcome = BufferOutcome::NoRoot(vec![refusal("/tmp", Cause::Errno(libc::EROFS), 0, 0o755)]);
    let home = refusal("/srv", Cause::Errno(libc::EROFS), 33, 0o755);
    let mut seen = buffer(outcome, Some(home));
    seen.mounts = None;
    let report = judge(&case(&config, &account), &Evidence { buffer: timed(seen), ..Evidence::default() });
    assert_eq!(report.probes[0].code, Some("buffer.read-only"));
    Ok(())
}

#[test]
fn a_rule_or_a_route_of_this_machine_is_named() -> Outcome {
    let (config, account) = (config("https://tasks.example.com/")?, account());
    let rows = [
        (TcpFailure::TimedOut, true, "tcp.blocked-here", "drops", "nft list ruleset"),
        (TcpFailure::Errno(libc::ECONNREFUSED), true, "tcp.blocked-here", "rejects", "nft list ruleset"),
        (TcpFailure::Errno(libc::EACCES), false, "tcp.no-route", "prohibit", "ip route del prohibit"),
        (TcpFailure::Errno(libc::EINVAL), false, "tcp.no-route", "blackhole", "ip route del blackhole"),
        (TcpFailure::Errno(libc::ENETUNREACH), false, "tcp.no-route", "ENETUNREACH", "look at the route"),
    ];
    for (failure, forbidden, code, words, fix) in rows {
        let local = LocalNetwork { interfaces: Some(vec!["eth0".into()]), ..Default::default() };
        let attempts = vec![Attempt { address: BRAIN, failure, forbidden }];
        let mut evidence = connected();
        evidence.tcp = timed(TcpEvidence::Failed { attempts, local });
        let finding = &judge(&case(&config, &account), &evidence).probes[2];
        assert_eq!(finding.code, Some(code));
        assert!(finding.message.contains(words), "{}", finding.message);
        assert!(finding.fix.as_ref().is_some_and(|text| text.contains(fix)), "{:?}", finding.fix);
    }
    Ok(())
}

#[test]
fn a_wait_that_was_cut_short_blames_nobody() -> Outcome {
    let (config, account) = (config("https://tasks.example.com/")?, account());
    let local = LocalNetwork::default;
    let dns = |error| Evidence {
        dns: timed(DnsEvidence::Failed { error, answers: Vec::new(), local: local() }),
        ..Evidence::default()
    };
    let probe = |evidence: &Evidence, at: usize| judge(&case(&config, &account), evidence).probes[at].clone();
    let mut tcp = connected();
    let attempts = vec![Attempt { address: BRAIN, failure: TcpFailure::OutOfTime, forbidden: false }];
    tcp.tcp = timed(TcpEvidence::Failed { attempts, local: local() });
    let mut hello = connected();
    hello.tls = timed(session());
    let end = TrialEnd::Early(crate::transport::session::Stage::Hello, End::Broken(Break::OutOfTime));
    hello.websocket = timed(trial(None, end));
    for finding in [probe(&dns(ResolveError::OutOfTime), 1), probe(&tcp, 2), probe(&hello, 4)] {
        assert_eq!((finding.status, finding.code), (Status::Unknown, None));
        assert_eq!(finding.message, "UNKNOWN: the time for the whole run was up");
    }
    let no_thread = probe(&dns(ResolveError::NoThread(libc::EAGAIN)), 1);
    assert_eq!(no_thread.code, Some("dns.blocked-here"));
    assert!(no_thread.message.contains("TasksMax="), "{}", no_thread.message);
    Ok(())
}

/// What is said of an upgrade that failed so.
fn upgrade(url: &str, failure: UpgradeFailure) -> Outcome<Finding> {
    let (config, account) = (config(url)?, account());
    let health = Some(Ok(http::Answer { status: 404, ..http::Answer::default() }));
    let refused = NoUpgrade { failure, silent: false, health, root_health: None };
    let mut evidence = connected();
    evidence.tls = timed(if config.brain_url.is_secure() { session() } else { TlsEvidence::NotHttps });
    evidence.websocket = timed(trial(None, TrialEnd::NoUpgrade(Box::new(refused))));
    Ok(judge(&case(&config, &account), &evidence).probes[4].clone())
}

#[test]
fn a_url_of_the_wrong_kind_is_corrected() -> Outcome {
    let not_found = http::Answer { status: 404, ..http::Answer::default() };
    let finding = upgrade("https://h.example/z4j/ws/agent", UpgradeFailure::Answered(not_found))?;
    assert_eq!(finding.code, Some("ws.path"));
    assert_eq!(finding.fix.as_deref(), Some("Environment=Z4J_BRAIN_URL=https://h.example/z4j/"));
    let body = b"<h1>400</h1>The plain HTTP request was sent to HTTPS port".to_vec();
    let plain = http::Answer { status: 400, body, ..http::Answer::default() };
    let alert = http::Failure::NotHttp(vec![0x15, 3, 3, 0, 2, 2, 22]);
    for failure in [UpgradeFailure::Answered(plain), UpgradeFailure::NoAnswer(alert)] {
        let finding = upgrade("http://127.0.0.1:8443/", failure)?;
        assert_eq!(finding.fix.as_deref(), Some("Environment=Z4J_BRAIN_URL=https://127.0.0.1:8443/"));
        assert!(finding.message.contains("wants TLS"), "{}", finding.message);
    }
    Ok(())
}

#[test]
fn a_process_without_free_descriptors_blames_nobody() -> Outcome {
    let (config, account) = (config("https://tasks.example.com/")?, account());
    let failure = TcpFailure::Errno(libc::EMFILE);
    let attempts = vec![Attempt { address: BRAIN, failure, forbidden: false }];
    let mut evidence = connected();
    evidence.tcp = timed(TcpEvidence::Failed { attempts, local: LocalNetwork::default() });
    let mut case = case(&config, &account);
    let finding = &judge(&case, &evidence).probes[2];
    assert_eq!((finding.status, finding.fix.as_deref()), (Status::Unknown, Some("LimitNOFILE=65536")));
    // It is shown where only what waits for it was asked for, and is no success to who is strict.
    case.selected = vec![ProbeName::Websocket];
    let report = judge(&case, &evidence);
    let shown = [("tcp", Status::Unknown, None), ("websocket", Status::Skip, None)];
    assert_eq!(codes(&report), shown);
    assert_eq!((report.is_good(false), report.is_good(true)), (true, false));
    Ok(())
}
