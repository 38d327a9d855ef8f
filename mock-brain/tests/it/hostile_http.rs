//! Heads and bodies that are too large, that lie about their size, or that never end.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::hostile::Victim;
use crate::support::within;

const HOST: &str = "GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n";
const POST: &str =
    "POST /api/v1/agent/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn header_bombs() {
    let mut victim = Victim::start(&[]).await;
    let cases = [
        ("100,000 lines", format!("{HOST}{}\r\n", "A: b\r\n".repeat(100_000)), 431),
        ("101 lines", format!("{HOST}{}\r\n", "A: b\r\n".repeat(101)), 431),
        ("a long line", format!("{HOST}A: {}\r\n\r\n", "b".repeat(1 << 20)), 431),
        ("a long name", format!("{HOST}{}: b\r\n\r\n", "a".repeat(1 << 20)), 431),
        ("a long target", format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(1 << 20)), 431),
        ("a long method", format!("{} / HTTP/1.1\r\nHost: localhost\r\n\r\n", "A".repeat(1 << 20)), 431),
        ("a line without a colon", format!("{HOST}nonsense\r\n\r\n"), 400),
        ("a folded line", format!("{HOST}A: b\r\n c\r\n\r\n"), 400),
        ("a NUL", format!("{HOST}A: \0\r\n\r\n"), 400),
        ("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(), 400),
    ];
    for (what, text, expected) in cases {
        let answer = victim.answer(text.as_bytes()).await;
        assert_eq!(status(&answer), expected, "{what}: {answer}");
        victim.acks().await;
    }
    // Heads that could still become good ones.
    let mut waiting = Vec::new();
    for _ in 0..150 {
        let mut socket = victim.tcp().await;
        let head = format!("{HOST}A: {}", "b".repeat(60_000));
        within(socket.write_all(head.as_bytes())).await.unwrap();
        waiting.push(socket);
    }
    victim.has_stood(48).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_too_large_or_lie() {
    let mut victim = Victim::start(&[]).await;
    let token = format!("{POST}Authorization: Bearer {}\r\n", victim.token());
    let chunked = format!("{token}Transfer-Encoding: chunked\r\n\r\n");
    let large = "x".repeat(8_193);
    let cases = [
        ("one byte too many", format!("{token}Content-Length: 8193\r\n\r\n{large}"), 413),
        ("a terabyte", format!("{token}Content-Length: 1099511627776\r\n\r\n{large}"), 413),
        ("more than a number holds", format!("{token}Content-Length: 99999999999999999999\r\n\r\n"), 400),
        ("less than nothing", format!("{token}Content-Length: -1\r\n\r\n"), 400),
        ("two lengths", format!("{token}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}"), 400),
        ("one byte too many in chunks", format!("{chunked}2001\r\n{large}\r\n0\r\n\r\n"), 400),
        ("a chunk that is no number", format!("{chunked}x\r\n"), 400),
        ("a chunk of 2^64 bytes", format!("{chunked}10000000000000000\r\n{large}"), 400),
        ("a chunk of 2^63 bytes", format!("{chunked}8000000000000000\r\n{large}"), 400),
        ("a chunk's extension", format!("{chunked}2;{}\r\n{{}}\r\n0\r\n\r\n", large.repeat(4)), 400),
        ("trailers", format!("{chunked}2\r\n{{}}\r\n0\r\n{}\r\n", "A: b\r\n".repeat(20_000)), 400),
        (
            "gzip, which nobody decodes",
            format!("{token}Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\u{8}\0\0"),
            422,
        ),
    ];
    for (what, text, expected) in cases {
        let answer = victim.answer(text.as_bytes()).await;
        assert_eq!(status(&answer), expected, "{what}: {answer}");
        victim.acks().await;
    }
    victim.has_stood(16).await;
}

/// Writes without end until the brain hangs up, or 64 MiB are gone.
async fn pour(victim: &Victim, head: &str, piece: &[u8]) {
    let mut socket = victim.tcp().await;
    let (mut from, mut to) = socket.split();
    let write = async {
        let _ = to.write_all(head.as_bytes()).await;
        for _ in 0..(64 << 20) / piece.len() {
            if to.write_all(piece).await.is_err() {
                return;
            }
        }
    };
    let read = async {
        let mut sink = vec![0; 64 << 10];
        while from.read(&mut sink).await.is_ok_and(|count| count > 0) {}
    };
    // It ends with either: with a brain that hangs up, or that has taken it all.
    within(async {
        tokio::select! {
            () = write => {}
            () = read => {}
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_without_end() {
    let mut victim = Victim::start(&[]).await;
    let token = format!("{POST}Authorization: Bearer {}\r\n", victim.token());
    let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 1 << 16], b"\r\n"].concat();
    for head in [token.as_str(), HOST, &HOST.replace("GET", "POST")] {
        pour(&victim, &format!("{head}Transfer-Encoding: chunked\r\n\r\n"), &chunk).await;
        pour(&victim, &format!("{head}Content-Length: 8000\r\n\r\n"), &vec![b'x'; 1 << 16]).await;
        victim.acks().await;
    }
    victim.has_stood(16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_whose_answers_nobody_reads() {
    let mut victim = Victim::start(&[]).await;
    let requests = format!("{HOST}\r\n").repeat(1_000);
    let mut sockets = Vec::new();
    for _ in 0..10 {
        let mut socket = victim.tcp().await;
        let flood = async {
            for _ in 0..100 {
                if socket.write_all(requests.as_bytes()).await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(std::time::Duration::from_millis(500), flood).await;
        sockets.push(socket);
    }
    victim.has_stood(24).await;
}
