//! `load` against brains of this crate: what comes through, what is refused, and that both are told.

use std::path::Path;

use serde_json::Value as Json;

use crate::cli::{Serve, program, told};

/// Runs `load` for a moment and returns exit code, report and what was said on stderr.
fn load(dir: &Path, flags: &[&str]) -> (i32, Json, String) {
    let all = [&["load", "--json", "--duration", "500ms"], flags].concat();
    let (code, report, said) = told(dir, &all);
    (code, serde_json::from_str(&report).unwrap_or(Json::Null), said)
}

fn accepted(dir: &Path) -> usize {
    let (_, events, _) = told(dir, &["events", "--json"]);
    serde_json::from_str::<Json>(&events).unwrap()["items"].as_array().unwrap().len()
}

#[test]
fn what_is_acknowledged_is_there_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let _serve = Serve::start(dir.path(), &[]);
    let svg = dir.path().join("load.svg");
    let svg_flag = ["--svg", svg.to_str().unwrap()];
    let flags = [&["--agents", "5", "--mint", "--rate", "400", "--batch", "10"][..], &svg_flag].concat();
    let (code, report, said) = load(dir.path(), &flags);
    assert_eq!((code, said.as_str()), (0, ""), "{report:#}");
    assert_eq!(report["connected"], 5, "{report:#}");
    let sent = report["sent"].as_u64().unwrap();
    // Over TLS, each agent with a token of its own; the pace is the clock's, so no more than its share is due.
    assert!((50..=210).contains(&sent), "{report:#}");
    assert_eq!((&report["acked"], &report["accepted"]), (&report["sent"], &report["sent"]), "{report:#}");
    assert_eq!(accepted(dir.path()) as u64, sent);
    assert_eq!((&report["unacked"], &report["refused"]), (&0.into(), &serde_json::json!({})));
    assert!(report["heartbeats"].as_u64().unwrap() >= 5, "{report:#}");
    assert!(report["ack_latency"]["p99"].as_u64().unwrap() > 0, "{report:#}");
    assert!(std::fs::read_to_string(svg).unwrap().starts_with("<svg"));

    // The minted agents stay, and serve again.
    let (code, report, _) = load(dir.path(), &["--agents", "3", "--mint", "--rate", "max", "--batch", "3"]);
    assert_eq!((code, &report["acked"]), (0, &report["accepted"]), "{report:#}");
    let (_, agents, _) = told(dir.path(), &["agent", "list", "--json"]);
    let agents = serde_json::from_str::<Json>(&agents).unwrap();
    assert_eq!(agents["items"].as_array().unwrap().len(), 1 + 5, "{agents:#}");
}

#[test]
fn a_small_rate_is_kept_in_small_batches() {
    let dir = tempfile::tempdir().unwrap();
    let _serve = Serve::start(dir.path(), &["--no-tls"]);
    let (code, report, _) = load(dir.path(), &["--agents", "1", "--rate", "20"]);
    assert_eq!((code, &report["batch"]), (0, &1.into()), "{report:#}");
    // However slow the machine is, a batch is not sent before it is due.
    let rate = report["events_per_second"].as_f64().unwrap();
    assert!(rate > 0.0 && rate <= 20.0, "{report:#}");
}

#[test]
fn a_brain_found_by_its_state_directory_is_trusted_by_its_own_ca() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let _serve = Serve::start(dir.path(), &[]);
    let other = Serve::start(elsewhere.path(), &[]);
    let mut load = program(dir.path());
    load.env("SSL_CERT_FILE", other.announced["ca_file"].as_str().unwrap());
    let output = load.args(["load", "--rate", "0", "--duration", "100ms", "--json"]).output().unwrap();
    let report: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["connected"]), (Some(0), &1.into()), "{report:#}");
}

#[test]
fn refusals_are_counted_by_reason_and_fail_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &["--no-tls"]);
    let url = serve.announced["url"].as_str().unwrap();
    let tokens = dir.path().join("tokens");
    std::fs::write(&tokens, format!("no-such-token {}\n", "A".repeat(44))).unwrap();
    let (code, report, said) =
        load(dir.path(), &[url, "--agents", "3", "--tokens", tokens.to_str().unwrap()]);
    assert_eq!((code, said.as_str()), (1, "mock-brain: nothing came through\n"), "{report:#}");
    assert_eq!(report["refused"], serde_json::json!({"close 4401: token refused": 3}));

    // A wrong secret shows at the first signed frame.
    let (_, env, _) = told(dir.path(), &["env", "--format", "json"]);
    let env = serde_json::from_str::<Json>(&env).unwrap();
    std::fs::write(&tokens, format!("{} {}\n", env["Z4J_TOKEN"].as_str().unwrap(), "A".repeat(44))).unwrap();
    let (code, report, _) = load(dir.path(), &[url, "--agents", "2", "--tokens", tokens.to_str().unwrap()]);
    assert_eq!((code, &report["connected"]), (1, &2.into()), "{report:#}");
    let ended = report["ended"].as_object().unwrap();
    assert_eq!(ended.values().filter_map(Json::as_u64).sum::<u64>(), 2, "{report:#}");

    // What is given goes before what the running brain has, with an address and without.
    for url in [&[url][..], &[]] {
        let given =
            [url, &["--token", "-bad", "--secret", env["Z4J_HMAC_SECRET"].as_str().unwrap()]].concat();
        let (code, report, said) = load(dir.path(), &given);
        assert_eq!(code, 1, "{url:?} {said}");
        assert_eq!(report["refused"], serde_json::json!({"close 4401: token refused": 1}));
    }
    // Both are url-safe base64, which may begin with a hyphen.
    for secret in ["A".repeat(44), format!("-W{}", "A".repeat(42))] {
        let (code, report, said) = load(dir.path(), &["--secret", &secret]);
        assert_eq!((code, &report["connected"]), (1, &1.into()), "{said} {report:#}");
    }

    // More workers than a token has slots for.
    let (code, report, said) = load(dir.path(), &["--agents", "66", "--rate", "0"]);
    assert_eq!((code, &report["sent"]), (0, &0.into()), "{report:#}");
    assert!(said.contains("66 agents share 1 token(s)"), "{said}");
    assert_eq!(report["ended"], serde_json::json!({"close 4429: too many connections": 2}));
}

#[test]
fn what_cannot_be_begun_says_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    for (flags, code, told) in [
        (&[][..], 1, "no mock-brain is running"),
        (&["http://127.0.0.1:9/"], 2, "--tokens, --token, --mint or --login"),
        (
            &["http://192.0.2.1/", "--token", "t", "--secret", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
            2,
            "--plaintext",
        ),
        (&["http://127.0.0.1:9/", "--token", "t", "--secret", "short"], 2, "Z4J_HMAC_SECRET"),
        (&["--rate", "many"], 2, "`max` is expected"),
        (&["--duration", "0s"], 2, "a time is expected"),
        (&["--agents", "0"], 2, "1..=50000"),
    ] {
        let all = [&["load"], flags].concat();
        let (status, _, said) = super::cli::told(dir.path(), &all);
        assert_eq!((status, said.contains(told)), (code, true), "{flags:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let unreachable = ["http://127.0.0.1:9/", "--token", "t", "--secret", &"A".repeat(43)];
    let (code, report, _) = load(dir.path(), &unreachable);
    assert_eq!((code, &report["refused"]), (1, &serde_json::json!({"connect: Connection refused": 1})));
}
