//! JSON that is made to be expensive: as a first frame, within a session, and in a long-poll body.

use crate::hostile::{Victim, say};
use crate::support::{Heard, closed};

/// Texts of up to 1 MiB, the largest frame.
fn texts() -> Vec<(&'static str, String)> {
    let key = |index: usize| format!("\"{index:06}\":0,");
    let wrapped = |inside: &str| format!("{{{inside}\"v\":2}}");
    vec![
        ("a million arrays", "[".repeat(1_000_000)),
        ("200,000 objects", "{\"a\":".repeat(200_000)),
        ("901 levels", format!("{}{}", "[".repeat(901), "]".repeat(901))),
        ("350,000 empty arrays", format!("[{}0]", "[],".repeat(349_000))),
        ("a long key", wrapped(&format!("\"{}\":0,", "k".repeat(1_000_000)))),
        ("90,000 keys", wrapped(&(0..90_000).map(key).collect::<String>())),
        ("90,000 keys backwards", wrapped(&(0..90_000).rev().map(key).collect::<String>())),
        ("one key 170,000 times", wrapped(&"\"a\":0,".repeat(170_000))),
        ("escapes", format!("\"{}\"", r"\ud83d\ude00".repeat(80_000))),
        ("an integer of a million digits", "9".repeat(1_000_000)),
        ("a fraction of a million digits", format!("0.{}", "9".repeat(1_000_000))),
        ("no number", wrapped("\"a\":NaN,\"b\":-Infinity,")),
        ("beyond every number", wrapped("\"a\":1e999999999,\"b\":-1e-999999999,")),
        ("half a surrogate pair", wrapped(r#""a":"\ud800","#)),
        ("a NUL", wrapped("\"a\":\"\0\",")),
        ("spaces", " ".repeat(1_000_000)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn as_a_first_frame() {
    let mut victim = Victim::start(&[]).await;
    for (what, text) in texts() {
        let mut agent = victim.upgraded().await;
        say(&mut agent, &text).await;
        assert_eq!(agent.hear().await, closed(4400), "{what}");
        victim.acks().await;
    }
    victim.has_stood(96).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn within_a_session() {
    let mut victim = Victim::start(&[]).await;
    for (what, text) in texts() {
        let mut agent = victim.online().await;
        say(&mut agent, &text).await;
        let heard = agent.hear().await;
        assert!(matches!(heard, Heard::Close(1011 | 4403, _)), "{what}: {heard:?}");
        victim.acks().await;
    }
    victim.has_stood(96).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_body() {
    let mut victim = Victim::start(&["--max-body", "2000000"]).await;
    let mut bodies: Vec<(&str, String)> =
        texts().into_iter().map(|(what, text)| (what, format!("{{\"frames\":[{text}]}}"))).collect();
    bodies.push(("600,000 frames", format!("{{\"frames\":[{}\"\"]}}", "\"\",".repeat(600_000))));
    bodies.push(("frames again and again", format!("{{{}\"frames\":[]}}", "\"frames\":[],".repeat(100_000))));
    for (what, body) in bodies {
        let head = format!(
            "POST /api/v1/agent/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            victim.token(),
            body.len()
        );
        let answer = victim.answer((head + &body).as_bytes()).await;
        // A text that is a string is a frame, which is garbage, and settled by being dropped.
        let status = if what == "escapes" { "200" } else { "422" };
        assert_eq!(answer.get(9..12), Some(status), "{what}: {answer}");
        victim.acks().await;
    }
    victim.has_stood(96).await;
}
