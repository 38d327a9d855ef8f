//! Plain HTTP on the agent port.

use futures_util::SinkExt;
use serde_json::Value as Json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use mock_brain::{Brain, Limits, Options};

use crate::support::{hello, listener, plain, raw, request, start, tcp, tls, with_limits, within};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn body(answer: &str) -> Json {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn routes() {
    let brain = plain().await;
    let cases = [
        ("GET /api/v1/health", 200, r#"{"status":"ok"}"#),
        ("GET /api/v1/health/ready", 200, r#"{"status":"ready"}"#),
        ("GET /ws/agent", 404, r#"{"detail":"Not Found"}"#),
        ("POST /ws/agent", 405, r#"{"detail":"Method Not Allowed"}"#),
        ("GET /api/v1/nothing", 404, r#"{"detail":"Not Found"}"#),
        ("GET /healthz", 404, r#"{"detail":"Not Found"}"#),
        ("GET /api/v1/agent/events", 404, r#"{"detail":"Not Found"}"#),
        ("POST /api/v1/agent/commands", 405, r#"{"detail":"Method Not Allowed"}"#),
        ("HEAD /api/v1/agent/commands", 405, ""),
        ("GET /ws", 404, r#"{"detail":"Not Found"}"#),
        ("GET /ws/", 404, r#"{"detail":"Not Found"}"#),
        ("GET /ws/agent/", 404, r#"{"detail":"Not Found"}"#),
        ("GET /ws/agentx", 404, r#"{"detail":"Not Found"}"#),
        ("GET /ws//agent", 404, r#"{"detail":"Not Found"}"#),
        ("GET //ws/agent", 404, r#"{"detail":"Not Found"}"#),
        ("GET /wsx", 200, "<!doctype html>"),
        ("GET /metrics", 401, "Www-Authenticate: Bearer\r\n"),
        ("GET /elsewhere", 200, "<!doctype html>"),
    ];
    for (line, status, part) in cases {
        let (got, answer) = request(&brain, line, "", "").await;
        assert_eq!(got, status, "{line}");
        assert!(answer.contains(part), "{line}: {answer}");
        assert!(answer.contains("X-Request-Id: req_"), "{line}: {answer}");
    }
    let (_, answer) = request(&brain, "GET /api/v1/health", "X-Request-Id: mine\r\n", "").await;
    assert!(answer.contains("X-Request-Id: mine\r\n"));
}

#[tokio::test]
async fn upgrades() {
    let brain = plain().await;
    let get = |path: &str, connection: &str, more: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: odd.invalid\r\nConnection: {connection}\r\n{more}\r\n")
    };
    let good = format!("{UPGRADE}Sec-WebSocket-Version: 13\r\n");
    let cases = [
        // Without a token the session is closed at once, which ends the answer.
        (get("/ws/agent", "Upgrade", &good), 101),
        (get("/ws/agent?token=x", "keep-alive, upgrade", &good), 101),
        (get("/ws/agent/", "Upgrade", &good), 403),
        (get("/ws/agent", "Upgrade", &format!("{UPGRADE}Sec-WebSocket-Version: 12\r\n")), 400),
        (get("/ws/agent", "Upgrade", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"), 400),
        (get("/ws/agent", "close", &good).replace("odd.invalid", "localhost"), 404),
        (
            get("/ws/agent", "Upgrade", &good)
                .replace("HTTP/1.1", "HTTP/1.0")
                .replace("odd.invalid", "localhost"),
            404,
        ),
        (get("/ws/agent", "close", &good), 400),
        (get("/ws/agent", "Upgrade", UPGRADE), 400),
        (get("/ws/agent", "Upgrade", &format!("{good}Sec-WebSocket-Version: 13\r\n")), 400),
        (get("/ws/agent", "Upgrade", &format!("{good}{KEY}")), 400),
        (get("/ws/agent", "Upgrade", &good.replace("dGhl", "dGh!")), 400),
        (get("/ws/agent", "Upgrade", &good.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j")), 400),
    ];
    for (text, status) in cases {
        let (got, answer) = end(&brain, &text).await;
        assert_eq!(got, status, "{text}{answer}");
        if status == 403 {
            assert!(answer.contains("Connection: close\r\n"), "{answer}");
        }
        if !text.contains("Version:") {
            assert!(answer.contains("missing Sec-WebSocket-Version"), "{answer}");
        }
        if status == 101 {
            assert!(answer.contains("Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
            assert!(answer.contains("Upgrade: websocket\r\n") && answer.contains("Connection: Upgrade\r\n"));
        }
    }
}

/// Whether head and body are there.
fn is_whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let length = head.split("Content-Length: ").nth(1).and_then(|rest| rest.lines().next());
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

/// As `raw`, for an answer that the brain may leave open: it reads one answer and drops the connection.
async fn end(brain: &Brain, text: &str) -> (u16, String) {
    let mut socket = tcp(brain).await;
    within(socket.write_all(text.as_bytes())).await.unwrap();
    let mut answer = String::new();
    while !is_whole(&answer) {
        let mut buffer = [0; 4096];
        let count = within(socket.read(&mut buffer)).await.unwrap();
        assert!(count > 0, "{text}{answer}");
        answer += &String::from_utf8_lossy(&buffer[..count]);
    }
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

#[tokio::test]
async fn host_names() {
    let options = Options {
        tls: false,
        names: vec!["tasks.example.com".to_owned(), "2001:DB8::1".to_owned()],
        ..Default::default()
    };
    let brain = start(options).await;
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let cases = [
        ("localhost:1", 404),
        ("LOCALHOST", 404),
        ("127.0.0.1:7700", 404),
        ("[::1]:7700", 404),
        ("tasks.example.com", 404),
        ("", 404),
        ("other.example.com", 400),
        ("127.0.0.1.", 400),
        ("localhost:x", 400),
        ("localhost:", 400),
        ("[2001:db8:0::1]:1", 404),
        ("2001:db8::1", 400),
        ("[2001:db8::2]", 400),
        ("192.0.2.1:7700", 400),
        ("127.0.0.2", 400),
        ("::1", 400),
        (machine.trim(), 404),
    ];
    for (host, status) in cases {
        let text = format!("GET /ws/agent HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(raw(&brain, &text).await.0, status, "{host}");
    }
    let text = "GET /ws/agent HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n";
    let refusal = body(&raw(&brain, text).await.1);
    assert_eq!((refusal["error"].as_str(), refusal.get("details")), (Some("invalid_host"), None));
    let text = "GET /api/v1/health HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(&brain, text).await.0, 200);
}

#[tokio::test]
async fn the_address_listened_on_is_a_host_name() {
    let socket = std::net::TcpListener::bind("127.0.0.9:0").unwrap();
    let options = Options { tls: false, ..Default::default() };
    let brain = Brain::start(options, socket).await.unwrap();
    for (host, status) in [("127.0.0.9:1", 404), ("127.0.0.8", 400)] {
        let text = format!("GET /ws/agent HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(raw(&brain, &text).await.0, status, "{host}");
    }
}

#[tokio::test]
async fn silent_connections_are_ended() {
    let head = std::time::Duration::from_millis(50);
    let limits = Limits { head, ..Limits::default() };
    let brain = with_limits(limits);
    assert_eq!(raw(&brain, "").await.1, "");
    assert_eq!(raw(&brain, "GET / HTTP/1.1\r\nHost: local").await.1, "");
    let answer = raw(&brain, "GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(answer.0, 200, "and what is idle after an answer is ended, too");
    let brain = Brain::start_with(Options::default(), listener(), limits).unwrap();
    let mut stream = tls(&brain, "localhost").await.unwrap();
    let mut bytes = Vec::new();
    let _ = within(stream.read_to_end(&mut bytes)).await;
    assert!(bytes.is_empty(), "{bytes:?}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let body = std::time::Duration::from_millis(50);
    let brain = with_limits(Limits { body, ..Limits::default() });
    let head = "POST /api/v1/agent/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let (status, answer) = raw(&brain, &format!("{head}Content-Length: 100\r\n\r\n{{")).await;
    assert_eq!((status, answer.contains("Connection: close\r\n")), (408, true), "{answer}");
    assert!(self::body(&answer)["detail"].is_string(), "{answer}");
}

#[tokio::test]
async fn large_heads_are_refused() {
    let brain = plain().await;
    let head = format!("X-Long: {}\r\n", "x".repeat(100_000));
    let text = format!("GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n{head}\r\n");
    let (status, _) = end(&brain, &text).await;
    assert_eq!(status, 431);
}

#[tokio::test]
async fn a_bad_acceptance_is_for_no_key() {
    let brain = plain().await;
    brain.set_fault("ws.bad-accept".parse().unwrap()).unwrap();
    // RFC 6455, 1.3 and another key, with their acceptances.
    for (key, right) in [
        ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("AQIDBAUGBwgJCgsMDQ4PEA==", "C/0nmHhBztSRGR1CwL6Tf4ZjwpY="),
    ] {
        let mut socket = tcp(&brain).await;
        let request = format!(
            "GET /ws/agent HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        );
        within(socket.write_all(request.as_bytes())).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(socket.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let told = head.split("sec-websocket-accept: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
        assert_ne!(told, right.to_lowercase());
        assert_eq!(told.len(), right.len(), "{head}");
    }
}

/// What one read has of an answer.
async fn at_once(socket: &mut tokio::net::TcpStream) -> String {
    let mut buffer = [0; 4096];
    let count = within(socket.read(&mut buffer)).await.unwrap();
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

#[tokio::test]
async fn only_the_answer_that_is_struck_dribbles() {
    let brain = plain().await;
    let dribble = || brain.set_fault("http.dribble(delay=1ms) first 1".parse().unwrap()).unwrap();
    dribble();
    let mut socket = tcp(&brain).await;
    let request = "GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    within(socket.write_all(request.as_bytes())).await.unwrap();
    let mut answer = String::new();
    while !is_whole(&answer) {
        answer += &at_once(&mut socket).await;
    }
    within(socket.write_all(request.as_bytes())).await.unwrap();
    let answer = at_once(&mut socket).await;
    assert!(is_whole(&answer), "the next answer of the connection comes at once: {answer}");
    dribble();
    let request = format!(
        "GET /ws/agent HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Authorization: Bearer {}\r\n{UPGRADE}\r\n",
        brain.credentials().token
    );
    within(socket.write_all(request.as_bytes())).await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\n") {
        answer += &at_once(&mut socket).await;
    }
    let mut agent = WebSocketStream::from_raw_socket(socket, Role::Client, None).await;
    within(agent.send(Message::binary(hello().to_string()))).await.unwrap();
    let acknowledgement = at_once(&mut agent.into_inner()).await;
    assert!(acknowledgement.ends_with('}'), "a 101 was the answer: {acknowledgement}");
}
