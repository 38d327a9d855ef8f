//! Faults of acknowledgements, as a client meets them.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::breaking::{batch, set};
use crate::support::{Agent, Heard, now, plain};

#[tokio::test]
async fn acks_dropped_late_and_for_nothing() {
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    set(&brain, "ack.drop first 1");
    agent.say_signed(&batch("one", "t1")).await;
    agent.say_signed(&batch("two", "t2")).await;
    assert_eq!(agent.hear().await.frame()["payload"]["acked_id"], "two", "the first ack never comes");
    assert_eq!(brain.accepted_events(), 2, "and its batch is stored");
    set(&brain, "ack.wrong-id first 1");
    agent.say_signed(&batch("three", "t3")).await;
    assert_eq!(agent.hear().await.frame()["payload"]["acked_id"], "nobody-sent-this");
    set(&brain, "ack.late(delay=200ms) first 1");
    let sent = Instant::now();
    agent.say_signed(&batch("four", "t4")).await;
    agent.say_signed(&batch("five", "t5")).await;
    for id in ["four", "five"] {
        assert_eq!(agent.hear().await.frame()["payload"]["acked_id"], id, "the order is kept");
    }
    assert!(sent.elapsed() >= Duration::from_millis(200));
    assert_eq!(brain.accepted_events(), 5);
}

#[tokio::test]
async fn faults_strike_acknowledgements_that_are_late() {
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    set(&brain, "ack.late(delay=1s) at ack 1");
    set(&brain, "ack.twice at ack 2");
    set(&brain, "ws.replayed at ack 3");
    for (id, task) in [("late", "t1"), ("twice", "t2"), ("replayed", "t3")] {
        agent.say_signed(&batch(id, task)).await;
    }
    let mut heard = Vec::new();
    let mut verifier = agent.take_verifier();
    for _ in 0..5 {
        let ack = agent.hear().await.frame();
        let is_good = verifier.verify(ack.to_string().as_bytes(), now()).is_ok();
        heard.push((ack["payload"]["acked_id"].as_str().unwrap().to_owned(), is_good));
    }
    let heard: Vec<_> = heard.iter().map(|(id, is_good)| (id.as_str(), *is_good)).collect();
    let expected =
        [("late", true), ("twice", true), ("twice", true), ("replayed", true), ("replayed", false)];
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn what_comes_in_place_of_an_acknowledgement_waits_for_its_turn() {
    let brain = plain().await;
    for (fault, in_place) in [
        ("ws.close(code=4408) at ack 2", Heard::Close(4408, String::new())),
        ("tcp.closed at ack 2", Heard::Ended),
        ("ws.error-frame(code=x) at ack 2", Heard::Frame(json!("error"))),
    ] {
        brain.clear_faults();
        let mut agent = Agent::online(&brain).await;
        set(&brain, "ack.late(delay=500ms) at ack 1");
        set(&brain, fault);
        for id in ["late", "behind"] {
            agent.say_signed(&batch(id, "t")).await;
        }
        assert_eq!(agent.hear().await.frame()["payload"]["acked_id"], "late", "{fault}");
        let heard = match agent.hear().await {
            Heard::Frame(frame) => Heard::Frame(frame["type"].clone()),
            heard => heard,
        };
        assert_eq!(heard, in_place, "{fault}");
    }
}
