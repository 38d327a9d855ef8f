//! Who may come, from where, and how often.

use std::time::Duration;

use mock_brain::{Brain, Limits, Options};
use serde_json::{Value as Json, json};

use crate::cli::{Serve, told};
use crate::longpoll::{POLL, PROBE, Poller, parsed};
use crate::support::{Agent, Heard, closed, hello, listener, request, within};

fn start(change: impl FnOnce(&mut Options, &mut Limits)) -> Brain {
    let mut options = Options { tls: false, ..Options::default() };
    let mut limits = Limits::default();
    change(&mut options, &mut limits);
    Brain::start_with(options, listener(), limits).unwrap()
}

async fn poll(brain: &Brain, more: &str) -> (u16, Json) {
    let headers = Poller::new(brain, "n").headers() + more;
    parsed(request(brain, POLL, &headers, "").await)
}

/// A session, or how it was refused.
async fn session(brain: &Brain, more: &str) -> Option<Heard> {
    let authorization = format!("Bearer {}", brain.credentials().token);
    let mut agent = Agent::connect_saying(brain, &authorization, more).await;
    agent.say(hello().to_string()).await;
    Some(agent.hear().await).filter(|heard| !matches!(heard, Heard::Frame(_)))
}

#[tokio::test]
async fn only_admitted_addresses_get_in() {
    let brain = start(|options, _| options.admit = vec!["192.0.2.0/24".parse().unwrap()]);
    // The address is looked at before the token.
    for token in [brain.credentials().token.as_str(), "wrong"] {
        let mut agent = Agent::connect_with(&brain, &format!("Bearer {token}")).await;
        assert_eq!(agent.hear().await, closed(4403));
    }
    let (status, body) = poll(&brain, "").await;
    assert_eq!((status, &body["error"]), (403, &json!("ip_denied")));
    assert_eq!(body["details"], json!({"surface": "agent"}));
    assert!(body["request_id"].as_str().unwrap().starts_with("req_"), "{body}");
    let bad = "Authorization: Bearer wrong\r\n";
    assert_eq!(request(&brain, POLL, bad, "").await.0, 403);
    // What is not of its shape is told first.
    assert_eq!(request(&brain, "GET /api/v1/agent/commands?wait=99", bad, "").await.0, 422);
    // A proxy on 127.0.0.1 is believed.
    let through = "X-Forwarded-For: 192.0.2.7\r\n";
    assert_eq!(poll(&brain, through).await.0, 200);
    assert_eq!(session(&brain, through).await, None);
    assert_eq!(poll(&brain, "X-Forwarded-For: 192.0.2.7, 198.51.100.1\r\n").await.0, 403);
}

#[tokio::test]
async fn only_named_proxies_are_believed() {
    let brain = start(|options, _| {
        options.admit = vec!["127.0.0.1/32".parse().unwrap()];
        options.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    });
    assert_eq!(poll(&brain, "X-Forwarded-For: 192.0.2.7\r\n").await.0, 200);
    assert_eq!(session(&brain, "X-Forwarded-For: 192.0.2.7\r\n").await, None);
}

#[tokio::test]
async fn connects_of_an_address_are_counted() {
    let brain = start(|_, limits| limits.connects = 4);
    let elsewhere = "X-Forwarded-For: 192.0.2.7\r\n";
    // Handshakes and both kinds of requests count together, good or bad.
    assert_eq!(session(&brain, "").await, None);
    assert_eq!(poll(&brain, "").await.0, 200);
    assert_eq!(request(&brain, "POST /api/v1/agent/events", "", "{}").await.0, 422);
    assert_eq!(request(&brain, POLL, "", "").await.0, 401);
    let refused = Heard::Close(4429, "agent connect rate limit exceeded".to_owned());
    assert_eq!(session(&brain, "").await, Some(refused));
    let headers = Poller::new(&brain, "n").headers();
    let (status, answer) = request(&brain, "GET /api/v1/agent/commands?wait=99", &headers, "").await;
    assert_eq!(status, 429, "before the parameters are looked at");
    let seconds = answer.split_once("Retry-After: ").unwrap().1.split_once("\r\n").unwrap().0;
    let told = format!("{{\"detail\":\"too many requests; retry in {seconds} seconds (agent-connect)\"}}");
    assert!(answer.ends_with(&told) && (1..=60).contains(&seconds.parse::<u64>().unwrap()), "{answer}");
    assert_eq!(session(&brain, elsewhere).await, None);
    // Health is no connect.
    assert_eq!(request(&brain, "GET /api/v1/health", "", "").await.0, 200);
}

#[tokio::test]
async fn the_601st_connect_is_refused_unless_it_is_not_counted() {
    for (connects, expected) in [(Limits::default().connects, 429), (0, 401)] {
        let brain = start(|_, limits| limits.connects = connects);
        for number in 1..=600 {
            assert_eq!(request(&brain, POLL, "", "").await.0, 401, "{number}");
        }
        assert_eq!(request(&brain, POLL, "", "").await.0, expected);
    }
}

#[tokio::test]
async fn a_host_header_names_this_brain() {
    let brain =
        start(|options, _| options.hosts = vec!["Tasks.example.com".to_owned(), "192.0.2.9".to_owned()]);
    let ask = async |host: &str| {
        let text = format!("GET /api/v1/agent/commands HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
        crate::support::raw(&brain, &text).await
    };
    for good in
        ["tasks.EXAMPLE.com", "tasks.example.com:443", "192.0.2.9", "localhost:1", "[::1]", "127.0.0.1:7"]
    {
        assert_eq!(ask(&format!("Host: {good}\r\n")).await.0, 401, "{good}");
    }
    assert_eq!(ask("Host: \r\n").await.0, 401);
    for bad in ["other.example.com", "127.0.0.1.", "tasks.example.com:x", "tasks.example.com/", "192.0.2.8"] {
        let (status, answer) = ask(&format!("Host: {bad}\r\n")).await;
        let body: Json = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!((status, &body["error"]), (400, &json!("invalid_host")), "{bad}");
        assert!(body.get("details").is_none(), "{body}");
        assert_eq!(body["message"], "Bad Request: invalid Host header.");
    }
}

#[tokio::test]
async fn the_17th_session_waits_while_16_have_requests() {
    let brain = start(|_, _| ());
    let waiting: Vec<_> = (0..16)
        .map(|number| {
            let (address, headers) =
                (brain.local_addr(), Poller::new(&brain, &format!("n{number}")).headers());
            tokio::task::spawn_blocking(move || {
                use std::io::{Read, Write};
                let mut socket = std::net::TcpStream::connect(address).unwrap();
                let mut ask = |line: &str, end: &str| {
                    let text = format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}{end}\r\n");
                    socket.write_all(text.as_bytes()).unwrap();
                };
                ask(PROBE, "");
                ask("GET /api/v1/agent/commands?wait=2", "Connection: close\r\n");
                let mut answer = String::new();
                socket.read_to_string(&mut answer).unwrap();
                answer
            })
        })
        .collect();
    let poller = Poller::new(&brain, "n17");
    let mut full = None;
    // All of them must be at work at once: it is asked until that is so.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while full.is_none() && tokio::time::Instant::now() < deadline {
        full = Some(poller.get(PROBE).await).filter(|(status, _)| *status == 503);
    }
    let (_, answer) = full.expect("a 503");
    assert!(
        answer.contains("Retry-After: 1\r\n") && answer.contains("per-agent session capacity"),
        "{answer}"
    );
    for answer in waiting {
        let answer = within(answer).await.unwrap();
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "{answer}");
    }
    assert_eq!(poller.get(PROBE).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_takes_them_as_flags_and_keys() {
    let dir = tempfile::tempdir().unwrap();
    for (flag, value) in [("--admit", "10.0.0.0/33"), ("--trusted-proxy", "here"), ("--host", "a b")] {
        let (code, _, error) = told(dir.path(), &["serve", "--listen", "127.0.0.1:0", flag, value]);
        assert_eq!((code, error.contains(flag) && error.contains(value)), (2, true), "{error}");
    }
    let config = dir.path().join("config.toml");
    let path = config.to_str().unwrap();
    std::fs::write(&config, "admit = ['nowhere']").unwrap();
    let (code, _, error) = told(dir.path(), &["serve", "--config", path]);
    assert_eq!((code, error.contains("config.toml\", admit \"nowhere\"")), (2, true), "{error}");
    let text = "tls = false\nadmit = ['192.0.2.1']\ntrusted-proxy = ['127.0.0.0/8']\nhost = ['x.example']\n[limits]\nmax-connects = 0\n";
    std::fs::write(&config, text).unwrap();
    let serve = Serve::start(dir.path(), &["--config", path]);
    let url = serve.announced["url"].as_str().unwrap().trim_end_matches('/').to_owned();
    let address: std::net::SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
    let ask = move |more: &str| {
        use std::io::{Read, Write};
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        write!(socket, "{POLL} HTTP/1.1\r\nHost: x.example\r\nConnection: close\r\n{more}\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("").contains("ip_denied"));
    assert!(ask("X-Forwarded-For: 192.0.2.1\r\n").contains("invalid agent token"));
}
