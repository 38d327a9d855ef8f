//! The program is killed while batches come, and no event that it acknowledged is lost.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::{Value as Json, json};
use tokio::net::TcpStream;

use crate::cli::{Serve, told};
use crate::support::{Agent, Heard, at, event, hello, within};

/// Batches that are on their way at a time: some are being written whenever the brain is killed.
const WINDOW: usize = 8;
/// Events of a batch.
const BATCH: usize = 20;

fn start(dir: &Path) -> Serve {
    Serve::start(dir, &["--no-tls", "--max-body", "1000000"])
}

pub(crate) async fn online(dir: &Path, serve: &Serve) -> Agent {
    online_as(dir, serve, &hello()).await
}

/// As whoever says this hello.
pub(crate) async fn online_as(dir: &Path, serve: &Serve, hello: &Json) -> Agent {
    let (_, env, _) = told(dir, &["env", "--format", "json"]);
    online_with(&serde_json::from_str(&env).unwrap(), serve, hello).await
}

/// As the agent of these settings.
pub(crate) async fn online_with(env: &Json, serve: &Serve, hello: &Json) -> Agent {
    let url = serve.announced["url"].as_str().unwrap();
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let stream = within(TcpStream::connect(address)).await.unwrap();
    let url = format!("ws://{address}/ws/agent");
    let authorization = format!("Bearer {}", env["Z4J_TOKEN"].as_str().unwrap());
    let secret = env["Z4J_HMAC_SECRET"].as_str().unwrap();
    let mut agent = Agent::dial(stream, &url, &authorization, secret).await.unwrap();
    agent.greet(hello).await;
    agent
}

pub(crate) fn listed(dir: &Path) -> Vec<Json> {
    let (code, events, error) = told(dir, &["events", "--json"]);
    assert_eq!(code, 0, "{error}");
    let events: Json = serde_json::from_str(&events).unwrap();
    events["items"].as_array().unwrap().clone()
}

fn batch(round: usize, nth: usize) -> (Json, Vec<String>) {
    let tasks: Vec<_> = (0..BATCH).map(|index| format!("{round}-{nth}-{index}")).collect();
    let time = at(0);
    let events: Vec<_> = tasks.iter().map(|task| event(task, "task.sent", &time)).collect();
    (json!({"v": 2, "type": "event_batch", "id": format!("b{nth}"), "payload": {"events": events}}), tasks)
}

/// Sends batches until the brain is gone, which it is after so many acknowledgements. Returns what was
/// acknowledged, and what was sent beyond that.
async fn send_until_killed(
    agent: &mut Agent,
    serve: &mut Serve,
    round: usize,
    acks: usize,
) -> (Vec<String>, Vec<Json>) {
    let (mut acked, mut open, mut next, mut heard) = (Vec::new(), HashMap::new(), 0, 0);
    loop {
        while open.len() < WINDOW && heard < acks {
            let (frame, tasks) = batch(round, next);
            agent.say_signed(&frame).await;
            open.insert(format!("b{next}"), (frame, tasks));
            next += 1;
        }
        if heard == acks {
            serve.kill();
        }
        // Acknowledgements that were under way when it died count too.
        let Heard::Frame(frame) = agent.hear().await else { break };
        if frame["type"] == "event_batch_ack" {
            let id = frame["payload"]["acked_id"].as_str().unwrap();
            acked.extend(open.remove(id).unwrap().1);
            heard += 1;
        }
        if heard > acks {
            heard = acks + 1;
        }
    }
    (acked, open.into_values().map(|(frame, _)| frame).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_no_acknowledged_event() {
    let dir = tempfile::tempdir().unwrap();
    let mut serve = start(dir.path());
    let mut all: Vec<String> = Vec::new();
    for (round, acks) in [1, 2, 5, 17, 40].into_iter().enumerate() {
        let mut agent = online(dir.path(), &serve).await;
        let (acked, open) = send_until_killed(&mut agent, &mut serve, round, acks).await;
        assert!(acked.len() >= acks * BATCH, "round {round}");
        all.extend(acked);
        serve = start(dir.path());
        let list = listed(dir.path());
        let tasks: Vec<_> = list.iter().map(|event| event["task_id"].as_str().unwrap()).collect();
        let there: HashSet<_> = tasks.iter().copied().collect();
        assert_eq!(there.len(), tasks.len(), "round {round}: an event is there twice");
        let lost: Vec<_> = all.iter().filter(|task| !there.contains(task.as_str())).collect();
        assert!(lost.is_empty(), "round {round}: acknowledged and lost: {lost:?}");
        // As an agent would, what was not acknowledged is sent again: then it is there, once.
        let mut agent = online(dir.path(), &serve).await;
        for mut frame in open {
            frame["id"] = "ev_1".into();
            let events = frame["payload"]["events"].clone();
            let (received, _, _) = agent.batch(events.clone()).await;
            assert_eq!(received, BATCH as u64);
            assert_eq!(agent.batch(events.clone()).await, (BATCH as u64, 0, BATCH as u64));
            all.extend(
                events.as_array().unwrap().iter().map(|event| event["task_id"].as_str().unwrap().to_owned()),
            );
        }
        let tasks = listed(dir.path());
        assert_eq!(tasks.len(), all.len(), "round {round}");
    }
    let (_, sessions, _) =
        told(dir.path(), &["journal", "export", "--kind", "session", "--type", "accepted"]);
    assert_eq!(sessions.lines().count(), 10, "{sessions}");
}
