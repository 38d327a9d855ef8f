//! Evidence in, verdicts out: no probe runs here.

use std::net::{IpAddr, Ipv4Addr};

use nix::libc;

use super::super::evidence::{BufferOutcome, DnsEvidence, LocalNetwork, NoUpgrade, TcpEvidence};
use super::*;
use crate::mounts::MountTable;
use crate::net::certificate::Certificate;
use crate::net::dns::{Answer as DnsAnswer, ResolveError};
use crate::net::tap::Received;
use crate::net::tcp::{Attempt, Failure as TcpFailure};
use crate::paths::Cause;
use crate::transport::session::{End, Stage};

use super::fixtures::*;

#[test]
fn a_good_run_has_the_five_sentences_and_no_note() -> Outcome {
    let config = config("https://tasks.example.com/")?;
    let account = account();
    let mut evidence = connected();
    evidence.tls = timed(session());
    evidence.websocket = timed(trial(Some(welcome(Some("picker"), 0)), TrialEnd::Proven));
    let report = judge(&case(&config, &account), &evidence);
    let sentences: Vec<&str> = report.probes.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(
        sentences,
        [
            "OK: buffer dir /tmp/z4j-33 is writable",
            "OK: tasks.example.com -> 198.51.100.42",
            "OK: TCP connect to tasks.example.com:443",
            "OK: TLS TLSv1.3 to tasks.example.com (cert CN='tasks.example.com')",
            "OK: ws upgrade to https://tasks.example.com/ succeeded",
        ]
    );
    assert!(report.ok && report.notes.is_empty(), "{:?}", report.notes);
    Ok(())
}

#[test]
fn one_cause_is_one_failure() -> Outcome {
    let config = config("https://tasks.example.com/")?;
    let account = account();
    let answers = vec![(IpAddr::V4(Ipv4Addr::LOCALHOST), DnsAnswer::NameError)];
    let error = ResolveError::Said("Name or service not known".into());
    let local = LocalNetwork { interfaces: Some(vec!["lo".into(), "eth0".into()]), ..Default::default() };
    let evidence = Evidence {
        buffer: timed(writable()),
        dns: timed(DnsEvidence::Failed { error, answers, local }),
        ..Evidence::default()
    };
    let mut case = case(&config, &account);
    let expected = [
        ("buffer_path", Status::Ok, None),
        ("dns", Status::Fail, Some("dns.not-found")),
        ("tcp", Status::Skip, None),
        ("tls", Status::Skip, None),
        ("websocket", Status::Skip, None),
    ];
    assert_eq!(codes(&judge(&case, &evidence)), expected);
    // The cause is shown even where only what waits for it was asked for.
    case.selected = vec![ProbeName::Tls];
    assert_eq!(codes(&judge(&case, &evidence)), [expected[1], expected[3]]);
    Ok(())
}

#[test]
fn a_reset_before_any_byte_is_about_the_connection() -> Outcome {
    let account = account();
    let secure = config("https://tasks.example.com/")?;
    for (received, code) in [(0, "tcp.reset"), (7, "tls.aborted")] {
        let failed = net_tls::Failed {
            failure: net_tls::Failure::Broken(Break::Reset),
            chain: Vec::new(),
            received: Received { bytes: received, head: Vec::new() },
            asks_client: false,
        };
        let mut evidence = connected();
        evidence.tls = timed(TlsEvidence::Failed { failed, source: String::new(), kin: false });
        let report = judge(&case(&secure, &account), &evidence);
        let failures: Vec<_> = report.probes.iter().filter_map(|finding| finding.code).collect();
        assert_eq!(failures, [code]);
    }
    let plain = config("http://127.0.0.1:7700/")?;
    let mut evidence = connected();
    evidence.tls = timed(TlsEvidence::NotHttps);
    let failure = UpgradeFailure::NoAnswer(http::Failure::Broken(Break::Reset));
    let refused = NoUpgrade { failure, silent: true, health: None, root_health: None };
    let end = TrialEnd::NoUpgrade(Box::new(refused));
    evidence.websocket = timed(trial(None, end));
    let report = judge(&case(&plain, &account), &evidence);
    let expected = [
        ("tcp", Status::Fail, Some("tcp.reset")),
        ("tls", Status::Ok, None),
        ("websocket", Status::Skip, None),
    ];
    assert_eq!(codes(&report)[2..], expected);
    assert_eq!(report.probes[3].message, "SKIP: http://127.0.0.1:7700/ is not https");
    Ok(())
}

#[test]
fn what_was_not_looked_at_is_neither_good_nor_bad() -> Outcome {
    let config = config("https://tasks.example.com/")?;
    let account = account();
    let mut evidence = connected();
    evidence.tls = timed(session());
    evidence.out_of_time = true;
    let report = judge(&case(&config, &account), &evidence);
    let last = report.probes.last().map(|finding| (finding.status, finding.ok));
    assert_eq!(last, Some((Status::Unknown, None)));
    assert!(report.ok && !report.is_good(true));
    Ok(())
}

#[test]
fn a_refusing_root_is_told_by_its_cause() -> Outcome {
    let mounts = "27 1 254:0 / / rw - ext4 /dev/vda rw\n\
                  28 27 254:0 /home /home ro - ext4 /dev/vda rw\n\
                  29 27 0:9 /systemd/inaccessible/dir /root ro - tmpfs tmpfs rw\n\
                  30 27 0:8 / /data ro - ext4 /dev/vdb ro\n";
    let rows = [
        (refusal("/var/www", Cause::Errno(libc::EACCES), 0, 0o755), "buffer.not-writable"),
        (refusal("/var/www/.z4j", Cause::ForeignOwner, 0, 0o700), "buffer.owned-by-other"),
        (refusal("/home/app", Cause::Errno(libc::EROFS), 33, 0o700), "buffer.read-only"),
        (refusal("/data", Cause::Errno(libc::EROFS), 33, 0o700), "buffer.read-only"),
        (refusal("/root", Cause::Errno(libc::EACCES), 0, 0), "buffer.masked"),
        (refusal("/var/www", Cause::Errno(libc::ENOSPC), 33, 0o700), "buffer.no-space"),
        (refusal("/var/www", Cause::Errno(libc::EFBIG), 33, 0o700), "buffer.no-space"),
        (refusal("/var/www", Cause::Errno(libc::EPERM), 33, 0o700), "buffer.denied-by-sandbox"),
        (refusal("/var/www/.z4j", Cause::NotADirectory, 33, 0o600), "buffer.not-writable"),
    ];
    let config = config("https://tasks.example.com/")?;
    let account = account();
    let temporary = refusal("/tmp", Cause::Errno(libc::EACCES), 0, 0o755);
    for (home, code) in rows {
        let shown = home.clone();
        let mut seen = buffer(BufferOutcome::NoRoot(vec![temporary.clone()]), Some(home));
        seen.mounts = Some(MountTable::parse(mounts));
        let evidence = Evidence { buffer: timed(seen), ..Evidence::default() };
        let report = judge(&case(&config, &account), &evidence);
        let finding = &report.probes[0];
        assert_eq!(finding.code, Some(code), "{shown:?}");
        assert!(finding.fix.as_ref().is_some_and(|fix| !fix.is_empty()));
        // Both roots stand in the sentence.
        assert!(finding.message.contains("/var/www/.z4j") && finding.message.contains("/tmp"));
    }
    Ok(())
}

#[test]
fn a_path_outside_the_roots_has_a_way_out_where_there_is_one() -> Outcome {
    let config = config("https://tasks.example.com/")?;
    let account = account();
    let rows = [
        (
            "/var/lib/picker/.z4j/buffer.sqlite",
            Some("/var/lib/picker/.z4j"),
            "Environment=Z4J_HOME=/var/lib/picker/.z4j",
        ),
        ("/etc/passwd", None, "UnsetEnvironment=Z4J_BUFFER_PATH"),
    ];
    for (path, serves, fix) in rows {
        let outcome = BufferOutcome::Outside {
            written: path.into(),
            resolved: path.into(),
            roots: vec!["/var/www/.z4j".into(), "/tmp/z4j-33".into()],
            serves: serves.map(PathBuf::from),
        };
        let evidence = Evidence { buffer: timed(buffer(outcome, None)), ..Evidence::default() };
        let report = judge(&case(&config, &account), &evidence);
        let sentence =
            format!("FAIL: Z4J_BUFFER_PATH={path} is outside both roots, /var/www/.z4j and /tmp/z4j-33");
        assert_eq!(report.probes[0].message, sentence);
        assert_eq!(report.probes[0].fix.as_deref(), Some(fix));
    }
    Ok(())
}

#[test]
fn a_name_without_address_is_told_by_what_the_servers_say() -> Outcome {
    let said = || ResolveError::Said("Temporary failure in name resolution".into());
    let rows = [
        (said(), vec![DnsAnswer::NameError], "dns.not-found"),
        (said(), vec![DnsAnswer::Empty], "dns.not-found"),
        (said(), vec![DnsAnswer::Silent, DnsAnswer::ServerFailure], "dns.servfail"),
        (said(), vec![DnsAnswer::Refused], "dns.refused"),
        (said(), vec![DnsAnswer::Silent], "dns.unreachable"),
        (said(), vec![DnsAnswer::Unreachable("ECONNREFUSED".into())], "dns.unreachable"),
        (said(), vec![DnsAnswer::Addresses(vec![BRAIN.ip()])], "dns.not-found"),
        (ResolveError::TimedOut, vec![DnsAnswer::Addresses(vec![BRAIN.ip()])], "dns.unreachable"),
    ];
    let config = config("https://tasks.example.com/")?;
    let account = account();
    for (error, answers, code) in rows {
        let servers = (1..).map(|n| IpAddr::V4(Ipv4Addr::new(192, 0, 2, n)));
        let answers: Vec<_> = servers.zip(answers).collect();
        let local = LocalNetwork { interfaces: Some(vec!["eth0".into()]), ..Default::default() };
        let evidence =
            Evidence { dns: timed(DnsEvidence::Failed { error, answers, local }), ..Evidence::default() };
        let finding = &judge(&case(&config, &account), &evidence).probes[1];
        assert_eq!(finding.code, Some(code), "{}", finding.message);
        assert!(finding.message.contains("192.0.2.1") && finding.message.contains("/etc/resolv.conf"));
    }
    Ok(())
}

#[test]
fn connections_that_fail_are_told_by_every_address() -> Outcome {
    let config = config("https://tasks.example.com/")?;
    let account = account();
    let rows = [
        (TcpFailure::TimedOut, "tcp.timeout"),
        (TcpFailure::Errno(libc::ECONNREFUSED), "tcp.refused"),
        (TcpFailure::Errno(libc::ECONNRESET), "tcp.reset"),
        (TcpFailure::Errno(libc::ENETUNREACH), "tcp.no-route"),
        (TcpFailure::Errno(libc::EHOSTUNREACH), "tcp.no-route"),
    ];
    for (failure, code) in rows {
        let local = LocalNetwork { interfaces: Some(vec!["eth0".into()]), ..Default::default() };
        let attempts = vec![Attempt { address: BRAIN, failure, forbidden: false }];
        let mut evidence = connected();
        evidence.tcp = timed(TcpEvidence::Failed { attempts, local });
        let report = judge(&case(&config, &account), &evidence);
        assert_eq!(report.probes[2].code, Some(code));
        assert!(report.probes[2].message.contains("198.51.100.42"));
    }
    Ok(())
}

#[test]
fn a_process_that_may_not_use_the_network_does_not_blame_dns() -> Outcome {
    let config = config("https://tasks.example.com/")?;
    let account = account();
    let family =
        LocalNetwork { closed_families: vec![("AF_INET", libc::EAFNOSUPPORT)], ..LocalNetwork::default() };
    let filter = LocalNetwork { loopback_hangs: true, ..LocalNetwork::default() };
    let alone = LocalNetwork { interfaces: Some(vec!["lo".into()]), ..LocalNetwork::default() };
    for (local, setting) in
        [(family, "RestrictAddressFamilies="), (filter, "IPAddressDeny="), (alone, "PrivateNetwork=")]
    {
        let answers = vec![(IpAddr::V4(Ipv4Addr::LOCALHOST), DnsAnswer::Silent)];
        let error = ResolveError::Said("Temporary failure in name resolution".into());
        let evidence =
            Evidence { dns: timed(DnsEvidence::Failed { error, answers, local }), ..Evidence::default() };
        let report = judge(&case(&config, &account), &evidence);
        assert_eq!(report.probes[1].code, Some("dns.blocked-here"));
        assert!(report.probes[1].message.contains(setting));
    }
    Ok(())
}

#[test]
fn a_session_that_ends_early_is_told_by_its_end() -> Outcome {
    let closed = |code, reason: &str| End::Closed { code: Some(code), reason: reason.into() };
    let refused = |reason: z4j_protocol::Reason| End::Refused(reason.into());
    let rows = [
        (0, Stage::Hello, closed(4401, ""), "ws.token-rejected"),
        (0, Stage::Online, closed(4003, "revoked"), "ws.token-rejected"),
        (0, Stage::Hello, closed(4403, ""), "ws.address-refused"),
        (0, Stage::Hello, closed(4403, "project_mismatch"), "ws.project-mismatch"),
        (0, Stage::Hello, closed(4426, ""), "ws.protocol-refused"),
        (0, Stage::Batch, closed(4429, ""), "ws.rate-limited"),
        (0, Stage::Batch, closed(4403, ""), "ws.hmac-mismatch"),
        (61, Stage::Batch, closed(4403, ""), "ws.clock-skew"),
        (61, Stage::Online, closed(4403, ""), "ws.clock-skew"),
        (-61, Stage::Batch, refused(z4j_protocol::Reason::TsSkew), "ws.clock-skew"),
        (0, Stage::Batch, refused(z4j_protocol::Reason::HmacMismatch), "ws.hmac-mismatch"),
        (0, Stage::Online, refused(z4j_protocol::Reason::HmacMismatch), "ws.hmac-mismatch"),
        (0, Stage::Hello, refused(z4j_protocol::Reason::Version), "ws.protocol-refused"),
        (0, Stage::Hello, refused(z4j_protocol::Reason::NotJson), "ws.not-a-brain"),
        (0, Stage::Batch, closed(1011, "x"), "ws.closed"),
        (0, Stage::Batch, End::Closed { code: None, reason: String::new() }, "ws.closed"),
        (0, Stage::Hello, End::Broken(Break::Closed), "ws.dropped"),
        (0, Stage::Batch, End::Broken(Break::Reset), "ws.dropped"),
        (0, Stage::Hello, End::Broken(Break::TimedOut), "ws.timeout"),
    ];
    let config = config("https://tasks.example.com/")?;
    let account = account();
    for (behind, stage, end, code) in rows {
        let welcome = (stage != Stage::Hello).then(|| welcome(None, behind));
        let shown = format!("{end:?}");
        let mut evidence = connected();
        evidence.tls = timed(session());
        evidence.websocket = timed(trial(welcome, TrialEnd::Early(stage, end)));
        let report = judge(&case(&config, &account), &evidence);
        assert_eq!(report.probes[4].code, Some(code), "{shown}");
        // A secret under which the brain has taken frames is not to blame.
        let blamed = report.probes[4].message.contains("Z4J_HMAC_SECRET");
        assert_eq!(blamed, code == "ws.hmac-mismatch" && stage != Stage::Online, "{shown}");
    }
    Ok(())
}

#[test]
fn an_upgrade_without_101_is_told_by_what_else_is_there() -> Outcome {
    let answer = |status: u16, body: &str| http::Answer {
        status,
        reason: "X".into(),
        headers: vec![("server".into(), "nginx".into())],
        body: body.as_bytes().to_vec(),
        is_old: false,
    };
    let healthy = || Some(Ok(answer(200, r#"{"status":"ok"}"#)));
    let absent = || Some(Ok(answer(404, r#"{"detail":"Not Found"}"#)));
    let portal = || Some(Ok(answer(200, "<html>")));
    let rows = [
        (answer(404, ""), healthy(), None, "ws.upgrade-stripped"),
        (answer(426, ""), healthy(), None, "ws.upgrade-stripped"),
        (answer(401, ""), healthy(), None, "ws.token-rejected"),
        (answer(429, ""), healthy(), None, "ws.rate-limited"),
        (answer(502, ""), None, None, "ws.http-status"),
        (answer(302, ""), None, None, "ws.http-status"),
        (answer(403, ""), healthy(), None, "ws.http-status"),
        (answer(400, r#"{"error":"invalid_host"}"#), healthy(), None, "ws.http-status"),
        (answer(404, ""), absent(), None, "ws.path"),
        (answer(403, ""), absent(), healthy(), "ws.path"),
        (answer(403, ""), Some(Ok(answer(403, ""))), None, "ws.http-status"),
        (answer(401, "<html>log in</html>"), healthy(), None, "ws.http-status"),
        (answer(200, "<html>"), portal(), None, "ws.not-a-brain"),
    ];
    let config = config("https://tasks.example.com/z4j/")?;
    let account = account();
    for (answer, health, root_health, code) in rows {
        let status = answer.status;
        let failure = UpgradeFailure::Answered(answer);
        let refused = NoUpgrade { failure, silent: false, health, root_health };
        let end = TrialEnd::NoUpgrade(Box::new(refused));
        let mut evidence = connected();
        evidence.tls = timed(session());
        evidence.websocket = timed(trial(None, end));
        let report = judge(&case(&config, &account), &evidence);
        assert_eq!(report.probes[4].code, Some(code), "{status}");
    }
    Ok(())
}

#[test]
fn notes_are_about_what_was_seen() -> Outcome {
    let mut config = config("https://tasks.example.com/")?;
    let root = Account { uid: 0, gid: 0, name: Some("root".into()), group: None, home: None };
    let mut evidence = connected();
    let mut on_tmpfs = writable();
    on_tmpfs.mounts = Some(MountTable::parse("27 1 0:9 / /tmp rw - tmpfs tmpfs rw"));
    evidence.buffer = timed(on_tmpfs);
    let leaf = Certificate { not_after: 1_800_000_000 + 86_400, ..Certificate::default() };
    let session = net_tls::Session { version: "TLSv1.3".into(), chain: vec![leaf], asks_client: false };
    evidence.tls = timed(TlsEvidence::Session(session));
    evidence.websocket = timed(trial(Some(welcome(None, 0)), TrialEnd::Proven));
    let codes = |config: &Config| {
        let mut case = case(config, &root);
        case.core_version = Some("1.12.3".into());
        case.without_adapter = vec!["rq".into()];
        let notes = judge(&case, &evidence).notes;
        notes.iter().map(|note| note.code).collect::<Vec<_>>()
    };
    let all = [
        "note.root",
        "note.tmpfs",
        "note.expires-soon",
        "note.version-skew",
        "note.project-unverified",
        "note.engine-without-adapter",
    ];
    assert_eq!(codes(&config), all);
    config.project_id = "fb76ac03-c5fe-4c21-95cc-b9d59cf3f2bc".into();
    assert!(!codes(&config).contains(&"note.project-unverified"));
    Ok(())
}
