//! Answers to the upgrade that are no WebSocket of a brain.

use std::io::{Read, Write};

use crate::brain::{http, read_head, serve, serve_http, switching};
use crate::world::{Outcome, World};

const HEALTHY: &str = r#"{"status":"ok"}"#;
const NOT_FOUND: &str = r#"{"detail":"Not Found"}"#;

fn failures(port: u16) -> Outcome<Vec<String>> {
    let mut world = World::new(&format!("http://127.0.0.1:{port}/"))?;
    // These servers know nothing of long-poll, which `auto` would wait for.
    world.set("Z4J_TRANSPORT", "ws");
    world.failures(&["--timeout", "2s"])
}

#[test]
fn an_answer_without_101_is_told_by_what_else_is_there() -> Outcome {
    let stripped = serve_http(|path| match path {
        "/api/v1/health" => http("200 OK", HEALTHY),
        _ => http("404 Not Found", NOT_FOUND),
    })?;
    let elsewhere = serve_http(|_| http("404 Not Found", NOT_FOUND))?;
    let portal = serve_http(|_| http("200 OK", "<html>Please log in</html>"))?;
    let down = serve_http(|_| http("502 Bad Gateway", "<html>"))?;
    let token = serve_http(|_| http("401 Unauthorized", r#"{"detail":"invalid agent token"}"#))?;
    let rows = [
        (stripped, "ws.upgrade-stripped"),
        (elsewhere, "ws.path"),
        (portal, "ws.not-a-brain"),
        (down, "ws.http-status"),
        (token, "ws.token-rejected"),
    ];
    for (port, code) in rows {
        assert_eq!(failures(port)?, [code]);
    }
    Ok(())
}

#[test]
fn a_stripped_upgrade_shows_the_lines_to_add() -> Outcome {
    let port = serve_http(|path| match path {
        "/api/v1/health" => http("200 OK", HEALTHY),
        _ => http("404 Not Found", NOT_FOUND),
    })?;
    let run = World::new(&format!("http://127.0.0.1:{port}/"))?.run(&["doctor"])?;
    assert_eq!(run.code, Some(1));
    let expected = "
  [FAIL] websocket    FAIL: the upgrade was answered with 404 Not Found by Server: nginx, while GET /api/v1/health is fine: a proxy drops the Upgrade header
                      fix: in the nginx location of /ws/agent:
                           proxy_http_version 1.1;
                           proxy_set_header Upgrade $http_upgrade;
                           proxy_set_header Connection \"upgrade\";
                      code: ws.upgrade-stripped
";
    assert!(run.stdout.contains(expected), "{}", run.stdout);
    Ok(())
}

#[test]
fn a_redirect_is_shown_without_what_may_be_secret_in_it() -> Outcome {
    let port = serve_http(|_| {
        "HTTP/1.1 302 Found\r\nLocation: https://u:p4ss@login.example/x?session=1\r\nContent-Length: 0\r\n\r\n"
            .to_owned()
    })?;
    let report = World::new(&format!("http://127.0.0.1:{port}/"))?.doctor(&[])?;
    let message = report["probes"][4]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("302 Found to https://login.example/x"), "{message}");
    assert!(!message.contains("p4ss") && !message.contains("session"), "{message}");
    Ok(())
}

#[test]
fn a_wrong_path_prefix_is_corrected() -> Outcome {
    let port = serve_http(|path| match path {
        "/api/v1/health" => http("200 OK", HEALTHY),
        _ => http("404 Not Found", NOT_FOUND),
    })?;
    let report = World::new(&format!("http://127.0.0.1:{port}/wrong"))?.doctor(&[])?;
    assert_eq!(report["probes"][4]["code"], "ws.path");
    assert_eq!(report["probes"][4]["fix"], format!("Environment=Z4J_BRAIN_URL=http://127.0.0.1:{port}/"));
    Ok(())
}

#[test]
fn a_101_that_is_not_for_us_is_refused() -> Outcome {
    let forged = serve(|mut stream| {
        let head = read_head(&mut stream);
        let _ = stream.write_all(switching(&head).replace("Accept: ", "Accept: x").as_bytes());
    })?;
    let extended = serve(|mut stream| {
        let head = read_head(&mut stream);
        let line = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        let _ = stream.write_all(switching(&head).replace("\r\n\r\n", line).as_bytes());
    })?;
    for port in [forged, extended] {
        assert_eq!(failures(port)?, ["ws.bad-accept"]);
    }
    Ok(())
}

#[test]
fn a_hostile_peer_ends_in_a_code() -> Outcome {
    let endless_head = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        while stream.write_all(&[b'a'; 4096]).is_ok() {}
    })?;
    let endless_body = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'a'; 4096]).is_ok() {}
    })?;
    let garbage = serve(|mut stream| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })?;
    // A frame of 2^62 bytes is announced, after the hello was read.
    let huge_frame = serve(|mut stream| {
        let head = read_head(&mut stream);
        let _ = stream.write_all(switching(&head).as_bytes());
        let _ = stream.read(&mut [0; 64]);
        let _ = stream.write_all(&[0x82, 127, 0x40, 0, 0, 0, 0, 0, 0, 0]);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })?;
    let not_json = serve(|mut stream| {
        let head = read_head(&mut stream);
        let _ = stream.write_all(switching(&head).as_bytes());
        let _ = stream.write_all(&[0x82, 1, b'{']);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })?;
    let rows = [
        (endless_head, "ws.not-a-brain"),
        (endless_body, "ws.not-a-brain"),
        (garbage, "ws.not-a-brain"),
        (huge_frame, "ws.dropped"),
        (not_json, "ws.not-a-brain"),
    ];
    for (port, code) in rows {
        assert_eq!(failures(port)?, [code]);
    }
    Ok(())
}

#[test]
fn a_close_is_told_by_its_code() -> Outcome {
    for (code, expected) in [
        (4401_u16, "ws.token-rejected"),
        (4403, "ws.address-refused"),
        (4426, "ws.protocol-refused"),
        (4429, "ws.rate-limited"),
        (1012, "ws.closed"),
    ] {
        let port = serve(move |mut stream| {
            let head = read_head(&mut stream);
            let _ = stream.write_all(switching(&head).as_bytes());
            let [high, low] = code.to_be_bytes();
            let _ = stream.write_all(&[0x88, 2, high, low]);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        })?;
        assert_eq!(failures(port)?, [expected]);
    }
    Ok(())
}
