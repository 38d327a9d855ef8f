//! A brain that goes down and comes up again, and waiting for what it sees.

use std::time::Duration;

use mock_brain::{ClosedBy, Condition, Farewell};
use serde_json::json;
use tokio::net::TcpStream;

use crate::longpoll::{POLL, Poller};
use crate::support::{Agent, Heard, at, closed, event, plain, request, tcp, within};

#[tokio::test]
async fn down_and_up_on_the_same_port() {
    let brain = plain().await;
    for farewell in [Farewell::None, Farewell::Restart, Farewell::None] {
        let mut agent = Agent::online(&brain).await;
        agent.batch(json!([event("t", "task.sent", &at(0))])).await;
        let idle = tcp(&brain).await;
        brain.down(farewell);
        let refused = within(TcpStream::connect(brain.local_addr())).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        match farewell {
            Farewell::None => assert_eq!(agent.hear().await, Heard::Ended),
            Farewell::Restart => assert_eq!(agent.hear().await, closed(1012)),
        }
        assert!(brain.wait_for(&Condition::no_session(), Duration::from_secs(20)).await);
        within(idle.readable()).await.unwrap();
        let by = brain.sessions().last().unwrap().closed_by;
        let expected = if farewell == Farewell::None { ClosedBy::Network } else { ClosedBy::Brain };
        assert_eq!(by, Some(expected));
        brain.up();
        assert_eq!(request(&brain, "GET /api/v1/health", "", "").await.0, 200);
    }
    assert_eq!(brain.accepted_events() + brain.duplicates(), 3, "what it knew, it knows");
    within(brain.stop()).await;
}

#[tokio::test]
async fn held_polls_are_cut_too() {
    let brain = plain().await;
    let poller = Poller::new(&brain, "n");
    let mut socket = tcp(&brain).await;
    let text = format!(
        "{} HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        POLL.replace("wait=0", "wait=60"),
        poller.headers()
    );
    tokio::io::AsyncWriteExt::write_all(&mut socket, text.as_bytes()).await.unwrap();
    assert_eq!(poller.get(POLL).await.0, 200);
    brain.down(Farewell::None);
    let mut answer = Vec::new();
    let _ = within(tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut answer)).await;
    assert!(answer.is_empty());
}

#[tokio::test]
async fn refused_for_a_time() {
    let brain = plain().await;
    brain.set_fault("tcp.refused for 200ms".parse().unwrap()).unwrap();
    let refused = within(TcpStream::connect(brain.local_addr())).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    within(async {
        while TcpStream::connect(brain.local_addr()).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(brain.faults(), []);
}

#[tokio::test]
async fn waiting_for_what_comes() {
    let brain = plain().await;
    let limit = Duration::from_secs(20);
    let never = Condition::events(1);
    assert!(!brain.wait_for(&never, Duration::from_millis(50)).await);
    let online = Condition::worker("w1");
    let (came, mut agent) = tokio::join!(brain.wait_for(&online, limit), Agent::online(&brain));
    assert!(came);
    let events = Condition::events(3);
    let (came, ()) = tokio::join!(brain.wait_for(&events, limit), async {
        for task in ["a", "b", "c", "a"] {
            agent.batch(json!([event(task, "task.sent", "2026-01-01T00:00:00Z")])).await;
        }
    });
    assert!(came && brain.wait_for(&Condition::Duplicates { count: 1 }, limit).await);
    let order: Vec<_> = brain.events().into_iter().map(|event| event.task_id).collect();
    assert_eq!(order, ["a", "b", "c"]);
    assert_eq!((brain.live_sessions(), brain.violation_count()), (1, 0));
}
