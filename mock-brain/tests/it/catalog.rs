//! Every fault of the catalog: that it can be set, that it strikes, and that it does what its text says.

use std::collections::BTreeSet;

use mock_brain::fault::catalog;
use mock_brain::{Brain, NewCommand, Options};
use serde_json::json;

use crate::longpoll::{PROBE, Poller};
use crate::support::{Agent, Heard, at, event, start};
use crate::visit::visit;

const WS: &str = "/ws/agent";

/// Faults that a careful client meets on its way, with TLS or without, and what it tells of them.
const MET: &[(bool, &str, &str)] = &[
    (false, "tcp.refused", "connect: ConnectionRefused"),
    (false, "tcp.reset", "upgrade: reset"),
    (true, "tcp.reset at client-hello", "tls: Connection reset"),
    (false, "tcp.reset at hello-ack", "reset"),
    (false, "tcp.closed", "upgrade: ended"),
    (false, "tcp.closed at hello", "hello: "),
    (true, "tcp.closed at ack", "ack: "),
    (false, "tcp.half-open", "upgrade: silent"),
    (true, "tcp.half-open at frame", "ack: silent"),
    (false, "tcp.stall at upgrade", "hello: silent"),
    (false, "tcp.hang-up(delay=50ms)", "upgrade: ended"),
    (false, "tcp.latency(ms=20, jitter=10, direction=both)", "good"),
    (true, "tcp.latency(ms=20, direction=down)", "good"),
    (false, "tcp.bandwidth(bytes_per_s=100000, direction=down)", "good"),
    (false, "tcp.sliced(bytes=1)", "good"),
    (true, "tcp.sliced(bytes=7, pause=1ms)", "good"),
    (false, "tcp.limit-data(bytes=40)", "upgrade: ended in \"HTTP/1.1 101 Switching Protocols\\r\\nUpgrad\""),
    (true, "tcp.limit-data(bytes=2000)", ": "),
    (false, "tcp.slow-close(delay=1s)", "good"),
    (true, "tls.expired", "expired"),
    (true, "tls.not-yet-valid", "not valid yet"),
    (true, "tls.expires-in(t=1h)", "good"),
    (true, "tls.hostname-mismatch", "not valid for name"),
    (true, "tls.no-cn", "good"),
    (true, "tls.cn-only", "not valid for name"),
    (true, "tls.wildcard", "not valid for name"),
    (true, "tls.self-signed", "UnknownIssuer"),
    (true, "tls.untrusted-ca", "UnknownIssuer"),
    (true, "tls.intercepted", "UnknownIssuer"),
    (true, "tls.missing-intermediate", "UnknownIssuer"),
    (true, "tls.wrong-order", "CaUsedAsEndEntity"),
    (true, "tls.extra-certificate", "good"),
    (true, "tls.cross-signed-expired", "good"),
    (true, "tls.huge-chain", "TooLarge"),
    (true, "tls.version(only=1.1)", "ProtocolVersion"),
    (true, "tls.version(only=1.2)", "good"),
    (true, "tls.version(only=1.3)", "good"),
    (true, "tls.h2-only", "upgrade: no HTTP"),
    (true, "tls.client-cert-required", "CertificateRequired"),
    (true, "tls.unrecognized-name", "UnrecognisedName"),
    (true, "tls.alert(code=40)", "HandshakeFailure"),
    (true, "tls.not-tls", "InvalidContentType"),
    (true, "tls.aborted", "tls: tls handshake eof"),
    (false, "http.status(code=502, retry_after=7)", "Retry-After: 7"),
    (false, "http.status(code=301, location=\"https://x/\")", "Location: https://x/"),
    (false, "http.captive", "Guest network"),
    (false, "http.waf-page", "HTTP/1.1 403 Forbidden"),
    (false, "http.wrong-service", "Welcome to nginx!"),
    (false, "http.empty", "upgrade: ended"),
    (true, "http.empty", "upgrade: ended"),
    (false, "http.garbage", "upgrade: no HTTP"),
    (false, "http.bad-chunk", "zz\r\n"),
    (false, "http.dribble(delay=1ms)", "good"),
    (false, "http.huge-head", "upgrade: the head does not end"),
    (false, "http.http10", "HTTP/1.0 404 Not Found"),
    (false, "http.https-only", "The plain HTTP request was sent to HTTPS port"),
    (false, "http.late(delay=10s)", "upgrade: silent"),
    (false, "ws.upgrade-stripped", "{\"detail\":\"Not Found\"}"),
    (false, "ws.connection-stripped", "{\"detail\":\"Not Found\"}"),
    (false, "ws.http-status(code=426)", "HTTP/1.1 426 Upgrade Required"),
    (false, "ws.path(prefix=\"/z4j\")", "HTTP/1.1 404 Not Found"),
    (false, "ws.bad-accept", "upgrade: 101 for another key"),
    (false, "ws.wrong-subprotocol", "101 with sec-websocket-protocol: chat"),
    (false, "ws.extension-forced", "101 with sec-websocket-extensions: permessage-deflate"),
    (false, "ws.buffering(bytes=4096)", "hello: silent"),
    (false, "ws.buffering(bytes=1)", "good"),
    (false, "ws.idle-cut(after=50ms)", "without closing handshake"),
    (false, "ws.flap(within=1ms)", "without closing handshake"),
    (false, "ws.max-frame(bytes=100)", "hello: close 1009"),
    (false, "ws.ping-dropped", "good, no pong"),
    (true, "ws.frame-masked at hello-ack", "masked"),
    (false, "ws.frame-masked at ack", "masked"),
    (false, "ws.frame-opcode at frame", "opcode"),
    (false, "ws.frame-rsv at event", "Reserved bits"),
    (false, "ws.frame-utf8 at ack", "UTF-8"),
    (false, "ws.frame-oversize at ack", "too long"),
    (true, "ws.frame-fragmented", "good"),
    (false, "ws.protocol-refused", "hello: close 4426"),
    (false, "ws.close(code=4408, reason=\"x\") at ack", "ack: close 4408 x"),
    (false, "ws.token-rejected", "hello: close 4401"),
    (false, "ws.project-mismatch", "hello: close 4403 project_mismatch"),
    (false, "ws.address-refused", "hello: close 4403"),
    (false, "ws.rate-limited", "hello: close 4429 agent connect rate limit exceeded"),
    (false, "ws.hmac-mismatch", "ack: close 4403"),
    (false, "ws.clock-skew(seconds=300)", "ack: close 4403  (clock +"),
    (false, "ws.clock-skew(seconds=-20)", "good"),
    (false, "hello.no-ack", "hello: silent"),
    (false, "hello.late(delay=50ms)", "good"),
    (false, "hello.other-version", "hello: of version 3"),
    (false, "hello.other-project", "and project other-project"),
    (false, "ws.error-frame(code=overloaded) at ack", "ack: \"error\" \"overloaded\""),
    (false, "ws.bad-signature", "ack 1: "),
    (false, "ws.replayed", "ack 2: "),
    (false, "ack.drop", "ack: silent"),
    (false, "ack.late(delay=50ms)", "good"),
    (false, "ack.wrong-id", "ack: for \"nobody-sent-this\""),
    (false, "ack.twice", "good, 2 acks"),
    (false, "longpoll.only", "HTTP/1.1 403 Forbidden"),
];

/// Faults that strike elsewhere, each in a test of its own below.
const ELSEWHERE: &[&str] = &["command.twice", "longpoll.partial", "longpoll.session-lost"];

async fn brain(tls: bool) -> Brain {
    start(Options { tls, seed: 7, ..Options::default() }).await
}

fn set(brain: &Brain, text: &str) {
    brain.set_fault(text.parse().unwrap()).unwrap();
}

#[test]
fn no_fault_is_left_out() {
    let name = |text: &str| text.split(['(', ' ']).next().unwrap_or_default().to_owned();
    let met: BTreeSet<_> = MET.iter().map(|(_, text, _)| name(text)).collect();
    let tested: BTreeSet<_> =
        met.into_iter().chain(ELSEWHERE.iter().map(|name| (*name).to_owned())).collect();
    let known: BTreeSet<_> = catalog::entries().map(|entry| entry.name.to_owned()).collect();
    assert_eq!(tested, known);
    assert_eq!(catalog::entries().count(), known.len(), "a name stands there twice");
}

#[tokio::test]
async fn each_fault_does_what_it_says() {
    let brains = [brain(false).await, brain(true).await];
    let mut wrong = Vec::new();
    for (tls, text, told) in MET {
        let brain = &brains[usize::from(*tls)];
        set(brain, text);
        let before = brain.fault_strikes();
        let line = visit(brain, WS).await;
        let struck = brain.fault_strikes() > before || text.starts_with("tcp.refused");
        if !struck || !line.contains(told) {
            wrong.push(format!("{text} (TLS {tls}): {told:?} is expected: {line}; struck: {struck}"));
        }
        brain.clear_faults();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for brain in &brains {
        assert_eq!(visit(brain, WS).await, "good", "nothing is left of a fault that was cleared");
    }
}

#[tokio::test]
async fn the_brain_is_below_its_path() {
    let brain = brain(false).await;
    set(&brain, "ws.path(prefix=\"/z4j\")");
    assert_eq!(visit(&brain, "/z4j/ws/agent").await, "good");
    let (status, _) = crate::support::request(&brain, "GET /z4j/api/v1/health", "", "").await;
    assert_eq!(status, 200);
    assert!(visit(&brain, "/z4jx/ws/agent").await.contains("404"));
}

#[tokio::test]
async fn a_command_comes_twice() {
    let brain = brain(false).await;
    let mut agent = Agent::online(&brain).await;
    set(&brain, "command.twice first 1");
    let id = brain.send_command(NewCommand::new("x")).unwrap().id;
    for _ in 0..2 {
        let Heard::Frame(frame) = agent.hear().await else { panic!("a command is expected") };
        assert_eq!((&frame["type"], &frame["id"]), (&json!("command"), &json!(id)));
    }
}

#[tokio::test]
async fn long_poll_meets_the_same_refusals() {
    let brain = brain(false).await;
    let cases = [
        ("ws.token-rejected", 401, "invalid agent token"),
        ("ws.project-mismatch", 403, "project_mismatch"),
        ("ws.address-refused", 403, "ip_denied"),
        ("ws.rate-limited", 429, "agent-connect"),
        ("ws.hmac-mismatch", 409, "detail"),
        ("ws.clock-skew(seconds=600)", 409, "detail"),
        ("longpoll.session-lost", 409, "detail"),
        ("http.status(code=413) at post", 413, "detail"),
    ];
    for (text, status, part) in cases {
        brain.clear_faults();
        let mut poller = Poller::new(&brain, text);
        assert_eq!(poller.get(PROBE).await.0, 200);
        set(&brain, text);
        let frame = [poller.heartbeat()];
        let (got, body) = poller.post(&frame).await;
        assert_eq!((got, body.to_string().contains(part)), (status, true), "{text}: {body}");
    }
    brain.clear_faults();
    let mut poller = Poller::new(&brain, "n");
    set(&brain, "ws.clock-skew(seconds=86400)");
    let (_, answer) = poller.get(PROBE).await;
    let dates = |answer: &str| answer.lines().filter(|line| line.starts_with("Date: ")).count();
    assert_eq!(dates(&answer), 1, "{answer}");
    let plain = {
        brain.clear_faults();
        poller.get(PROBE).await.1
    };
    let date = |answer: &str| {
        answer.lines().find(|line| line.starts_with("Date: ")).map(|line| line[..16].to_owned())
    };
    assert_ne!(date(&answer), date(&plain));
    set(&brain, "longpoll.partial(accepted=1)");
    let batch = |id: &str| json!({"v": 2, "type": "event_batch", "id": id, "payload": {"events": [event(id, "task.sent", &at(0))]}});
    let frames = [poller.frame(&batch("a")), poller.frame(&batch("b"))];
    let (_, tally) = poller.post(&frames).await;
    assert_eq!((&tally["accepted"], &tally["rejected"]), (&json!(1), &json!(1)));
}
