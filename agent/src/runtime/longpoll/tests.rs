//! Sessions against a brain that does what each test says.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use z4j_protocol::{CanonicalText, FrameType, Value, Verifier};

use super::super::fixtures::{
    Agent, Asked, Outcome, Reply, event, http, keys, now, numbers, serve_http, sized_event, soon,
    with_held_time,
};
use crate::buffer::{Loss, StoredResult};
use crate::status::{FailureClass, LinkState};
use crate::transport::random_bytes;

/// What a brain has got, over all its sessions.
#[derive(Default)]
struct Seen {
    nonce: String,
    verifier: Option<Verifier>,
    events: BTreeSet<usize>,
    kinds: Vec<FrameType>,
    refusals: usize,
    commands: usize,
    head: String,
}

/// What a POST is answered with, from its frames: types, and numbers of events.
type Rule = fn(&Asked, &[(FrameType, Vec<usize>)]) -> Option<&'static str>;

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn brain_answer(seen: &Mutex<Seen>, rule: Rule, asked: &Asked) -> Option<String> {
    let mut seen = lock(seen);
    let nonce = asked.head.lines().find_map(|line| line.strip_prefix("X-Z4J-Session-Nonce: "));
    let nonce = nonce.unwrap_or_default().to_owned();
    if asked.target.contains("commands?wait=0") {
        seen.verifier = Some(keys(&nonce).ok()?.1);
        seen.nonce = nonce;
        seen.head.clone_from(&asked.head);
        return Some(http("200 OK", r#"{"frames":[]}"#));
    }
    if asked.target.contains("commands?") {
        if seen.commands == 0 {
            return None;
        }
        seen.commands -= 1;
        let frame = command(&seen.nonce).ok()?;
        return Some(http("200 OK", &serde_json::json!({ "frames": [frame] }).to_string()));
    }
    if !asked.target.contains("/agent/events") {
        return Some(http("404 Not Found", r#"{"detail":"Not Found"}"#));
    }
    let body: serde_json::Value = serde_json::from_str(&asked.body).ok()?;
    let mut frames = Vec::new();
    for text in body["frames"].as_array()? {
        let frame = seen.verifier.as_mut()?.verify(text.as_str()?.as_bytes(), now());
        let Ok(frame) = frame else { return Some(http("409 Conflict", "{}")) };
        let payload = frame.object().get("payload").map(Value::to_canonical)?.ok()?;
        frames.push((frame.frame_type(), numbers(&serde_json::from_str(&payload).ok()?)));
    }
    if let Some(status) = rule(asked, &frames) {
        seen.refusals += 1;
        if let Some(accepted) = status.strip_prefix("accepted ") {
            return Some(http("200 OK", &format!(r#"{{"accepted":{accepted},"error_code":null}}"#)));
        }
        return Some(http(status, "{}"));
    }
    for (kind, events) in &frames {
        seen.kinds.push(*kind);
        seen.events.extend(events);
    }
    Some(http("200 OK", &format!(r#"{{"accepted":{},"rejected":0,"error_code":null}}"#, frames.len())))
}

fn command(nonce: &str) -> Outcome<String> {
    let payload = serde_json::json!({
        "action": "retry_task", "target": { "engine": "celery" }, "parameters": {}, "timeout_seconds": 60,
    });
    let id = "4c5f2f0e-3e1b-4d7e-9a51-0c2f3f1f9d11";
    let payload = Value::from_serialize(&payload)?;
    Ok(keys(nonce)?.0.sign(FrameType::Command, id, payload, now(), random_bytes())?)
}

async fn brain(rule: Rule) -> Outcome<(u16, Arc<Mutex<Seen>>)> {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let theirs = Arc::clone(&seen);
    let port = serve_http(move |asked| brain_answer(&theirs, rule, &asked).into()).await?;
    Ok((port, seen))
}

#[tokio::test]
async fn events_and_heartbeats_arrive() -> Outcome {
    let (port, seen) = brain(|_, _| None).await?;
    let agent = Agent::start(port, "longpoll", 1_200).await?;
    agent.until_buffered(0).await?;
    let status = agent.until(|status| status.state == LinkState::Online).await?;
    assert_eq!(status.transport.as_deref(), Some("long-poll"));
    agent.stop().await?;
    let seen = lock(&seen);
    assert_eq!(seen.events.len(), 1_200);
    assert!(seen.kinds.contains(&FrameType::Heartbeat) && seen.kinds.contains(&FrameType::AgentStatus));
    for line in ["Authorization: Bearer s3cr3t-token", "X-Z4J-Project: picker", "X-Z4J-Retry-Contracts: "] {
        assert!(seen.head.contains(line), "{line}");
    }
    assert_eq!(seen.nonce.len(), 22);
    Ok(())
}

#[tokio::test]
async fn the_size_that_passes_is_learned() -> Outcome {
    let (port, seen) =
        brain(|asked, _| (asked.body.len() > 5_000).then_some("413 Payload Too Large")).await?;
    let agent = Agent::start(port, "longpoll", 300).await?;
    agent.until_buffered(0).await?;
    agent.stop().await?;
    let seen = lock(&seen);
    assert_eq!(seen.events.len(), 300);
    assert!(seen.refusals < 8, "{}", seen.refusals);
    Ok(())
}

#[tokio::test]
async fn an_event_that_is_refused_is_given_up_alone() -> Outcome {
    let bad: Rule = |_, frames| {
        frames.iter().any(|(_, events)| events.contains(&37)).then_some("422 Unprocessable Entity")
    };
    let (port, seen) = brain(bad).await?;
    let agent = Agent::start(port, "longpoll", 60).await?;
    agent.until_buffered(0).await?;
    let loss = agent.buffer.status().borrow().loss;
    assert_eq!((loss.content_rejected, loss.events), (1, 1));
    agent.stop().await?;
    let expected: BTreeSet<usize> = (0..60).filter(|number| *number != 37).collect();
    assert_eq!(lock(&seen).events, expected);
    Ok(())
}

#[tokio::test]
async fn an_event_over_the_brains_limit_is_given_up_alone() -> Outcome {
    let (port, seen) =
        brain(|asked, _| (asked.body.len() > 8_192).then_some("413 Payload Too Large")).await?;
    let agent = Agent::start(port, "longpoll", 0).await?;
    agent.buffer.append(vec![event(0)?, sized_event(1, 20_000)?, event(2)?]).await?;
    agent.until_buffered(0).await?;
    agent.stop().await?;
    assert_eq!(lock(&seen).events, BTreeSet::from([0, 2]));
    Ok(())
}

#[tokio::test]
async fn what_is_accepted_in_part_is_sent_again() -> Outcome {
    // Of the first POST with events one frame less is said to be accepted.
    let partly: Rule = |asked, frames| {
        let first =
            frames.iter().any(|(_, events)| !events.is_empty()) && asked.body.contains("\\\"seq\\\":1,");
        first.then_some("accepted 0")
    };
    let (port, seen) = brain(partly).await?;
    let agent = Agent::start(port, "longpoll", 5).await?;
    agent.until_buffered(0).await?;
    agent.stop().await?;
    assert_eq!(lock(&seen).events.len(), 5);
    Ok(())
}

#[tokio::test]
async fn a_command_is_acked_and_answered() -> Outcome {
    let (port, seen) = brain(|_, _| None).await?;
    lock(&seen).commands = 1;
    let agent = Agent::start(port, "longpoll", 0).await?;
    let mut status = agent.buffer.status();
    // The result is stored, sent, and settled by the POST that counts it.
    let done = status.wait_for(|status| status.unsettled_results == 0);
    soon(done).await??;
    soon(async {
        while !lock(&seen).kinds.contains(&FrameType::CommandResult) {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    agent.stop().await?;
    let seen = lock(&seen);
    let place = |kind| seen.kinds.iter().position(|seen| *seen == kind);
    assert!(place(FrameType::CommandAck).is_some());
    assert!(place(FrameType::CommandAck) < place(FrameType::CommandResult));
    Ok(())
}

/// A brain of old wants to hand one command out at least, also in answer to the probe.
#[tokio::test]
async fn a_command_that_the_probe_brings_is_carried_out() -> Outcome {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let theirs = Arc::clone(&seen);
    let port = serve_http(move |asked: Asked| {
        if asked.target.ends_with("max_frames=0") {
            return Reply::Text(http("422 Unprocessable Content", "{}"));
        }
        let answered = brain_answer(&theirs, |_, _| None, &asked);
        if !asked.target.ends_with("max_frames=1") {
            return answered.into();
        }
        let frame = command(&lock(&theirs).nonce).unwrap_or_default();
        Reply::Text(http("200 OK", &serde_json::json!({ "frames": [frame] }).to_string()))
    })
    .await?;
    let agent = Agent::start(port, "longpoll", 0).await?;
    let mut status = agent.buffer.status();
    soon(async {
        while !lock(&seen).kinds.contains(&FrameType::CommandResult) {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    soon(status.wait_for(|status| status.unsettled_results == 0)).await??;
    agent.stop().await
}

#[tokio::test]
async fn a_result_that_no_brain_takes_is_tried_often_and_counted() -> Outcome {
    const COMMAND: &str = "4c5f2f0e-3e1b-4d7e-9a51-0c2f3f1f9d11";
    let rule: Rule = |_, frames| {
        let has_result = frames.iter().any(|(kind, _)| *kind == FrameType::CommandResult);
        has_result.then_some("422 Unprocessable Content")
    };
    let (port, seen) = brain(rule).await?;
    let agent = Agent::start(port, "longpoll", 3).await?;
    agent.buffer.begin_command(COMMAND, None).await?;
    let payload = CanonicalText::kept(r#"{"error":null,"result":null,"status":"success"}"#.to_owned());
    agent.buffer.finish_command(StoredResult { command_id: COMMAND.into(), payload }).await?;
    agent.commander.reconnect();
    let mut status = agent.buffer.status();
    let lost = soon(status.wait_for(|status| status.loss != Loss::default())).await??.loss;
    assert_eq!(lost, Loss { content_rejected: 1, command_results: 1, ..Loss::default() });
    soon(status.wait_for(|status| status.unsettled_results == 0 && status.events == 0)).await??;
    agent.stop().await?;
    let seen = lock(&seen);
    assert_eq!(seen.events.len(), 3, "what is good arrives");
    assert!(seen.refusals >= 10, "{}", seen.refusals);
    Ok(())
}

#[tokio::test]
async fn a_result_has_what_a_body_holds() -> Outcome {
    const COMMAND: &str = "4c5f2f0e-3e1b-4d7e-9a51-0c2f3f1f9d11";
    let rule: Rule = |asked, _| (asked.body.len() > 8_192).then_some("413 Content Too Large");
    let (port, seen) = brain(rule).await?;
    let agent = Agent::start(port, "longpoll", 0).await?;
    let text =
        format!(r#"{{"error":null,"result":{{"stdout":"{}"}},"status":"success"}}"#, "\\\"".repeat(25_000));
    agent.buffer.begin_command(COMMAND, None).await?;
    let payload = CanonicalText::kept(text);
    agent.buffer.finish_command(StoredResult { command_id: COMMAND.into(), payload }).await?;
    agent.commander.reconnect();
    let mut status = agent.buffer.status();
    soon(status.wait_for(|status| status.unsettled_results == 0)).await??;
    agent.stop().await?;
    let seen = lock(&seen);
    assert!(seen.kinds.contains(&FrameType::CommandResult));
    assert_eq!(seen.refusals, 0, "its size is known beforehand");
    Ok(())
}

#[tokio::test]
async fn a_brain_that_forgets_sessions_does_not_blame_the_secret() -> Outcome {
    // Every other POST is forgotten.
    static POSTS: AtomicUsize = AtomicUsize::new(0);
    let rule: Rule =
        |_, _| (!POSTS.fetch_add(1, Ordering::SeqCst).is_multiple_of(2)).then_some("409 Conflict");
    let (port, seen) = brain(rule).await?;
    let agent = Agent::start(port, "longpoll", 0).await?;
    for number in 1..=3 {
        agent.buffer.append(vec![event(number)?]).await?;
        let until = |seen: &Seen| seen.refusals >= number;
        soon(async {
            while !until(&lock(&seen)) {
                tokio::task::yield_now().await;
            }
        })
        .await?;
        let status = agent.until(|status| status.last_failure.is_some()).await?;
        let last = status.last_failure.unwrap_or_else(|| panic!("a failure"));
        assert_eq!(last.code, None, "{}", last.text);
        assert!(last.text.contains("forgotten the session"), "{}", last.text);
        agent.commander.reconnect();
    }
    agent.running.abort();
    Ok(())
}

#[tokio::test]
async fn a_secret_that_goes_wrong_is_named_after_one_more_session() -> Outcome {
    static POSTS: AtomicUsize = AtomicUsize::new(0);
    let rule: Rule = |_, _| (POSTS.fetch_add(1, Ordering::SeqCst) > 0).then_some("409 Conflict");
    let (port, seen) = brain(rule).await?;
    let agent = Agent::start(port, "longpoll", 0).await?;
    agent.until(|status| status.state == LinkState::Online).await?;
    soon(async {
        while lock(&seen).kinds.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    agent.buffer.append(vec![event(1)?]).await?;
    let status = agent.until(|status| status.streaks.connection >= 2).await?;
    let last = status.last_failure.unwrap_or_else(|| panic!("a failure"));
    assert_eq!(last.code.as_deref(), Some("ws.hmac-mismatch"), "{}", last.text);
    agent.running.abort();
    Ok(())
}

#[tokio::test]
async fn a_brain_that_takes_no_body_at_all_costs_no_event() -> Outcome {
    let (port, seen) = brain(|_, _| Some("413 Content Too Large")).await?;
    let agent = Agent::start(port, "longpoll", 3).await?;
    let status = agent.until(|status| status.streaks.connection >= 1).await?;
    assert!(status.last_failure.is_some_and(|last| last.text.contains("413")));
    assert_eq!(agent.buffer.status().borrow().events, 3);
    assert!(lock(&seen).refusals < 20, "{}", lock(&seen).refusals);
    agent.running.abort();
    Ok(())
}

#[tokio::test]
async fn a_refusal_has_its_class_and_the_doctors_code() -> Outcome {
    let rows: [(Rule, FailureClass, Option<&str>); 4] = [
        (|_, _| Some("401 Unauthorized"), FailureClass::Auth, Some("ws.token-rejected")),
        (|_, _| Some("409 Conflict"), FailureClass::Connection, Some("ws.hmac-mismatch")),
        (|_, _| Some("429 Too Many Requests"), FailureClass::Connection, Some("ws.rate-limited")),
        (|_, _| Some("502 Bad Gateway"), FailureClass::Connection, Some("ws.http-status")),
    ];
    for (rule, class, code) in rows {
        let (port, _seen) = brain(rule).await?;
        let agent = Agent::start(port, "longpoll", 0).await?;
        let status = agent.until(|status| status.state == LinkState::BackingOff).await?;
        let last = status.last_failure.unwrap_or_else(|| panic!("a failure"));
        assert_eq!((last.class, last.code.as_deref()), (class, code), "{}", last.text);
        agent.running.abort();
    }
    Ok(())
}

/// A brain of both transports; what an upgrade meets can be changed.
async fn brain_of_both(upgrade: fn() -> Reply) -> Outcome<(u16, Arc<Mutex<fn() -> Reply>>)> {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let upgrade = Arc::new(Mutex::new(upgrade));
    let theirs = Arc::clone(&upgrade);
    let port = serve_http(move |asked| match asked.target.as_str() {
        "/ws/agent" => theirs.lock().unwrap_or_else(PoisonError::into_inner)(),
        "/api/v1/health" => Reply::Text(http("200 OK", r#"{"status":"ok"}"#)),
        // A brain that does not wait: nothing is under way when the time jumps.
        target if target.contains("?wait=30") => Reply::Text(http("200 OK", r#"{"frames":[]}"#)),
        _ => brain_answer(&seen, |_, _| None, &asked).into(),
    })
    .await?;
    Ok((port, upgrade))
}

/// What a proxy that drops `Upgrade` makes of one.
fn stripped() -> Reply {
    Reply::Text(http("404 Not Found", r#"{"detail":"Not Found"}"#))
}

#[tokio::test(start_paused = true)]
async fn auto_falls_back_where_the_upgrade_is_stripped_and_comes_back() -> Outcome {
    with_held_time(async {
        let (port, upgrade) = brain_of_both(stripped).await?;
        let agent = Agent::start(port, "auto", 3).await?;
        let status = agent.until(|status| status.state == LinkState::Online).await?;
        assert_eq!(status.transport.as_deref(), Some("long-poll"));
        agent.until_buffered(0).await?;
        *upgrade.lock().unwrap_or_else(PoisonError::into_inner) = || Reply::Session;
        tokio::time::advance(std::time::Duration::from_secs(600)).await;
        agent.until(|status| status.transport.as_deref() == Some("websocket")).await?;
        agent.running.abort();
        Ok(())
    })
    .await
}

#[tokio::test]
async fn auto_falls_back_where_the_upgrade_is_cut_three_times_in_a_row() -> Outcome {
    let (port, _) = brain_of_both(|| Reply::Cut).await?;
    let agent = Agent::start(port, "auto", 0).await?;
    for failures in 1..=2 {
        agent.until(|status| status.streaks.connection == failures).await?;
        agent.commander.reconnect();
    }
    let status = agent.until(|status| status.state == LinkState::Online).await?;
    assert_eq!(status.transport.as_deref(), Some("long-poll"));
    agent.running.abort();
    Ok(())
}

#[tokio::test]
async fn a_gateway_without_its_brain_is_no_reason_to_fall_back() -> Outcome {
    let (port, _) = brain_of_both(|| Reply::Text(http("502 Bad Gateway", "<html>"))).await?;
    let agent = Agent::start(port, "auto", 0).await?;
    let status = agent.until(|status| status.state == LinkState::BackingOff).await?;
    assert_eq!(status.transport.as_deref(), Some("websocket"));
    agent.running.abort();
    Ok(())
}

#[tokio::test]
async fn ws_stays_where_it_is_told() -> Outcome {
    let (port, _seen) = brain(|_, _| None).await?;
    let agent = Agent::start(port, "ws", 0).await?;
    let status = agent.until(|status| status.state == LinkState::BackingOff).await?;
    assert_eq!(status.transport.as_deref(), Some("websocket"));
    agent.stop().await
}
