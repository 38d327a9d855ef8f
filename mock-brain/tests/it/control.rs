//! The control API: who may use it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value as Json;

use crate::cli::Serve;

fn ask(address: &str, host: &str, headers: &str, line: &str) -> (u16, Json) {
    let mut socket = TcpStream::connect(address).unwrap();
    let text = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    socket.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap_or_default())
}

/// A running brain's API.
struct Api {
    _dir: tempfile::TempDir,
    _serve: Serve,
    address: String,
    bearer: String,
}

impl Api {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let serve = Serve::start(dir.path(), &[]);
        let file = dir.path().join(".local/state/mock-brain/control.json");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let control: Json = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        assert_eq!(control["url"], serve.announced["control_url"]);
        assert_eq!(control["pid"], serve.announced["pid"]);
        let address = control["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        let bearer = format!("Authorization: Bearer {}\r\n", control["token"].as_str().unwrap());
        Self { _dir: dir, _serve: serve, address, bearer }
    }

    /// Asks, and holds the answer to a status; refusals have both texts.
    fn expect(&self, host: &str, headers: &str, line: &str, status: u16) -> Json {
        let (got, body) = ask(&self.address, host, headers, line);
        assert_eq!(got, status, "{host} {headers} {line}: {body}");
        if status >= 400 {
            assert!(body["error"].is_string() && body["message"].is_string(), "{line}: {body}");
        }
        body
    }
}

#[test]
fn only_its_own_clients_may_ask() {
    let api = Api::start();
    let (address, bearer) = (api.address.as_str(), api.bearer.as_str());
    let port = address.rsplit_once(':').unwrap().1;
    let with = |header: &str| format!("{bearer}{header}\r\n");
    let good = [
        (address.to_owned(), bearer.to_owned()),
        (format!("localhost:{port}"), bearer.to_owned()),
        (address.to_owned(), with("Sec-Fetch-Site: none")),
        (address.to_owned(), with("Sec-Fetch-Site: same-origin")),
    ];
    for (host, headers) in good {
        api.expect(&host, &headers, "GET /mock/v1/events", 200);
    }
    let bad = [
        (format!("evil.example:{port}"), bearer.to_owned(), "foreign_host"),
        ("localhost".to_owned(), bearer.to_owned(), "foreign_host"),
        (String::new(), bearer.to_owned(), "foreign_host"),
        (address.to_owned(), with(&format!("Origin: http://{address}")), "foreign_origin"),
        (address.to_owned(), with("Origin: null"), "foreign_origin"),
        (address.to_owned(), with("Sec-Fetch-Site: cross-site"), "foreign_origin"),
        (address.to_owned(), with("Sec-Fetch-Site: same-site"), "foreign_origin"),
        (address.to_owned(), with("Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site"), "foreign_origin"),
        (address.to_owned(), String::new(), "unauthenticated"),
        (address.to_owned(), "Authorization: Bearer x\r\n".to_owned(), "unauthenticated"),
    ];
    for (host, headers, error) in bad {
        let status = if error == "unauthenticated" { 401 } else { 403 };
        for line in ["GET /mock/v1/env", "POST /mock/v1/shutdown", "GET /mock/v1/openapi.json", "GET /none"] {
            assert_eq!(api.expect(&host, &headers, line, status)["error"], error, "{host} {headers} {line}");
        }
    }
}

#[test]
fn answers_and_refusals() {
    let api = Api::start();
    for (line, status) in [
        ("GET /mock/v1/env", 200),
        ("GET /mock/v1/sessions", 200),
        ("GET /mock/v1/sessions?agent=nope", 404),
        ("GET /mock/v1/violations?agent=nope", 404),
        ("GET /mock/v1/violations?agent=demo-agent", 200),
        ("GET /mock/v1/violations?agnet=a", 400),
        ("GET /mock/v1/journal?agent=nope", 404),
        ("GET /mock/v1/journal?kind=bogus", 422),
        ("GET /mock/v1/journal?kind=event&type=any.thing&agent=demo-agent", 200),
        ("GET /mock/v1/violations", 200),
        ("GET /mock/v1/clock", 200),
        ("GET /mock/v1/faults", 200),
        ("DELETE /mock/v1/faults", 200),
        ("DELETE /mock/v1/faults/tls.expired", 404),
        ("POST /mock/v1/faults", 400),
        ("PUT /mock/v1/faults", 405),
        ("DELETE /mock/v1/faults/%ff", 400),
        ("GET /mock/v1/env?agent=a&agent=b", 400),
        ("GET /mock/v1/env?agnet=a", 400),
        ("GET /mock/v1/nothing", 404),
        ("POST /mock/v1/wait?timeout=0", 400),
        ("POST /mock/v1/projects/demo/archive", 409),
        ("POST /mock/v1/projects/none/restore", 404),
    ] {
        api.expect(&api.address, &api.bearer, line, status);
    }
}

#[test]
fn the_document_describes_what_is_there() {
    let api = Api::start();
    let document = api.expect(&api.address, &api.bearer, "GET /mock/v1/openapi.json", 200);
    let mut ids = std::collections::HashSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{path}: {operation}");
            if path.ends_with("/shutdown") {
                continue;
            }
            let line = format!("{} {}", method.to_uppercase(), path.replace(['{', '}'], ""));
            let (status, answer) = ask(&api.address, &api.address, &api.bearer, &line);
            assert!(status != 405 && answer["message"] != "no such endpoint", "{line}: {status} {answer}");
        }
    }
    assert!(ids.len() > 20, "{ids:?}");
    let codes = document["components"]["schemas"]["ErrorCode"]["enum"].as_array().unwrap();
    assert!(codes.contains(&"wait_timed_out".into()), "{codes:?}");
}
