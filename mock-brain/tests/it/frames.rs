//! `frame canonical|sign|verify`, against the protocol's vectors.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value as Json, json};

use crate::cli::{program, told};

fn vectors(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/tests/vectors").join(name)
}

fn read(name: &str) -> Json {
    serde_json::from_slice(&std::fs::read(vectors(name)).unwrap()).unwrap()
}

/// Runs with some input; exit code, stdout, stderr.
fn fed(dir: &Path, arguments: &[&str], input: &[u8]) -> (i32, Vec<u8>, String) {
    let mut child = program(dir)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that refuses its arguments ends without reading.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), output.stdout, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn canonical_is_what_the_vectors_say() {
    let dir = tempfile::tempdir().unwrap();
    for case in read("canonical_json.json")["cases"].as_array().unwrap() {
        let wire = case["wire"].as_str().unwrap();
        let (code, out, error) = fed(dir.path(), &["frame", "canonical"], wire.as_bytes());
        match case["canonical"].as_str() {
            Some(canonical) => {
                assert_eq!((code, out.as_slice()), (0, canonical.as_bytes()), "{}", case["name"]);
            }
            None => {
                assert_eq!(
                    (code, out.len(), error.matches('\n').count()),
                    (1, 0, 1),
                    "{}: {error}",
                    case["name"]
                );
            }
        }
    }
}

#[test]
fn sessions_are_what_the_vectors_say() {
    let dir = tempfile::tempdir().unwrap();
    let file = vectors("sessions.json");
    let (code, out, error) = told(dir.path(), &["frame", "verify", "--session", file.to_str().unwrap()]);
    assert_eq!((code, error.as_str()), (0, ""));
    let vectors = read("sessions.json");
    let steps = vectors["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|session| session["steps"].as_array().unwrap());
    let expected: String = steps
        .map(|step| {
            let reason = step["reason"].as_str().map(|reason| format!(" {reason}")).unwrap_or_default();
            format!("{}{reason}\n", step["verdict"].as_str().unwrap())
        })
        .collect();
    assert_eq!(out, expected);
}

#[test]
fn a_session_file_that_expects_otherwise_is_a_no() {
    let dir = tempfile::tempdir().unwrap();
    let mut vectors = read("sessions.json");
    vectors["sessions"] = json!([{"name": "x", "steps": [{"frame": "{", "verdict": "ok"}]}]);
    let file = dir.path().join("sessions.json");
    std::fs::write(&file, vectors.to_string()).unwrap();
    let (code, out, _) = told(dir.path(), &["frame", "verify", "--session", file.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (1, "protocol_incompatible not_json\n"));
    std::fs::write(&file, "{}").unwrap();
    assert_eq!(told(dir.path(), &["frame", "verify", "--session", file.to_str().unwrap()]).0, 2);
}

#[test]
fn what_is_signed_verifies_once() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=\n").unwrap();
    let secret = secret.to_str().unwrap();
    let keys = ["--secret-file", secret, "--agent-id", "a", "--project-id", "p", "--session-id", "s"];
    let with = |command: &'static str| ["frame", command].into_iter().chain(keys).collect::<Vec<_>>();
    let unsigned = br#"{"v":2,"type":"heartbeat","id":"h","payload":{"x":1e16}}"#;
    let (code, signed, _) = fed(dir.path(), &with("sign"), unsigned);
    assert_eq!((code, signed.last()), (0, Some(&b'\n')));
    let twice = [signed.as_slice(), &signed].concat();
    let (code, out, _) = fed(dir.path(), &with("verify"), &signed);
    assert_eq!((code, out.as_slice()), (0, &b"ok\n"[..]));
    let (code, out, _) = fed(dir.path(), &with("verify"), &twice);
    assert_eq!(
        (code, String::from_utf8(out).unwrap().as_str()),
        (1, "ok\ninvalid_signature seq_not_increasing\n")
    );
    let bad: [(&[u8], &str); 8] = [
        (b"[]", "not_an_object"),
        (b"{", "stdin"),
        (br#"{"v":2,"type":"heartbeat","id":"h","payload":{"x": NaN}}"#, "sign"),
        (br#"{"type":"heartbeat","id":"h","payload":{}}"#, "version_missing"),
        (br#"{"v":2,"id":"h","payload":{}}"#, "type_missing"),
        (br#"{"v":2,"type":"hello","id":"h","payload":{}}"#, "hello are not signed"),
        (br#"{"v":2,"type":"hello_ack","id":"h","payload":{}}"#, "hello_ack are not signed"),
        (br#"{"v":2,"type":"nope","id":"h","payload":{}}"#, "type_unknown"),
    ];
    for (bad, reason) in bad {
        let (code, out, error) = fed(dir.path(), &with("sign"), bad);
        assert!(error.contains(reason), "{reason} in {error}");
        assert_eq!((code, out.len(), error.matches('\n').count()), (1, 0, 1), "{error}");
    }
    std::fs::write(secret, "short").unwrap();
    assert_eq!(fed(dir.path(), &with("sign"), unsigned).0, 2);
    let (code, _, error) = told(dir.path(), &["frame", "verify"]);
    assert_eq!((code, error.matches('\n').count()), (2, 1), "{error}");
}
