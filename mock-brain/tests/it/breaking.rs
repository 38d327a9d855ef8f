//! Faults of an established session and of its connection, as a client meets them.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use mock_brain::{Brain, NewCommand, Options};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::longpoll::{POLL, PROBE, Poller};
use crate::support::{Agent, Heard, at, event, hello, hello_with, plain, request, start, tcp, within};
use crate::violations::{rules, strict};

pub(crate) fn set(brain: &Brain, text: &str) {
    brain.set_fault(text.parse().unwrap()).unwrap();
}

pub(crate) fn batch(id: &str, task: &str) -> Json {
    json!({"v": 2, "type": "event_batch", "id": id, "payload": {"events": [event(task, "task.sent", &at(0))]}})
}

/// Whether nothing comes within a moment. Only the absence of a frame is judged by time.
async fn is_silent(agent: &mut Agent) -> bool {
    tokio::time::timeout(Duration::from_millis(150), agent.hear()).await.is_err()
}

#[tokio::test]
async fn signatures_that_do_not_verify() {
    let brain = plain().await;
    set(&brain, "ws.bad-signature at ack 2");
    set(&brain, "ws.bad-signature at command first 1");
    let mut agent = Agent::online(&brain).await;
    agent.batch(json!([])).await;
    let mut verifier = agent.take_verifier();
    brain.send_command(NewCommand::new("x")).unwrap();
    agent.say_signed(&batch("b", "t")).await;
    for _ in 0..2 {
        let text = agent.hear().await.frame().to_string();
        let refusal = verifier.verify(text.as_bytes(), crate::support::now()).unwrap_err();
        assert_eq!(refusal.reason, z4j_protocol::Reason::HmacMismatch);
    }
}

/// The next WebSocket frame: its first byte, the byte with the length, and the payload's length.
async fn frame(socket: &mut tokio::net::TcpStream) -> (u8, u8, u64) {
    let (head, short) = (socket.read_u8().await.unwrap(), socket.read_u8().await.unwrap());
    let length = match short {
        127 => socket.read_u64().await.unwrap(),
        126 => socket.read_u16().await.unwrap().into(),
        short => short.into(),
    };
    socket.read_exact(&mut vec![0; usize::try_from(length).unwrap()]).await.unwrap();
    (head, short, length)
}

#[tokio::test]
async fn fragments_are_good_frames() {
    let brain = plain().await;
    set(&brain, "ws.frame-fragmented");
    let mut agent = Agent::online(&brain).await;
    agent.say_signed(&batch("b", "t")).await;
    let mut socket = agent.socket.into_inner();
    let mut frames = Vec::new();
    for _ in 0..3 {
        frames.push(within(frame(&mut socket)).await);
    }
    assert_eq!(frames.iter().map(|(head, ..)| *head).collect::<Vec<_>>(), [0x02, 0x89, 0x80], "{frames:?}");
    for (_, short, length) in frames {
        // RFC 6455, 5.2: the fewest bytes.
        let fewest = if length < 126 { u8::try_from(length).unwrap() } else { 126 };
        assert_eq!(short, fewest, "{length} bytes");
    }
}

#[tokio::test]
async fn error_frames_and_closes_by_number() {
    let brain = plain().await;
    set(&brain, "ws.error-frame(code=busy, fatal=true) at ack first 1");
    let mut agent = Agent::online(&brain).await;
    agent.say_signed(&batch("b", "t")).await;
    let frame = agent.hear().await.frame();
    assert_eq!(
        (&frame["type"], &frame["payload"]["code"], &frame["payload"]["fatal"]),
        (&json!("error"), &json!("busy"), &json!(true))
    );
    assert_eq!(agent.batch(json!([])).await, (0, 0, 0), "the session goes on");
    set(&brain, "ws.error-frame(code=hm) at hello-ack first 1");
    let mut agent = Agent::online(&brain).await;
    assert_eq!(agent.hear().await.frame()["payload"]["fatal"], false);
    set(&brain, "ws.close(code=4429) at frame 3");
    for _ in 0..2 {
        let mut agent = Agent::online(&brain).await;
        agent.batch(json!([event("a", "task.sent", &at(0))])).await;
        agent.batch(json!([])).await;
        agent.say_signed(&batch("lost", "lost")).await;
        assert_eq!(agent.hear().await, Heard::Close(4429, String::new()));
    }
    assert!(!brain.events().iter().any(|event| event.task_id == "lost"), "nothing comes of the frame");
    brain.clear_faults();
    set(&brain, "ws.close(code=1012) at event 3");
    let mut agent = Agent::online(&brain).await;
    agent.batch(json!([event("b", "task.sent", &at(0)), event("c", "task.sent", &at(0))])).await;
    agent.say_signed(&batch("kept", "kept")).await;
    assert_eq!(agent.hear().await, Heard::Close(1012, String::new()));
    assert!(brain.events().iter().any(|event| event.task_id == "kept"), "stored, and not acknowledged");
}

#[tokio::test]
async fn resets_in_a_session_are_real() {
    for tls in [false, true] {
        let brain = start(Options { tls, ..Options::default() }).await;
        for point in ["frame 2", "event", "ack 1", "hello-ack"] {
            brain.clear_faults();
            set(&brain, &format!("tcp.reset at {point} first 1"));
            let bearer = format!("Bearer {}", brain.credentials().token);
            let error = if tls {
                let stream = crate::support::tls(&brain, "localhost").await.unwrap();
                let mut agent = Agent::over(stream, &brain, "wss", &bearer).await.unwrap();
                talk(&mut agent, point).await;
                let mut socket = agent.socket.into_inner().into_inner().0;
                socket_error(&mut socket).await
            } else {
                let mut agent = Agent::over(tcp(&brain).await, &brain, "ws", &bearer).await.unwrap();
                talk(&mut agent, point).await;
                let mut socket = agent.socket.into_inner();
                socket_error(&mut socket).await
            };
            assert_eq!(error, ErrorKind::ConnectionReset, "{point}, tls {tls}");
        }
    }
}

async fn socket_error(socket: &mut tokio::net::TcpStream) -> ErrorKind {
    let mut bytes = Vec::new();
    within(socket.read_to_end(&mut bytes)).await.expect_err("a reset is expected").kind()
}

/// Says what gets a session to the point.
async fn talk<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(agent: &mut Agent<S>, point: &str) {
    if point == "hello-ack" {
        return agent.say(hello().to_string()).await;
    }
    agent.greet(&hello()).await;
    if point == "frame 2" {
        agent.batch(json!([])).await;
    }
    agent.say_signed(&batch("b", "t")).await;
}

#[tokio::test]
async fn silence_keeps_the_connection_open() {
    let brain = plain().await;
    for fault in ["tcp.half-open", "tcp.stall"] {
        set(&brain, &format!("{fault} at ack first 1"));
        let mut agent = Agent::online(&brain).await;
        agent.say_signed(&batch("b", fault)).await;
        assert!(is_silent(&mut agent).await, "{fault}");
        // What is written is still taken by the kernel: no reset, no end.
        agent.say_signed(&batch("b", "more")).await;
        assert!(is_silent(&mut agent).await, "{fault}");
        let mut again = Agent::online(&brain).await;
        assert_eq!(again.batch(json!([])).await, (0, 0, 0), "others are served");
    }
    set(&brain, "tcp.half-open at accept first 1");
    let mut socket = tcp(&brain).await;
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_millis(150), socket.read(&mut byte)).await;
    assert!(read.is_err(), "nothing is answered, and nothing ends");
    within(brain.stop()).await;
}

#[tokio::test]
async fn cut_after_so_many_bytes() {
    let brain = plain().await;
    set(&brain, "tcp.reset at after-bytes 100 first 1");
    let mut socket = tcp(&brain).await;
    socket
        .write_all(format!("GET /api/v1/health HTTP/1.1\r\nX: {}\r\n", "x".repeat(100)).as_bytes())
        .await
        .unwrap();
    let mut bytes = Vec::new();
    let error = within(socket.read_to_end(&mut bytes)).await.expect_err("a reset is expected");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    set(&brain, "tcp.half-open at after-bytes 10 first 1");
    let mut socket = tcp(&brain).await;
    socket.write_all(b"GET /api/v1/health HTTP/1.1\r\n\r\n").await.unwrap();
    let read = tokio::time::timeout(Duration::from_millis(150), socket.read(&mut [0])).await;
    assert!(read.is_err());
    assert_eq!(request(&brain, "GET /api/v1/health", "", "").await.0, 200);
}

#[tokio::test]
async fn cut_after_the_client_hello() {
    let brain = start(Options::default()).await;
    set(&brain, "tcp.reset at client-hello first 1");
    let error = crate::support::tls(&brain, "localhost").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    assert!(crate::support::tls(&brain, "localhost").await.is_ok());
    assert!(plain().await.set_fault("tcp.reset at handshake".parse().unwrap()).is_err());
}

#[tokio::test]
async fn slow_connections() {
    for tls in [false, true] {
        let brain = start(Options { tls, ..Options::default() }).await;
        set(&brain, "tcp.latency(ms=120)");
        set(&brain, "tcp.bandwidth(bytes_per_s=100000)");
        let bearer = format!("Bearer {}", brain.credentials().token);
        let began = Instant::now();
        let events: Vec<_> = (0..100).map(|n| event(&format!("t{n}"), "task.sent", &at(0))).collect();
        if tls {
            let stream = crate::support::tls(&brain, "localhost").await.unwrap();
            let mut agent = Agent::over(stream, &brain, "wss", &bearer).await.unwrap();
            agent.greet(&hello()).await;
            assert_eq!(agent.batch(json!(events)).await, (100, 100, 0));
        } else {
            let mut agent = Agent::over(tcp(&brain).await, &brain, "ws", &bearer).await.unwrap();
            agent.greet(&hello()).await;
            assert_eq!(agent.batch(json!(events)).await, (100, 100, 0));
        }
        // Three round trips at least, and some 20,000 bytes.
        assert!(began.elapsed() >= Duration::from_millis(3 * 120 + 150), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn no_answer_to_hello() {
    let brain = plain().await;
    set(&brain, "hello.no-ack first 1");
    let mut agent = Agent::connect(&brain).await;
    agent.say(hello().to_string()).await;
    assert!(is_silent(&mut agent).await);
    agent.send(tokio_tungstenite::tungstenite::Message::Ping(vec![1].into())).await;
    let pong = within(futures_util::StreamExt::next(&mut agent.socket)).await.unwrap().unwrap();
    assert!(pong.is_pong(), "the session lives");
    Agent::online(&brain).await;
}

#[tokio::test]
async fn what_shapes_a_session_strikes_once_and_hides_nothing() {
    let brain = plain().await;
    set(&brain, "ws.max-frame(bytes=100) every 2");
    for is_struck in [false, true, false, true] {
        let mut agent = Agent::connect(&brain).await;
        agent.say(hello().to_string()).await;
        let heard = agent.hear().await;
        assert_eq!(heard == Heard::Close(1009, String::new()), is_struck, "{heard:?}");
    }
    assert_eq!(brain.fault_strikes(), 2);
    brain.clear_faults();
    set(&brain, "ws.ping-dropped");
    set(&brain, "ws.close(code=4408) at upgrade");
    let mut agent = Agent::connect(&brain).await;
    assert_eq!(agent.hear().await, Heard::Close(4408, String::new()));
    assert_eq!(brain.fault_strikes(), 4, "both struck");
}

#[tokio::test]
async fn meant_for_one_worker_or_agent() {
    let brain = plain().await;
    let other = brain.add_agent("other", None).unwrap();
    set(&brain, "ws.close(code=4429) at hello who=worker:w2");
    Agent::online(&brain).await;
    let mut agent = Agent::connect(&brain).await;
    agent.say(hello_with("worker_id", json!("w2")).to_string()).await;
    assert_eq!(agent.hear().await, Heard::Close(4429, String::new()));
    let project = other.project_id.clone();
    let names = ["other".to_owned(), format!("{project}/other"), other.agent_id.to_uppercase()];
    for (name, code) in names.into_iter().zip([4408, 4409, 4410]) {
        brain.clear_faults();
        set(&brain, &format!("ws.close(code={code}) at upgrade who=agent:{name}"));
        Agent::online(&brain).await;
        let mut agent = Agent::connect_with(&brain, &format!("Bearer {}", other.token)).await;
        assert_eq!(agent.hear().await, Heard::Close(code, String::new()), "{name}");
    }
    brain.clear_faults();
    set(&brain, "ws.close(code=4408) at upgrade who=agent:elsewhere/other");
    let mut agent = Agent::connect_with(&brain, &format!("Bearer {}", other.token)).await;
    agent.greet(&hello()).await;
}

#[tokio::test]
async fn meant_for_one_token() {
    let brain = plain().await;
    let other = brain.add_agent("other", None).unwrap();
    let fingerprints: Vec<_> = brain.agents().into_iter().map(|agent| agent.token_fingerprint).collect();
    let [_, of_other] = &fingerprints[..] else { panic!("two agents: {fingerprints:?}") };
    set(&brain, &format!("ws.close(code=4429) at upgrade who=token:{of_other}"));
    Agent::online(&brain).await;
    let mut agent = Agent::connect_with(&brain, &format!("Bearer {}", other.token)).await;
    assert_eq!(agent.hear().await, Heard::Close(4429, String::new()));
    let renewed = brain.set_token("other", "another-token-of-the-other").unwrap();
    let mut agent = Agent::connect_with(&brain, &format!("Bearer {}", renewed.token)).await;
    agent.say(hello_with("worker_id", json!("w3")).to_string()).await;
    assert!(!matches!(agent.hear().await, Heard::Close(..)), "another token is not meant");
}

#[tokio::test]
async fn long_poll_refused_partial_and_alone() {
    let brain = plain().await;
    let mut poller = Poller::new(&brain, "n");
    set(&brain, "http.status(code=429, retry_after=7) at poll first 1");
    let (status, answer) = poller.get(PROBE).await;
    assert_eq!((status, answer.contains("Retry-After: 7\r\n")), (429, true), "{answer}");
    assert_eq!(poller.get(POLL).await.0, 200);
    set(&brain, "http.status(code=403, error=project_inactive) at post first 1");
    let frame = [poller.heartbeat()];
    let (status, body) = poller.post(&frame).await;
    assert_eq!((status, &body["error"]), (403, &json!("project_inactive")));
    set(&brain, "longpoll.partial(accepted=1) first 1");
    let frames = [poller.frame(&batch("a", "a")), poller.frame(&batch("b", "b"))];
    let (_, tally) = poller.post(&frames).await;
    assert_eq!((&tally["accepted"], &tally["rejected"]), (&json!(1), &json!(1)));
    let (_, tally) = poller.post(&frames[1..]).await;
    assert_eq!((&tally["accepted"], brain.accepted_events()), (&json!(1), 2));
    set(&brain, "longpoll.only");
    let bearer = format!("Bearer {}", brain.credentials().token);
    assert!(Agent::over(tcp(&brain).await, &brain, "ws", &bearer).await.is_err());
    assert_eq!(poller.get(POLL).await.0, 200);
}

#[tokio::test]
async fn a_proxy_that_says_when_to_come_again_is_to_be_heeded() {
    let brain = strict().await;
    let poller = Poller::new(&brain, "n");
    set(&brain, "http.status(code=503, retry_after=60) first 1");
    assert_eq!(poller.get(PROBE).await.0, 503);
    assert_eq!(poller.get(PROBE).await.0, 200);
    assert_eq!(rules(&brain), ["longpoll.retry-after"]);
}

#[tokio::test]
async fn what_a_proxy_answers_is_judged_as_well() {
    let brain = strict().await;
    let poller = Poller::new(&brain, "n");
    set(&brain, "http.status(code=429, retry_after=60) first 4");
    for _ in 0..4 {
        assert_eq!(poller.get(PROBE).await.0, 429);
    }
    assert_eq!(rules(&brain), ["longpoll.retry-after"; 3]);
    // What gets no answer of HTTP at all, and what is the brain's below a path only.
    for fault in ["http.status(code=503)", "http.empty", "ws.path(prefix=/z4j)"] {
        let (brain, agent) = (strict().await, "/api/v1/agent/commands?wait=0&max_frames=0&token=x");
        set(&brain, fault);
        for prefix in ["", "/z4j"] {
            Poller::new(&brain, "n").get(&format!("GET {prefix}{agent}")).await;
        }
        let expected = if fault.starts_with("ws.path") { 2 } else { 1 };
        assert_eq!(rules(&brain), vec!["http.token-in-query"; expected], "{fault}");
    }
    // The size of a body that a proxy refuses for another reason is not learned.
    let brain = strict().await;
    set(&brain, "http.status(code=503) first 1");
    let headers = Poller::new(&brain, "n").headers() + "Content-Type: application/json\r\n";
    for status in [503, 413] {
        let line = "POST /api/v1/agent/events";
        assert_eq!(request(&brain, line, &headers, &"x".repeat(9_000)).await.0, status);
    }
    assert_eq!(rules(&brain), [""; 0]);
}
