//! Applications that attack the ingest socket: others go on emitting, and memory stays bounded.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::brain::dead_port;
use crate::hostile::Attacked;
use crate::world::{Outcome, World};

fn attacked() -> Outcome<Attacked> {
    Attacked::start(World::new(&format!("http://127.0.0.1:{}/", dead_port()?))?)
}

/// All that is answered to some bytes.
fn told(agent: &Attacked, bytes: &[u8]) -> Outcome<String> {
    let mut stream = agent.connect()?;
    let mut answers = stream.try_clone()?;
    let writer = std::thread::spawn({
        let bytes = bytes.to_vec();
        move || {
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
    });
    let mut told = String::new();
    answers.read_to_string(&mut told)?;
    writer.join().map_err(|_| "the writer")?;
    Ok(told)
}

#[test]
fn lines_that_are_made_to_be_expensive() -> Outcome {
    let agent = attacked()?;
    let event = |data: &str| format!("{{\"kind\":\"worker.online\",\"engine\":\"x\",\"data\":{data}}}\n");
    let keys: String = (0..80_000).map(|index| format!("\"{index:06}\":0,")).collect();
    for (what, line, code) in [
        ("64 MiB without an end", "x".repeat(64 << 20), "line-too-long"),
        ("a million arrays", event(&"[".repeat(1_000_000)), "not-json"),
        ("a data of arrays", event(&format!("{}{}", "[".repeat(800), "]".repeat(800))), "bad-data"),
        ("a long number", event(&format!("{{\"a\":{}}}", "9".repeat(100_000))), "not-json"),
        ("no number", event("{\"a\":NaN}"), "not-finite"),
        ("beyond every number", event("{\"a\":1e999999999}"), "not-finite"),
        ("half a surrogate pair", event(r#"{"a":"\ud800"}"#), "lone-surrogate"),
        ("not UTF-8", event("{\"a\":\"\u{0}\"}"), "not-json"),
    ] {
        let told = told(&agent, line.as_bytes())?;
        assert!(told.contains(&format!("\"code\":\"{code}\"")), "{what}: {}", &told[..told.len().min(300)]);
        agent.has_stood(what, 32)?;
    }
    // These are no more than large.
    for (what, data) in [
        ("a long key", format!("{{\"{}\":0}}", "k".repeat(1_020_000))),
        ("80,000 keys", format!("{{{keys}\"a\":0}}")),
    ] {
        let told = told(&agent, event(&data).as_bytes())?;
        assert!(told.contains("\"accepted\":1"), "{what}: {told}");
        agent.has_stood(what, 48)?;
    }
    Ok(())
}

#[test]
fn more_connections_than_there_are_places() -> Outcome {
    let agent = attacked()?;
    let mut silent: Vec<UnixStream> = Vec::new();
    for _ in 0..2_000 {
        // Where there is no place the agent says so and hangs up; the kernel's queue may be full meanwhile.
        let stream = agent.connect()?;
        stream.set_read_timeout(Some(Duration::from_millis(1)))?;
        silent.push(stream);
    }
    let mut refused = 0;
    for stream in &mut silent {
        let mut answer = [0; 256];
        if let Ok(count @ 1..) = stream.read(&mut answer) {
            assert!(String::from_utf8_lossy(&answer[..count]).contains("too-many-connections"));
            refused += 1;
        }
    }
    assert!(refused > 0, "there is a bound");
    drop(silent);
    // Their places are free again once the agent has seen that they are gone.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while told(&agent, b"")?.contains("too-many-connections") {
        assert!(std::time::Instant::now() < deadline, "no place comes free");
        std::thread::yield_now();
    }
    agent.has_stood("2,000 silent connections", 48)
}

#[test]
fn half_lines_in_many_connections() -> Outcome {
    let agent = attacked()?;
    let mut open = Vec::new();
    let half = vec![b'x'; 1 << 20];
    for _ in 0..100 {
        let mut stream = agent.connect()?;
        stream.set_write_timeout(Some(Duration::from_millis(200)))?;
        let _ = stream.write_all(&half);
        open.push(stream);
    }
    agent.has_stood("100 lines of which the end is missing", 24)
}
