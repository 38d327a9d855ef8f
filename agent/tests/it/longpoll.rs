//! Long-poll: as the transport, as what `auto` falls back to, and as the proof where no hello may be sent.

use std::io::Write;

use z4j_protocol::{Binding, FrameType, HmacSecret, Signer, Value};

use crate::brain::{Manners, http, now, read_body, read_head, serve, serve_http, switching};
use crate::world::{Outcome, SECRET, World, notes};

const IDS: &str = "x-z4j-agent-id: 44c7ca73-5a51-496c-84a8-8e60a719ff98\r\n\
                   x-z4j-project-id: fb76ac03-c5fe-4c21-95cc-b9d59cf3f2bc\r\n";
const TAKEN: &str = r#"{"accepted":1,"rejected":0,"errors":[],"error_code":null}"#;

/// The answer of a brain to a long-poll request.
fn longpoll(path: &str, events: &str) -> Option<String> {
    if path.starts_with("/api/v1/agent/commands?wait=0&max_frames=0") {
        return Some(http("200 OK", r#"{"frames":[]}"#).replace("Server: nginx\r\n", IDS));
    }
    (path == "/api/v1/agent/events").then(|| events.to_owned())
}

fn brain(events: &'static str) -> Outcome<u16> {
    serve_http(move |path| match path {
        "/api/v1/health" => http("200 OK", r#"{"status":"ok"}"#),
        _ => longpoll(path, events).unwrap_or_else(|| http("404 Not Found", "{}")),
    })
}

#[test]
fn a_round_trip_over_longpoll_is_reported_in_its_own_words() -> Outcome {
    let events = http("200 OK", TAKEN);
    let port = brain(events.leak())?;
    let mut world = World::new(&format!("http://127.0.0.1:{port}/"))?;
    world.set("Z4J_TRANSPORT", "longpoll");
    let report = world.doctor(&[])?;
    let message = format!("OK: long-poll round trip to http://127.0.0.1:{port}/ succeeded");
    assert_eq!(report["probes"][4]["message"], message);
    assert_eq!(notes(&report), ["note.project-unverified"]);
    world.set("Z4J_PROJECT_ID", "00000000-0000-4000-8000-000000000000");
    assert_eq!(world.failures(&[])?, ["ws.project-mismatch"]);
    Ok(())
}

const AGENT: &str = "44c7ca73-5a51-496c-84a8-8e60a719ff98";
const PROJECT: &str = "fb76ac03-c5fe-4c21-95cc-b9d59cf3f2bc";

/// What a brain of old answers to a probe: 0 frames is not enough for it, and with one it hands out a command.
/// It names no ids.
fn probed_of_old(path: &str, head: &str) -> Outcome<String> {
    if path.ends_with("max_frames=0") {
        return Ok(http("422 Unprocessable Entity", "{}"));
    }
    let nonce = head.lines().find_map(|line| line.strip_prefix("X-Z4J-Session-Nonce: "));
    let ids = Binding {
        agent_id: AGENT.into(),
        project_id: PROJECT.into(),
        session_id: nonce.unwrap_or_default().into(),
    };
    let command = Value::from_serialize(&serde_json::json!({
        "action": "retry_task", "target": {"type": "task", "id": "t"}, "parameters": {}, "timeout_seconds": 60,
    }))?;
    let id = "4c5f2f0e-3e1b-4d7e-9a51-0c2f3f1f9d11";
    let mut signer = Signer::new(&HmacSecret::parse(SECRET)?, ids);
    let frame = signer.sign(FrameType::Command, id, command, now(Manners::default()), [1; 16])?;
    Ok(http("200 OK", &serde_json::json!({ "frames": [frame] }).to_string()))
}

#[test]
fn a_brain_of_old_is_good_to_the_doctor_as_it_is_to_the_agent() -> Outcome {
    let (sender, posts) = std::sync::mpsc::channel();
    let port = serve(move |mut stream| {
        let head = read_head(&mut stream);
        let body = read_body(&mut stream, &head);
        let path = head.split(' ').nth(1).unwrap_or_default();
        let answer = if path == "/api/v1/agent/events" {
            let _ = sender.send(body);
            http("200 OK", TAKEN)
        } else {
            probed_of_old(path, &head).unwrap_or_default()
        };
        let _ = stream.write_all(answer.as_bytes());
    })?;
    let mut world = World::new(&format!("http://127.0.0.1:{port}/"))?;
    world.set("Z4J_TRANSPORT", "longpoll").set("Z4J_PROJECT_ID", PROJECT);
    assert_eq!(world.failures(&[])?, ["ws.not-a-brain"]);
    world.set("Z4J_AGENT_ID", AGENT);
    let report = world.doctor(&[])?;
    assert_eq!(report["probes"][4]["status"], "ok", "{report:#}");
    let posts: Vec<String> = posts.try_iter().collect();
    assert_eq!(posts.len(), 2, "{posts:?}");
    assert!(posts[0].contains("command_ack") && posts[0].contains("received by z4j doctor"), "{posts:?}");
    assert!(posts[1].contains("event_batch"), "{posts:?}");
    Ok(())
}

#[test]
fn a_refused_batch_is_about_the_secret_or_the_clock() -> Outcome {
    let rows = [
        ("409 Conflict", "ws.hmac-mismatch"),
        ("401 Unauthorized", "ws.token-rejected"),
        ("429 Too Many Requests", "ws.rate-limited"),
        ("500 Internal Server Error", "ws.http-status"),
    ];
    for (status, code) in rows {
        let port = brain(http(status, "{}").leak())?;
        let mut world = World::new(&format!("http://127.0.0.1:{port}/"))?;
        world.set("Z4J_TRANSPORT", "longpoll");
        assert_eq!(world.failures(&[])?, [code]);
    }
    let port = serve_http(|path| {
        let dated = format!("{IDS}Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        longpoll(path, &http("409 Conflict", "{}")).unwrap_or_default().replace(IDS, &dated)
    })?;
    let mut world = World::new(&format!("http://127.0.0.1:{port}/"))?;
    world.set("Z4J_TRANSPORT", "longpoll");
    assert_eq!(world.failures(&[])?, ["ws.clock-skew"]);
    Ok(())
}

#[test]
fn what_longpoll_carries_is_a_note_to_the_failure() -> Outcome {
    let port = brain(http("200 OK", TAKEN).leak())?;
    let mut world = World::new(&format!("http://127.0.0.1:{port}/"))?;
    let report = world.doctor(&[])?;
    assert_eq!(report["probes"][4]["code"], "ws.upgrade-stripped");
    assert_eq!(notes(&report), ["note.longpoll-works"]);
    world.set("Z4J_TRANSPORT", "ws");
    assert!(notes(&world.doctor(&[])?).is_empty());
    Ok(())
}

#[test]
fn without_known_capabilities_no_hello_is_sent() -> Outcome {
    let (sender, heard) = std::sync::mpsc::channel();
    let port = serve(move |mut stream| {
        let head = read_head(&mut stream);
        read_body(&mut stream, &head);
        let path = head.split(' ').nth(1).unwrap_or_default();
        if let Some(answer) = longpoll(path, &http("200 OK", TAKEN)) {
            let _ = stream.write_all(answer.as_bytes());
            return;
        }
        let _ = stream.write_all(switching(&head).as_bytes());
        // Whatever the client sends until it closes: a masked close frame of 1000 is 8 bytes.
        let mut said = Vec::new();
        let _ = std::io::copy(&mut std::io::Read::take(&mut stream, 8), &mut said);
        let _ = sender.send(said);
    })?;
    let mut world = World::new(&format!("http://127.0.0.1:{port}/"))?;
    world.without_python();
    // A bare agent may be a Python one as well: this brain does not say that it is for trying things.
    for framework in ["flask", "bare"] {
        let report = world.doctor(&["--framework", framework])?;
        assert_eq!(report["ok"], true, "{report:#}");
        let details = &report["probes"][4]["details"];
        assert!(details["no_hello"].as_str().is_some_and(|why| why.contains("VIRTUAL_ENV")), "{details}");
        assert_eq!(details["remote_authentication_verified"], true);
        assert_eq!(details["remote_signature_verified"], false);
        let said = heard.recv()?;
        assert_eq!((said.len(), said.first()), (8, Some(&0x88)), "a close frame and nothing before it");
    }
    Ok(())
}

#[test]
fn where_longpoll_is_not_reached_a_good_upgrade_is_no_failure() -> Outcome {
    let rows = [
        ("404 Not Found", "{}", "unknown"),
        ("403 Forbidden", "<html>", "unknown"),
        ("502 Bad Gateway", "", "unknown"),
        ("401 Unauthorized", "<html>log in</html>", "unknown"),
        ("401 Unauthorized", r#"{"detail":"invalid agent token"}"#, "fail"),
        ("403 Forbidden", r#"{"error":"ip_denied"}"#, "fail"),
        ("429 Too Many Requests", "", "fail"),
    ];
    for (status, body, expected) in rows {
        let port = serve(move |mut stream| {
            let head = read_head(&mut stream);
            let upgrade = head.contains("Upgrade: websocket");
            let answer = if upgrade { switching(&head) } else { http(status, body) };
            let _ = stream.write_all(answer.as_bytes());
            if upgrade {
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
            }
        })?;
        let mut world = World::new(&format!("http://127.0.0.1:{port}/"))?;
        world.without_python();
        let report = world.doctor(&[])?;
        let probe = &report["probes"][4];
        assert_eq!(probe["status"], expected, "{status}: {probe:#}");
        if expected == "unknown" {
            let words = ["the upgrade to", "token and signature could not be proven", "VIRTUAL_ENV", status];
            let message = probe["message"].as_str().unwrap_or_default();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
    }
    Ok(())
}
