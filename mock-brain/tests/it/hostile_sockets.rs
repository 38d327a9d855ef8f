//! More connections than there is room for: for descriptors, and for places.

use std::time::Duration;

use mock_brain::Limits;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::cli::told;
use crate::hostile::Victim;
use crate::support::{Agent, at, event, hello_with, tcp, with_limits, within};

/// What the process may have, and how many connections come: as many as it has places, and as the kernel keeps
/// in the queue of a listening socket of Rust's (128).
const DESCRIPTORS: u32 = 80;
const FLOOD: usize = 150;

#[tokio::test(flavor = "multi_thread")]
async fn more_sockets_than_descriptors() {
    let mut victim = Victim::with_descriptors(DESCRIPTORS).await;
    let mut flood = Vec::new();
    for _ in 0..FLOOD {
        flood.push(victim.tcp().await);
    }
    for _ in 0..20 {
        victim.acks().await;
    }
    // Accepting rests: a loop that spins would use all of this second.
    let before = victim.ticks();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let used = victim.ticks() - before;
    assert!(used < 30, "{used} of 100 ticks");
    let (code, events, error) = told(victim.dir(), &["events", "--json"]);
    assert_eq!((code, events.contains("\"t-1\"")), (0, true), "the control API answers: {error}");
    drop(flood);
    let mut late = within(victim.upgraded()).await;
    late.greet(&hello_with("worker_id", json!("late"))).await;
    victim.has_stood(32).await;
    let (code, log) = victim.serve.signal("-TERM");
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("every place for a connection is taken").count(), 1, "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test]
async fn half_open_connections_give_their_places_back() {
    let head = Duration::from_millis(300);
    let brain = with_limits(Limits { connections: 8, head, ..Limits::default() });
    let mut others = Agent::connect(&brain).await;
    others.greet(&hello_with("worker_id", json!("bystander"))).await;
    let mut silent: Vec<TcpStream> = Vec::new();
    for _ in 0..32 {
        silent.push(tcp(&brain).await);
    }
    for turn in 0..20 {
        let events = json!([event(&format!("t-{turn}"), "task.sent", &at(0))]);
        assert_eq!(others.batch(events).await, (1, 1, 0));
    }
    // It waits behind the others, whose time runs out.
    let mut late = Agent::connect(&brain).await;
    late.greet(&hello_with("worker_id", json!("late"))).await;
    let mut byte = [0];
    assert_eq!(within(silent[0].read(&mut byte)).await.unwrap_or(0), 0);
}
