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

#[test]
fn only_its_own_clients_may_ask() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &[]);
    let file = dir.path().join(".local/state/mock-brain/control.json");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let control: Json = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(control["url"], serve.announced["control_url"]);
    assert_eq!(control["pid"], serve.announced["pid"]);
    let address = control["url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let port = address.rsplit_once(':').unwrap().1;
    let bearer = format!("Authorization: Bearer {}\r\n", control["token"].as_str().unwrap());
    let local = format!("localhost:{port}");
    let foreign = format!("evil.example:{port}");
    let with_origin = format!("{bearer}Origin: http://{address}\r\n");
    let cases = [
        (address, bearer.as_str(), "GET /mock/v1/env", 200),
        (&local, &bearer, "GET /mock/v1/events", 200),
        (address, &bearer, "GET /mock/v1/sessions", 200),
        (address, &bearer, "GET /mock/v1/violations", 200),
        (address, &bearer, "GET /mock/v1/faults", 200),
        (address, &bearer, "DELETE /mock/v1/faults", 200),
        (address, &bearer, "DELETE /mock/v1/faults/tls.expired", 404),
        (address, &bearer, "POST /mock/v1/faults", 400),
        (address, &bearer, "PUT /mock/v1/faults", 405),
        (address, &bearer, "DELETE /mock/v1/faults/%ff", 400),
        (address, &bearer, "GET /mock/v1/env?agent=a&agent=b", 400),
        (address, &bearer, "GET /mock/v1/env?agnet=a", 400),
        (address, &bearer, "GET /mock/v1/nothing", 404),
        (address, "", "GET /mock/v1/env", 401),
        (address, "Authorization: Bearer x\r\n", "GET /mock/v1/env", 401),
        (address, "", "GET /mock/v1/nothing", 401),
        (&foreign, &bearer, "GET /mock/v1/env", 403),
        (address, &with_origin, "GET /mock/v1/env", 403),
    ];
    for (host, headers, line, status) in cases {
        let (got, body) = ask(address, host, headers, line);
        assert_eq!(got, status, "{host} {headers} {line}: {body}");
        if status >= 400 {
            assert!(body["error"].is_string() && body["message"].is_string(), "{line}: {body}");
        }
    }
}
