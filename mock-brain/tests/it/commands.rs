//! Commands on both transports, and the life of one.

use std::time::Duration;

use mock_brain::{Brain, CommandState, Limits, NewCommand, Options};
use serde_json::{Value as Json, json};

use crate::cli::{Serve, told};
use crate::kill::{online, online_with};
use crate::longpoll::{POLL, PROBE, Poller, parsed};
use crate::support::{Agent, hello_with, listener, plain, request, with_limits, within};

fn send(brain: &Brain, action: &str) -> String {
    brain.send_command(NewCommand::new(action)).unwrap().id
}

async fn ended(brain: &Brain, id: &str) -> mock_brain::CommandInfo {
    let is_final = |brain: &Brain| brain.command(id).is_some_and(|command| command.status.is_final());
    assert!(brain.wait_until(Duration::from_secs(20), is_final).await, "{:?}", brain.command(id));
    brain.command(id).unwrap()
}

fn answer(id: &str, kind: &str, payload: &Json) -> Json {
    json!({"v": 2, "type": kind, "id": id, "payload": payload})
}

#[tokio::test]
async fn pushed_answered_and_recorded() {
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    let command =
        NewCommand::new("cancel_task").on("task", "celery:t1").with("engine", "celery").with("task_id", "t1");
    let id = brain.send_command(command).unwrap().id;
    let frame = agent.hear().await.frame();
    assert_eq!((&frame["type"], &frame["id"]), (&json!("command"), &json!(id)));
    assert_eq!(
        frame["payload"],
        json!({
            "action": "cancel_task",
            "target": {"type": "task", "id": "celery:t1", "engine": "celery"},
            "parameters": {"engine": "celery", "task_id": "t1"},
            "timeout_seconds": 60, "issued_by": null, "delivery_claim_token": null
        })
    );
    let info = brain.command(&id).unwrap();
    assert_eq!((info.status, info.deliveries), (CommandState::Dispatched, 1));
    agent.say_signed(&answer(&id, "command_ack", &json!({}))).await;
    let result = json!({"status": "success", "result": {"n": 1.0}, "error": null});
    agent.say_signed(&answer(&id, "command_result", &result)).await;
    let info = ended(&brain, &id).await;
    assert_eq!((info.status, info.acks), (CommandState::Completed, 1));
    assert_eq!(info.result.unwrap().to_canonical().unwrap(), r#"{"n":1.0}"#);
    let late = json!({"status": "failed", "error": "x"});
    agent.say_signed(&answer(&id, "command_result", &late)).await;
    agent.batch(json!([])).await;
    let info = brain.command(&id).unwrap();
    assert_eq!((info.status, info.ignored_results, info.error), (CommandState::Completed, 1, None));
}

#[tokio::test]
async fn failures_are_cut_and_odd_results_dropped() {
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    let cases = [
        (json!({"status": "failed", "error": "é".repeat(2_000)}), Some("é".repeat(1_024))),
        (json!({"status": "failed"}), Some("the agent reported a failure without a text".to_owned())),
        (json!({"status": "failed", "error": 5}), None),
    ];
    for (result, error) in cases {
        let id = send(&brain, "x");
        agent.hear().await.frame();
        agent.say_signed(&answer(&id, "command_result", &result)).await;
        agent.batch(json!([])).await;
        let info = brain.command(&id).unwrap();
        let status = if error.is_some() { CommandState::Failed } else { CommandState::Dispatched };
        assert_eq!((info.status, info.error), (status, error));
    }
}

#[tokio::test]
async fn queued_while_the_agent_is_away_and_pushed_oldest_first() {
    let brain = plain().await;
    let ids = [send(&brain, "a"), send(&brain, "b"), send(&brain, "c")];
    assert_eq!(brain.commands().iter().filter(|c| c.status == CommandState::Pending).count(), 3);
    let mut agent = Agent::online(&brain).await;
    for id in &ids {
        assert_eq!(agent.hear().await.frame()["id"], json!(id));
    }
    // What was sent is not sent again on the next connection.
    let mut again = Agent::online(&brain).await;
    assert_eq!(again.batch(json!([])).await, (0, 0, 0));
}

#[tokio::test]
async fn what_a_reset_kept_from_being_written_still_waits() {
    let brain = plain().await;
    brain.set_fault("tcp.reset at command first 1".parse().unwrap()).unwrap();
    let mut agent = Agent::online(&brain).await;
    let id = send(&brain, "a");
    agent.hear().await;
    let is_back = |brain: &Brain| brain.command(&id).unwrap().status == CommandState::Pending;
    assert!(brain.wait_until(Duration::from_secs(20), is_back).await, "{:?}", brain.command(&id));
    let info = brain.command(&id).unwrap();
    assert_eq!((info.deliveries, info.dispatched_at), (0, None));
    let mut agent = Agent::online(&brain).await;
    assert_eq!(agent.hear().await.frame()["id"], json!(id));
    assert_eq!(brain.command(&id).unwrap().deliveries, 1);
}

#[tokio::test]
async fn where_they_are_redelivered_commands_without_a_result_come_again() {
    for (strict, redeliver) in [(false, true), (true, false)] {
        let options = Options { tls: false, strict, redeliver, ..Options::default() };
        let brain = Brain::start(options, listener()).await.unwrap();
        let mut agent = Agent::connect(&brain).await;
        agent.greet(&hello_with("worker_id", json!("one"))).await;
        let ids = [send(&brain, "a"), send(&brain, "b")];
        for id in &ids {
            assert_eq!(agent.hear().await.frame()["id"], json!(id));
        }
        agent.say_signed(&answer(&ids[0], "command_ack", &json!({}))).await;
        agent.say_signed(&answer(&ids[0], "command_result", &json!({"status": "success"}))).await;
        ended(&brain, &ids[0]).await;
        // Not to a second worker while the first one is at it.
        let mut other = Agent::connect(&brain).await;
        other.greet(&hello_with("worker_id", json!("two"))).await;
        assert_eq!(other.batch(json!([])).await, (0, 0, 0));
        drop(other);
        drop(agent);
        let all_gone = |brain: &Brain| brain.sessions().iter().all(|session| session.ended_at.is_some());
        assert!(brain.wait_until(Duration::from_secs(20), all_gone).await);
        let mut agent = Agent::online(&brain).await;
        assert_eq!(agent.hear().await.frame()["id"], json!(ids[1]));
        assert_eq!(brain.command(&ids[1]).unwrap().deliveries, 2);
        agent.say_signed(&answer(&ids[1], "command_result", &json!({"status": "success"}))).await;
        assert_eq!(ended(&brain, &ids[1]).await.status, CommandState::Completed);
    }
}

#[tokio::test]
async fn the_slot_registered_first_gets_them_all() {
    let brain = plain().await;
    let mut first = Agent::connect(&brain).await;
    first.greet(&hello_with("worker_id", json!("one"))).await;
    let mut second = Agent::connect(&brain).await;
    second.greet(&hello_with("worker_id", json!("two"))).await;
    for _ in 0..3 {
        send(&brain, "x");
        first.hear().await.frame();
    }
    assert_eq!(second.batch(json!([])).await, (0, 0, 0));
    within(first.socket.close(None)).await.unwrap();
    first.hear().await;
    let id = send(&brain, "x");
    assert_eq!(second.hear().await.frame()["id"], json!(id));
}

#[tokio::test]
async fn time_runs_out_sent_or_not() {
    let limits = Limits { command: Duration::from_millis(200), ..Limits::default() };
    let brain = with_limits(limits);
    let waiting = send(&brain, "x");
    assert_eq!(ended(&brain, &waiting).await.status, CommandState::Timeout);
    let mut agent = Agent::online(&brain).await;
    let id = send(&brain, "x");
    agent.hear().await.frame();
    assert_eq!(ended(&brain, &id).await.status, CommandState::Timeout);
    agent.say_signed(&answer(&id, "command_result", &json!({"status": "success"}))).await;
    agent.batch(json!([])).await;
    let info = brain.command(&id).unwrap();
    assert_eq!((info.status, info.ignored_results), (CommandState::Timeout, 1));
}

#[tokio::test]
async fn a_claim_token_is_sent_and_its_echo_checked() {
    let options = Options { tls: false, strict: true, ..Options::default() };
    let brain = Brain::start(options, listener()).await.unwrap();
    let mut agent = Agent::online(&brain).await;
    let command = NewCommand { delivery_claim_token: Some("claim".to_owned()), ..NewCommand::new("x") };
    let id = brain.send_command(command).unwrap().id;
    assert_eq!(agent.hear().await.frame()["payload"]["delivery_claim_token"], "claim");
    agent.say_signed(&answer(&id, "command_ack", &json!({"delivery_claim_token": "claim"}))).await;
    agent.batch(json!([])).await;
    assert_eq!(brain.violations(), []);
    agent.say_signed(&answer(&id, "command_result", &json!({"status": "success"}))).await;
    agent.batch(json!([])).await;
    assert_eq!(brain.violations()[0].rule, "command.claim-token");
}

fn frames((status, answer): (u16, String)) -> Vec<Json> {
    let (got, body) = parsed((status, answer));
    assert_eq!(got, 200, "{body}");
    let texts = body["frames"].as_array().unwrap().iter().map(|frame| frame.as_str().unwrap().to_owned());
    texts.map(|text| serde_json::from_str(&text).unwrap()).collect()
}

#[tokio::test]
async fn long_poll_is_handed_commands_and_some_again() {
    let brain = with_limits(Limits { redelivery: Duration::from_millis(100), ..Limits::default() });
    let mut poller = Poller::new(&brain, "n");
    poller.get(PROBE).await;
    let (cancel, limit) = (send(&brain, "cancel_task"), send(&brain, "rate_limit"));
    assert!(frames(poller.get(PROBE).await).is_empty(), "a probe claims nothing");
    let handed = frames(poller.get(&format!("{POLL}&max_frames=1")).await);
    assert_eq!((handed.len(), &handed[0]["id"], &handed[0]["seq"]), (1, &json!(cancel), &json!(1)));
    let handed = frames(poller.get(POLL).await);
    assert_eq!((&handed[0]["id"], &handed[0]["seq"]), (&json!(limit), &json!(2)));
    // An acknowledgement does not stop it, a result does.
    let ack = poller.frame(&answer(&cancel, "command_ack", &json!({})));
    poller.post(&[ack]).await;
    let again = frames(poller.get(&POLL.replace("wait=0", "wait=20")).await);
    assert_eq!((again.len(), &again[0]["id"], &again[0]["seq"]), (1, &json!(cancel), &json!(3)));
    let result = poller.frame(&answer(&cancel, "command_result", &json!({"status": "success"})));
    poller.post(&[result]).await;
    assert!(frames(poller.get(&POLL.replace("wait=0", "wait=1")).await).is_empty());
    assert_eq!(brain.command(&cancel).unwrap().deliveries, 2);
}

#[tokio::test]
async fn a_held_poll_is_woken() {
    let brain = plain().await;
    let poller = Poller::new(&brain, "n");
    let line = POLL.replace("wait=0", "wait=60");
    let (handed, id) = tokio::join!(poller.get(&line), async {
        // The poll is there first, most times; either order must do.
        tokio::task::yield_now().await;
        send(&brain, "x")
    });
    assert_eq!(frames(handed)[0]["id"], json!(id));
}

#[tokio::test]
async fn retries_need_the_contract_header() {
    let brain = plain().await;
    let poller = Poller::new(&brain, "n");
    let command = NewCommand::new("retry_task").with("engine", "celery");
    brain.send_command(command).unwrap();
    let poll = |header: &str| {
        let headers = poller.headers() + header;
        let brain = &brain;
        async move { frames(request(brain, POLL, &headers, "").await).len() }
    };
    for bad in ["", "X-Z4J-Retry-Contracts: rq=1\r\n", "X-Z4J-Retry-Contracts: celery=1, x\r\n"] {
        assert_eq!(poll(bad).await, 0, "{bad}");
    }
    assert_eq!(poll("X-Z4J-Retry-Contracts: rq=1, celery=1\r\n").await, 1);
}

#[tokio::test]
async fn what_cannot_be_sent() {
    let brain = plain().await;
    for bad in [
        NewCommand::new(""),
        NewCommand::new("x").to("nobody"),
        NewCommand { target: Some(json!([])), ..NewCommand::new("x") },
        NewCommand::new("x").with("k", "x".repeat(600_000)),
    ] {
        assert!(brain.send_command(bad).is_err());
    }
    brain.revoke_agent("demo-agent").unwrap();
    assert!(brain.send_command(NewCommand::new("x")).is_err());
}

#[test]
fn from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let _serve = Serve::start(dir.path(), &["--no-tls"]);
    let arguments =
        ["command", "send", "x", "--target", "queue:q", "--param", "n=5", "--wait", "1s", "--json"];
    let (code, out, error) = told(dir.path(), &arguments);
    assert_eq!((code, error.as_str()), (1, ""), "nobody answers");
    let sent: Json = serde_json::from_str(&out).unwrap();
    assert_eq!((&sent["status"], &sent["parameters"]), (&json!("pending"), &json!({"n": 5})));
    let (code, out, _) = told(dir.path(), &["command", "list", "--json"]);
    let list: Json = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &list["items"][0]["id"]), (0, &sent["id"]));
    assert_eq!(told(dir.path(), &["command", "send", "x"]).0, 0);
    for bad in [&["--wait", "soon"][..], &["--target", "q"], &["--param", "n"]] {
        let (code, _, error) = told(dir.path(), &[&["command", "send", "x"], bad].concat());
        assert_eq!((code, error.matches('\n').count()), (2, 1), "{error}");
    }
    let (code, _, error) = told(dir.path(), &["command", "send", "x", "--agent", "nobody"]);
    assert_eq!((code, error.contains("demo-agent")), (1, true), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_brain_forgot_is_no_violation() {
    let dir = tempfile::tempdir().unwrap();
    let options = ["--no-tls", "--memory"];
    let count = || {
        let (_, listed, _) = told(dir.path(), &["violations", "--json", "--rule", "command.unknown"]);
        serde_json::from_str::<Json>(&listed).unwrap()["items"].as_array().unwrap().len()
    };
    let result = |id: &str| answer(id, "command_result", &json!({"status": "success"}));
    let mut serve = Serve::start(dir.path(), &options);
    let mut agent = online(dir.path(), &serve).await;
    let mut ids = Vec::new();
    for forgets in ["a reset", "a restart"] {
        assert_eq!(told(dir.path(), &["command", "send", "x"]).0, 0);
        let id = agent.hear().await.frame()["id"].as_str().unwrap().to_owned();
        if forgets == "a reset" {
            assert_eq!(told(dir.path(), &["reset"]).0, 0);
        } else {
            serve.kill();
            serve = Serve::start(dir.path(), &options);
            agent = online(dir.path(), &serve).await;
        }
        agent.say_signed(&result(&id)).await;
        agent.batch(json!([])).await;
        assert_eq!(count(), 0, "{forgets}");
        ids.push(id);
    }
    let mut other = ids[0].clone().into_bytes();
    other[0] = if other[0] == b'0' { b'1' } else { b'0' };
    agent.say_signed(&result(std::str::from_utf8(&other).unwrap())).await;
    agent.batch(json!([])).await;
    assert_eq!(count(), 1, "it was never issued");
    assert_eq!(told(dir.path(), &["agent", "add", "other"]).0, 0);
    let (_, env, _) = told(dir.path(), &["env", "--agent", "other", "--format", "json"]);
    let env: Json = serde_json::from_str(&env).unwrap();
    let mut agent = online_with(&env, &serve, &hello_with("worker_id", json!("w2"))).await;
    agent.say_signed(&result(&ids[0])).await;
    agent.batch(json!([])).await;
    assert_eq!(count(), 2, "it was issued to another agent");
}
