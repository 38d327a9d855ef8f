//! Agents that come and go: minting, revoking, new tokens.

use std::path::Path;

use mock_brain::{Brain, Options};
use serde_json::{Value as Json, json};

use crate::cli::{Serve, told};
use crate::kill::online_with;
use crate::longpoll::{POLL, Poller};
use crate::support::{Agent, closed, hello, listener, plain, within};

#[tokio::test]
async fn revoked_while_connected_and_let_in_again() {
    let brain = plain().await;
    let old = brain.credentials().token;
    let mut agent = Agent::online(&brain).await;
    brain.revoke_agent("demo-agent").unwrap();
    assert_eq!(agent.hear().await, closed(4003));
    let mut agent = Agent::connect(&brain).await;
    assert_eq!(agent.hear().await, closed(4401));
    let poller = Poller::new(&brain, "n");
    assert_eq!(poller.get(POLL).await.0, 401);
    assert!(brain.agents()[0].revoked);
    let credentials = brain.set_token("demo-agent", "another-token").unwrap();
    assert_eq!(credentials.agent_id, brain.credentials().agent_id);
    let mut agent = Agent::connect_with(&brain, "Bearer another-token").await;
    agent.greet(&hello()).await;
    let mut agent = Agent::connect_with(&brain, &format!("Bearer {old}")).await;
    assert_eq!(agent.hear().await, closed(4401), "the old token stays refused");
    brain.set_token("demo-agent", &old).unwrap();
    Agent::online(&brain).await;
}

#[tokio::test]
async fn a_held_poll_of_a_revoked_agent_is_a_401() {
    let brain = plain().await;
    let poller = Poller::new(&brain, "n");
    let line = POLL.replace("wait=0", "wait=60");
    let (answer, ()) = tokio::join!(poller.get(&line), async {
        tokio::task::yield_now().await;
        brain.revoke_agent("demo-agent").unwrap();
    });
    assert_eq!(answer.0, 401);
}

#[tokio::test]
async fn agents_and_projects_are_added_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { tls: false, state_dir: Some(dir.path().join("s")), ..Options::default() };
    let brain = Brain::start(options.clone(), listener()).await.unwrap();
    brain.add_project("shop").unwrap();
    let second = brain.add_agent("w2", None).unwrap();
    let third = brain.add_agent("w3", Some("shop")).unwrap();
    assert_eq!(second.hmac_secret, brain.credentials().hmac_secret);
    assert_ne!(third.hmac_secret, second.hmac_secret);
    assert!(brain.add_agent("w2", None).is_err(), "the name is taken");
    assert!(brain.add_agent("w4", Some("nothing")).is_err());
    assert!(brain.add_agent("", None).is_err());
    assert!(brain.add_project("shop").is_err());
    assert!(brain.set_token("w2", &third.token).is_err(), "that token is another agent's");
    assert!(brain.set_token("w2", "a b").is_err());
    brain.revoke_agent("w2").unwrap();
    within(brain.stop()).await;
    let brain = Brain::start(options, listener()).await.unwrap();
    let told: Vec<_> =
        brain.agents().iter().map(|a| (a.name.clone(), a.project.clone(), a.revoked)).collect();
    let expected = [("demo-agent", "demo", false), ("w2", "demo", true), ("w3", "shop", false)];
    assert_eq!(told, expected.map(|(name, project, revoked)| (name.to_owned(), project.to_owned(), revoked)));
    let mut agent = Agent::connect_with(&brain, &format!("Bearer {}", second.token)).await;
    assert_eq!(agent.hear().await, closed(4401));
    let mut agent = Agent::connect_with(&brain, &format!("Bearer {}", third.token)).await;
    agent.say(hello().to_string()).await;
    assert_eq!(agent.hear().await.frame()["payload"]["agent_id"], json!(third.agent_id));
    // The name of a revoked one is free, as on the real brain.
    assert_ne!(brain.add_agent("w2", None).unwrap().agent_id, second.agent_id);
    assert_eq!(brain.agents().len(), 3);
}

#[test]
fn from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let _serve = Serve::start(dir.path(), &["--no-tls"]);
    assert_eq!(told(dir.path(), &["project", "add", "shop"]), (0, "added: shop\n".to_owned(), String::new()));
    let (code, out, _) = told(dir.path(), &["agent", "add", "w 2", "--project", "shop", "--format", "json"]);
    let added: Json = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &added["Z4J_PROJECT_ID"], &added["Z4J_AGENT_NAME"]),
        (0, &json!("shop"), &json!("w 2"))
    );
    let (_, env, _) = told(dir.path(), &["env", "--agent", "w 2", "--format", "json"]);
    assert_eq!(env, out);
    assert_eq!(told(dir.path(), &["agent", "revoke", "w 2"]).0, 0);
    let (_, list, _) = told(dir.path(), &["agent", "list"]);
    assert!(list.contains("revoked") && list.contains("demo-agent"), "{list}");
    let (code, out, _) = told(dir.path(), &["agent", "token", "w 2", "--format", "json"]);
    let again: Json = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &again["Z4J_AGENT_ID"]), (0, &added["Z4J_AGENT_ID"]));
    assert_ne!(again["Z4J_TOKEN"], added["Z4J_TOKEN"]);
    // Names are a project's own.
    assert_eq!(told(dir.path(), &["agent", "add", "w 2"]).0, 0);
    for bad in [&["agent", "revoke", "x"][..], &["agent", "add", "w 2"], &["project", "add", "No Slug"]] {
        assert_eq!(told(dir.path(), bad).0, 1, "{bad:?}");
    }
}

fn json_of(dir: &Path, args: &[&str]) -> Json {
    serde_json::from_str(&told(dir, args).1).unwrap()
}

/// Makes an agent of the first one's name in another project; the settings of both, the new one's first.
fn namesakes(dir: &Path) -> [Json; 2] {
    assert_eq!(told(dir, &["project", "add", "shop"]).0, 0);
    let shop = json_of(dir, &["agent", "add", "demo-agent", "--project", "shop", "--json"]);
    let demo = json_of(dir, &["env", "--json"]);
    assert_ne!(shop["Z4J_AGENT_ID"], demo["Z4J_AGENT_ID"]);
    [shop, demo]
}

#[test]
fn a_name_that_several_have_is_not_enough() {
    let dir = tempfile::tempdir().unwrap();
    let _serve = Serve::start(dir.path(), &["--no-tls"]);
    let run = |args: &[&str]| told(dir.path(), args);
    let json = |args: &[&str]| json_of(dir.path(), args);
    let [shop, demo] = namesakes(dir.path());
    for refused in [
        &["agent", "revoke", "demo-agent"][..],
        &["agent", "token", "demo-agent"],
        &["env", "--agent", "demo-agent"],
        &["command", "send", "x", "--agent", "demo-agent"],
        &["sessions", "--agent", "demo-agent"],
        &["violations", "--agent", "demo-agent"],
        &["wait", "--connected", "--agent", "demo-agent"],
    ] {
        let (code, _, error) = run(refused);
        let both = error.contains("say demo/demo-agent or shop/demo-agent");
        assert_eq!((code, both), (1, true), "{refused:?}: {error}");
    }
    for (name, expected) in [
        ("demo/demo-agent", &demo),
        ("shop/demo-agent", &shop),
        (demo["Z4J_AGENT_ID"].as_str().unwrap(), &demo),
        (shop["Z4J_AGENT_ID"].as_str().unwrap(), &shop),
    ] {
        assert_eq!(&json(&["env", "--agent", name, "--json"]), expected, "{name}");
    }
    assert_eq!(run(&["env", "--agent", "shop/nobody"]).0, 1);

    assert_eq!(run(&["agent", "revoke", "shop/demo-agent"]).0, 0);
    assert_eq!(json(&["env", "--agent", "demo-agent", "--json"]), demo, "the one that is not revoked");
    assert_eq!(run(&["agent", "revoke", "demo-agent"]).0, 0);
    let (code, _, error) = run(&["agent", "token", "demo-agent"]);
    assert_eq!((code, error.contains("shop/demo-agent")), (1, true), "{error}");
    assert_eq!(run(&["agent", "token", "shop/demo-agent"]).0, 0);
    let again = json(&["env", "--agent", "demo-agent", "--json"]);
    assert_eq!(again["Z4J_AGENT_ID"], shop["Z4J_AGENT_ID"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_agents_of_one_name_do_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &["--no-tls", "--strict"]);
    let run = |args: &[&str]| told(dir.path(), args);
    let [shop, _] = namesakes(dir.path());
    let mut agent = online_with(&shop, &serve, &hello()).await;
    assert_eq!(run(&["command", "send", "x", "--agent", "shop/demo-agent"]).0, 0);
    assert_eq!(agent.hear().await.frame()["payload"]["action"], "x");
    agent.say_signed(&json!({"v": 2, "type": "heartbeat", "id": "h", "odd": 1, "payload": {}})).await;
    agent.batch(json!([])).await;
    for (name, count) in [("shop/demo-agent", 1), ("demo/demo-agent", 0)] {
        for list in ["sessions", "violations"] {
            let listed = json_of(dir.path(), &[list, "--agent", name, "--json"]);
            assert_eq!(listed["items"].as_array().unwrap().len(), count, "{list} {name}");
        }
        let (_, lines, _) =
            run(&["journal", "export", "--agent", name, "--kind", "session", "--type", "accepted"]);
        assert_eq!(lines.lines().count(), count, "{name}");
        let (code, ..) = run(&["wait", "--connected", "--agent", name, "--timeout", "10ms"]);
        assert_eq!(code == 0, count == 1, "{name}");
    }
    assert_eq!(run(&["agent", "revoke", "shop/demo-agent"]).0, 0);
    assert_eq!(agent.hear().await, closed(4003));
}
