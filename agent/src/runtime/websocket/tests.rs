//! Sessions against a brain that does what each test says.

use z4j_protocol::{CanonicalText, FrameType};

use super::super::fixtures::{
    Agent, Brain, Outcome, Peer, event, numbers, sized_event, soon, with_held_time,
};
use crate::buffer::StoredResult;
use crate::status::{FailureClass, LinkState, LinkStatus};

const COMMAND: &str = "4c5f2f0e-3e1b-4d7e-9a51-0c2f3f1f9d11";

fn code(status: &LinkStatus) -> Option<&str> {
    status.last_failure.as_ref()?.code.as_deref()
}

/// The next batch: its id and the numbers of its events.
async fn batch(peer: &mut Peer) -> Outcome<(String, Vec<usize>)> {
    let (id, payload) = peer.next(FrameType::EventBatch).await?;
    Ok((id, numbers(&payload)))
}

#[tokio::test]
async fn events_are_forgotten_on_their_own_ack_and_sent_again_until_then() -> Outcome {
    let brain = Brain::start().await?;
    let agent = Agent::start(brain.port, "ws", 3).await?;
    let mut peer = brain.session().await?;
    let (first, sent) = batch(&mut peer).await?;
    assert_eq!(sent, [0, 1, 2]);
    agent.buffer.append(vec![event(3)?]).await?;
    let (second, sent) = batch(&mut peer).await?;
    assert_eq!(sent, [3]);
    // An ack of nothing that is ours changes nothing; the second may come first.
    peer.ack("unknown").await?;
    peer.ack(&second).await?;
    agent.until_buffered(3).await?;
    peer.close(1012).await?;
    let mut peer = brain.session().await?;
    let (again, sent) = batch(&mut peer).await?;
    assert_eq!(sent, [0, 1, 2]);
    assert_ne!(again, first);
    peer.ack(&again).await?;
    agent.until_buffered(0).await?;
    agent.stop().await
}

#[tokio::test]
async fn heartbeat_and_status_come_at_once() -> Outcome {
    let brain = Brain::start().await?;
    let agent = Agent::start(brain.port, "ws", 0).await?;
    let mut peer = brain.session().await?;
    let (_, heartbeat) = peer.next(FrameType::Heartbeat).await?;
    assert_eq!((&heartbeat["buffer_size"], &heartbeat["dropped_events"]), (&0.into(), &0.into()));
    assert!(heartbeat["telemetry_loss"]["runtime_id"].as_str().is_some_and(|id| id.len() <= 64));
    let (_, status) = peer.next(FrameType::AgentStatus).await?;
    assert_eq!(status["agent_version"], "0.1.0");
    assert!(status["last_successful_connect_at"].is_string());
    agent.stop().await
}

#[tokio::test]
async fn no_more_than_eight_batches_wait_for_their_ack() -> Outcome {
    let brain = Brain::start().await?;
    let agent = Agent::start(brain.port, "ws", 0).await?;
    let mut peer = brain.session().await?;
    let mut ids = Vec::new();
    for number in 0..8 {
        agent.buffer.append(vec![event(number)?]).await?;
        ids.push(batch(&mut peer).await?.0);
    }
    // The ninth comes only after an ack. What would come without one is the frame behind this command's ack.
    agent.buffer.append(vec![event(8)?]).await?;
    assert!(until_command_ack(&mut peer).await?.is_empty());
    peer.ack(&ids[4]).await?;
    let (ninth, sent) = batch(&mut peer).await?;
    assert_eq!(sent, [8]);
    for id in ids.iter().chain([&ninth]) {
        peer.ack(id).await?;
    }
    agent.until_buffered(0).await?;
    agent.running.abort();
    Ok(())
}

#[tokio::test]
async fn a_brain_that_acks_at_once_is_sent_more_and_more() -> Outcome {
    let brain = Brain::start().await?;
    let agent = Agent::start(brain.port, "ws", 8_000).await?;
    let mut peer = brain.session().await?;
    let (mut id, mut sent) = batch(&mut peer).await?;
    let (mut sizes, mut waiting) = (vec![sent.len()], until_command_ack(&mut peer).await?);
    assert_eq!((sent.len(), waiting.len()), (125, 0));
    while sizes.iter().sum::<usize>() < 8_000 {
        peer.ack(&id).await?;
        (id, sent) = batch(&mut peer).await?;
        sizes.push(sent.len());
        waiting.push(id.clone());
    }
    assert!(sizes.contains(&500), "{sizes:?}");
    for id in waiting {
        peer.ack(&id).await?;
    }
    agent.until_buffered(0).await?;
    agent.running.abort();
    Ok(())
}

/// The batches that come before the ack of a command, which is sent for this.
async fn until_command_ack(peer: &mut Peer) -> Outcome<Vec<String>> {
    command(peer, "null").await?;
    let mut batches = Vec::new();
    loop {
        match peer.frame().await? {
            (FrameType::EventBatch, id, _) => batches.push(id),
            (FrameType::CommandAck, ..) => return Ok(batches),
            _ => {}
        }
    }
}

async fn command(peer: &mut Peer, engine: &str) -> Outcome {
    let payload = serde_json::json!({
        "action": "retry_task", "target": { "type": "task", "id": "t", "engine": engine },
        "parameters": {}, "timeout_seconds": 60, "delivery_claim_token": "claim",
    });
    peer.send(FrameType::Command, COMMAND, payload).await
}

#[tokio::test]
async fn a_command_is_acked_first_and_its_result_settled_by_a_batch_behind_it() -> Outcome {
    let brain = Brain::start().await?;
    let agent = Agent::start(brain.port, "ws", 0).await?;
    let mut peer = brain.session().await?;
    peer.next(FrameType::AgentStatus).await?;
    command(&mut peer, "celery").await?;
    let (kind, id, ack) = peer.frame().await?;
    assert_eq!(
        (kind, id.as_str(), &ack["delivery_claim_token"]),
        (FrameType::CommandAck, COMMAND, &"claim".into())
    );
    let (id, result) = peer.next(FrameType::CommandResult).await?;
    assert_eq!((id.as_str(), &result["status"]), (COMMAND, &"failed".into()));
    let (proof, sent) = batch(&mut peer).await?;
    assert!(sent.is_empty());
    // Without the ack of that batch the result comes again over the next connection.
    peer.close(1012).await?;
    let mut peer = brain.session().await?;
    peer.next(FrameType::CommandResult).await?;
    let (again, _) = batch(&mut peer).await?;
    assert_ne!(again, proof);
    peer.ack(&again).await?;
    let mut status = agent.buffer.status();
    soon(status.wait_for(|status| status.unsettled_results == 0)).await??;
    agent.stop().await
}

#[tokio::test]
async fn a_result_has_what_the_brains_frames_hold_and_is_cut_to_that() -> Outcome {
    let brain = Brain::start().await?;
    let agent = Agent::start(brain.port, "ws", 0).await?;
    agent.buffer.begin_command(COMMAND, None).await?;
    let text =
        format!(r#"{{"error":null,"result":{{"stdout":"{}"}},"status":"success"}}"#, "x".repeat(50_000));
    let result = StoredResult { command_id: COMMAND.into(), payload: CanonicalText::kept(text) };
    agent.buffer.finish_command(result).await?;
    for (max_frame, least, most) in [(8_192, 7_000, 8_000), (1 << 20, 50_000, 50_000)] {
        let mut peer = brain.upgraded().await?;
        peer.greet(max_frame).await?;
        let (_, result) = peer.next(FrameType::CommandResult).await?;
        let stdout = result["result"]["stdout"].as_str().map_or(0, str::len);
        assert!((least..=most).contains(&stdout), "{stdout} of {max_frame}");
        assert_eq!(
            (&result["status"], &result["result"]["truncated"] == true),
            (&"success".into(), most < 50_000)
        );
        peer.close(1012).await?;
    }
    agent.running.abort();
    Ok(())
}

#[tokio::test]
async fn an_event_that_fits_no_frame_is_given_up_and_the_others_are_not() -> Outcome {
    let brain = Brain::start().await?;
    let agent = Agent::start(brain.port, "ws", 0).await?;
    agent.buffer.append(vec![event(0)?, sized_event(1, 9_000)?, sized_event(2, 5_000)?]).await?;
    let mut peer = brain.upgraded().await?;
    peer.greet(8_192).await?;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let (id, sent) = batch(&mut peer).await?;
        seen.extend(sent);
        peer.ack(&id).await?;
    }
    assert_eq!(seen, [0, 2]);
    agent.until_buffered(0).await?;
    assert_eq!(agent.buffer.status().borrow().loss.content_rejected, 1);
    agent.stop().await
}

#[tokio::test]
async fn a_stop_flushes_and_closes_with_1000() -> Outcome {
    let brain = Brain::start().await?;
    let agent = Agent::start(brain.port, "ws", 200).await?;
    let mut peer = brain.session().await?;
    let (first, _) = batch(&mut peer).await?;
    agent.commander.stop();
    agent.until(|status| status.state == LinkState::Stopping).await?;
    peer.ack(&first).await?;
    let (second, sent) = batch(&mut peer).await?;
    assert_eq!(sent.len(), 75);
    peer.ack(&second).await?;
    assert_eq!(peer.closed().await?, Some(1000));
    agent.until_buffered(0).await?;
    agent.stop().await
}

#[tokio::test]
async fn what_comes_in_while_it_connects_is_flushed_as_well() -> Outcome {
    let brain = Brain::start().await?;
    let agent = Agent::start(brain.port, "ws", 0).await?;
    let mut peer = brain.upgraded().await?;
    agent.buffer.append(vec![event(0)?]).await?;
    agent.commander.stop();
    peer.greet(1 << 20).await?;
    let (id, sent) = batch(&mut peer).await?;
    assert_eq!(sent, [0]);
    peer.ack(&id).await?;
    assert_eq!(peer.closed().await?, Some(1000));
    agent.stop().await
}

#[tokio::test]
async fn a_stop_asks_a_brain_that_is_away_until_it_is_back() -> Outcome {
    let brain = Brain::start().await?;
    let agent = Agent::start(brain.port, "ws", 2).await?;
    drop(brain.connection().await?);
    agent.until(|status| status.streaks.connection == 1).await?;
    agent.commander.stop();
    // At once, and again after that: a stopping agent does not give up at the first failure.
    drop(brain.connection().await?);
    let mut peer = brain.session().await?;
    let (id, sent) = batch(&mut peer).await?;
    assert_eq!(sent, [0, 1]);
    peer.ack(&id).await?;
    assert_eq!(peer.closed().await?, Some(1000));
    agent.until_buffered(0).await?;
    soon(agent.running).await??;
    Ok(())
}

#[tokio::test]
async fn a_reconnect_drops_a_live_connection_and_a_back_off() -> Outcome {
    let brain = Brain::start().await?;
    let agent = Agent::start(brain.port, "ws", 0).await?;
    let mut peer = brain.session().await?;
    agent.until(|status| status.state == LinkState::Online).await?;
    agent.commander.reconnect();
    assert_eq!(peer.closed().await?, Some(1000));
    let mut peer = brain.session().await?;
    // 4401 in the middle of a session means what it means at its start: ten seconds at least.
    peer.close(4401).await?;
    let status = agent.until(|status| status.state == LinkState::BackingOff).await?;
    assert_eq!(code(&status), Some("ws.token-rejected"));
    assert_eq!(status.streaks.auth, 1);
    agent.commander.reconnect();
    brain.session().await?;
    agent.stop().await
}

#[tokio::test]
async fn a_failure_has_its_class_and_the_doctors_code() -> Outcome {
    use FailureClass::{Auth, Connection, Incompatible};
    let rows = [
        (4401, Auth, Some("ws.token-rejected")),
        (4403, Auth, Some("ws.address-refused")),
        (4426, Incompatible, Some("ws.protocol-refused")),
        (4427, Incompatible, Some("ws.closed")),
        (4429, Connection, Some("ws.rate-limited")),
        (1012, Connection, Some("ws.closed")),
    ];
    for (close, class, expected) in rows {
        let brain = Brain::start().await?;
        let agent = Agent::start(brain.port, "ws", 0).await?;
        let mut peer = brain.upgraded().await?;
        peer.close(close).await?;
        let status = agent.until(|status| status.state == LinkState::BackingOff).await?;
        let told = status.last_failure.as_ref().map(|last| last.class);
        assert_eq!((told, code(&status)), (Some(class), expected), "{close} {status:?}");
        agent.running.abort();
    }
    Ok(())
}

#[tokio::test]
async fn a_port_without_a_brain_is_told_as_by_the_doctor() -> Outcome {
    let port = Brain::start().await?.port;
    let agent = Agent::start(port, "ws", 0).await?;
    let status = agent.until(|status| status.state == LinkState::BackingOff).await?;
    assert_eq!(code(&status), Some("tcp.refused"));
    agent.stop().await
}

#[tokio::test]
async fn a_fatal_complaint_ends_the_session_in_its_class() -> Outcome {
    let rows = [
        ("scheduler_upgrade_required", FailureClass::Incompatible),
        ("something_else", FailureClass::Protocol),
    ];
    for (word, class) in rows {
        let brain = Brain::start().await?;
        let agent = Agent::start(brain.port, "ws", 0).await?;
        let mut peer = brain.session().await?;
        let payload = serde_json::json!({ "code": word, "message": "m", "fatal": false });
        peer.send(FrameType::Error, "err", payload).await?;
        let payload = serde_json::json!({ "code": word, "message": "m", "fatal": true });
        peer.send(FrameType::Error, "err", payload).await?;
        let status = agent.until(|status| status.state == LinkState::BackingOff).await?;
        assert_eq!(status.last_failure.map(|last| last.class), Some(class), "{word}");
        agent.running.abort();
    }
    Ok(())
}

#[tokio::test]
async fn a_brain_that_hangs_up_after_every_handshake_is_not_hammered() -> Outcome {
    let brain = Brain::start().await?;
    let agent = Agent::start(brain.port, "ws", 0).await?;
    for failures in 1..=3 {
        let mut peer = brain.session().await?;
        peer.close(1011).await?;
        agent.until(|status| status.streaks.connection == failures).await?;
        agent.commander.reconnect();
    }
    // An ack is a proof, and ends the streak.
    let mut peer = brain.session().await?;
    agent.buffer.append(vec![event(0)?]).await?;
    let (id, _) = batch(&mut peer).await?;
    peer.ack(&id).await?;
    agent.until(|status| status.streaks.connection == 0).await?;
    agent.stop().await
}

#[tokio::test(start_paused = true)]
async fn a_batch_without_an_ack_ends_the_session_in_time() -> Outcome {
    with_held_time(async {
        let brain = Brain::start().await?;
        let agent = Agent::start(brain.port, "ws", 1).await?;
        let mut peer = brain.session().await?;
        batch(&mut peer).await?;
        // Pongs show that the brain lives; only the ack is missing.
        for _ in 0..4 {
            tokio::time::advance(std::time::Duration::from_secs(19)).await;
            peer.next(FrameType::AgentStatus).await?;
        }
        tokio::time::advance(std::time::Duration::from_secs(19)).await;
        assert_eq!(peer.closed().await?, Some(1000));
        let status = agent.until(|status| status.state == LinkState::BackingOff).await?;
        let text = status.last_failure.map(|last| last.text).unwrap_or_default();
        assert!(text.contains("no ack for 90 s"), "{text}");
        agent.running.abort();
        Ok(())
    })
    .await
}
