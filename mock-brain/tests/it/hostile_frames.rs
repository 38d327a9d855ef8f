//! WebSocket frames that lie, that break RFC 6455, and that come without end.

use crate::hostile::{Victim, frame, header, write};
use crate::support::{Heard, closed};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
/// A first fragment of text, and one in the middle.
const FIRST: u8 = 0x01;
const MIDDLE: u8 = 0x00;
const PING: u8 = 0x89;

fn too_big() -> Heard {
    Heard::Close(1009, "frame exceeds limit of 16777216 bytes".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_is_claimed_takes_no_memory() {
    let mut victim = Victim::start(&[]).await;
    for length in [(16 << 20) + 1, 1 << 30, 1 << 40, (1 << 63) - 1, 1 << 63, u64::MAX] {
        for online in [false, true] {
            let mut agent = if online { victim.online().await } else { victim.upgraded().await };
            write(&mut agent, &header(BINARY, length)).await;
            assert_eq!(agent.hear().await, too_big(), "{length}");
        }
    }
    // These are within the limit, and never come.
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let mut agent = victim.upgraded().await;
        write(&mut agent, &header(BINARY, 16 << 20)).await;
        waiting.push(agent);
    }
    victim.has_stood(32).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_protocol_ends_the_session() {
    let mut victim = Victim::start(&[]).await;
    let cases: [(&str, Vec<u8>, u16); 12] = [
        ("a reserved bit: compressed, which nobody agreed on", frame(TEXT | 0x40, b"{}"), 1002),
        ("a reserved data opcode", frame(0x83, b"{}"), 1002),
        ("a reserved control opcode", frame(0x8b, b""), 1002),
        ("no mask", b"\x81\x02{}".to_vec(), 1002),
        ("a ping of 126 bytes", frame(PING, &[b'x'; 126]), 1002),
        ("a ping that claims 2^62 bytes", header(PING, 1 << 62), 1009),
        ("a pong in fragments", frame(0x0a, b"x"), 1002),
        ("a close frame of one byte", frame(0x88, b"\x03"), 1002),
        ("a fragment of nothing", frame(0x80, b"x"), 1002),
        ("a message within a message", [frame(FIRST, b"{"), frame(TEXT, b"}")].concat(), 1002),
        ("text that is not UTF-8", frame(TEXT, b"{\"v\":\"\xff\"}"), 1007),
        ("text that is not UTF-8 in fragments", [frame(FIRST, b"\xc3"), frame(0x80, b"\x28")].concat(), 1007),
    ];
    for (what, bytes, code) in cases {
        for online in [false, true] {
            let mut agent = if online { victim.online().await } else { victim.upgraded().await };
            write(&mut agent, &bytes).await;
            let heard = agent.hear().await;
            assert!(matches!(&heard, Heard::Close(heard, _) if *heard == code), "{what}: {heard:?}");
        }
        victim.acks().await;
    }
    victim.has_stood(16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_without_end() {
    let mut victim = Victim::start(&[]).await;
    let mut empty = victim.upgraded().await;
    write(&mut empty, &frame(FIRST, b"")).await;
    let thousand = frame(MIDDLE, b"").repeat(1_000);
    for _ in 0..300 {
        write(&mut empty, &thousand).await;
    }
    victim.has_stood(16).await;
    write(&mut empty, &frame(0x80, b"")).await;
    assert_eq!(empty.hear().await, closed(4400), "300,000 times nothing is an empty message");
    let mut large = victim.upgraded().await;
    write(&mut large, &frame(FIRST, b"[")).await;
    let mebibyte = frame(MIDDLE, &vec![b' '; 1 << 20]);
    for _ in 0..17 {
        write(&mut large, &mebibyte).await;
    }
    assert_eq!(large.hear().await, too_big());
    victim.has_stood(80).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_whose_pongs_nobody_reads() {
    let mut victim = Victim::start(&[]).await;
    let mut agent = victim.online().await;
    let thousand = frame(PING, &[b'x'; 125]).repeat(1_000);
    let flood = async {
        for _ in 0..200 {
            write(&mut agent, &thousand).await;
        }
    };
    // The brain stops reading once its pongs are stuck, and then so do we.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), flood).await;
    victim.has_stood(16).await;
}
