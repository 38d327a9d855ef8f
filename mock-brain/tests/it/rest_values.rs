//! What the REST API refuses, and what it makes of a body, as observed of the real brain.

use mock_brain::Brain;
use serde_json::{Value as Json, json};

use crate::rest::Person;
use crate::support::{Agent, at, event, hello, now, plain, request};

/// An agent that takes every command, and told of a task and of a worker.
async fn capable(brain: &Brain) -> Agent {
    let mut agent = Agent::connect(brain).await;
    let mut said = hello();
    said["payload"]["capabilities"] = json!({ "celery": [
        "retry_task", "retry_by_reference_v1", "purge_queue", "restart_worker", "pool_grow", "add_consumer",
        "rate_limit",
    ] });
    agent.greet(&said).await;
    let mut task = event("t", "task.received", &at(-60));
    task["data"] = json!({ "queue": "q", "worker": "seen", "priority": "high" });
    let mut worker = event("", "worker.online", &at(-60));
    worker["data"] = json!({ "worker": "own" });
    assert_eq!(agent.batch(json!([task, worker])).await.0, 2);
    agent
}

/// Issues a command, and returns what the agent is told.
async fn told(person: &Person<'_>, agent: &mut Agent, id: &str, verb: &str, mut body: Json) -> Json {
    body["agent_id"] = id.into();
    let (status, issued) = person.ask(&format!("POST projects/demo/commands/{verb}"), body).await;
    assert_eq!(status, 202, "{issued}");
    agent.hear().await.frame()["payload"].take()
}

#[tokio::test]
async fn bodies_that_are_wrong_are_refused() {
    let brain = plain().await;
    let person = Person::new(&brain).await;
    let _agent = capable(&brain).await;
    let task = json!({ "engine": "celery", "task_id": "t" });
    for (verb, body, field) in [
        ("pool-resize", json!({ "worker_name": "own", "delta": 0 }), Some("delta")),
        ("rate-limit", json!({ "task_name": "x", "rate": "10/q" }), Some("rate")),
        ("rate-limit", json!({ "task_name": "x", "rate": "0/m" }), Some("rate")),
        ("rate-limit", json!({ "task_name": "x", "rate": "1.5" }), Some("rate")),
        ("purge-queue", json!({ "queue": "q", "observed_depth": -1 }), Some("observed_depth")),
        ("retry-task", json!({ "override_args": [1] }), None),
        ("retry-task", json!({ "override_kwargs": {} }), None),
        ("retry-task", json!({ "override_args": "x", "override_kwargs": {} }), Some("override_args")),
        ("retry-task", json!({ "eta_seconds": 1.5 }), Some("eta_seconds")),
    ] {
        let mut body = body;
        body["agent_id"] = brain.credentials().agent_id.into();
        if verb == "retry-task" {
            body["engine"] = task["engine"].clone();
            body["task_id"] = task["task_id"].clone();
        }
        let (status, answer) = person.ask(&format!("POST projects/demo/commands/{verb}"), body).await;
        let place = field.map_or(json!(["body"]), |field| json!(["body", field]));
        assert_eq!((status, &answer["detail"][0]["loc"]), (422, &place), "{verb}: {answer}");
        assert_eq!(answer["detail"].as_array().unwrap().len(), 1, "{answer}");
    }
    for query in ["since=bad", "until=bad", "since=", "since=2026-13-01", "priority=odd", "priority=high,odd"]
    {
        let (status, answer) = person.ask(&format!("GET projects/demo/tasks?{query}"), Json::Null).await;
        assert_eq!(status, 422, "{query}: {answer}");
    }
}

#[tokio::test]
async fn tasks_are_filtered_by_time_and_priority() {
    let brain = plain().await;
    let person = Person::new(&brain).await;
    let _agent = capable(&brain).await;
    let (before, after) = (now().unix_seconds() - 3_600, now().unix_seconds() + 3_600);
    for (query, count) in [
        (format!("since={before}"), 1),
        (format!("since={after}"), 0),
        (format!("until={after}000"), 1),
        (format!("until={before}000"), 0),
        ("since=2020-01-01".to_owned(), 1),
        ("until=2020-01-01T00:00:00Z".to_owned(), 0),
        ("priority=high".to_owned(), 1),
        ("priority=low,high".to_owned(), 1),
        ("priority=low".to_owned(), 0),
    ] {
        let page = person.get(&format!("projects/demo/tasks?{query}")).await;
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{query}: {page}");
    }
}

#[tokio::test]
async fn a_worker_is_one_that_this_agent_reports() {
    let brain = plain().await;
    let person = Person::new(&brain).await;
    let mut agent = capable(&brain).await;
    let id = brain.credentials().agent_id;
    for (name, engine) in [("nope", json!(null)), ("seen", json!(null)), ("own", json!("rq"))] {
        for verb in ["restart-worker", "add-consumer", "pool-resize"] {
            let body =
                json!({ "agent_id": id, "worker_name": name, "engine": engine, "queue": "q", "delta": 1 });
            let (status, answer) = person.ask(&format!("POST projects/demo/commands/{verb}"), body).await;
            assert_eq!((status, &answer["error"]), (422, &json!("validation_error")), "{verb} {name}");
        }
    }
    let payload = told(&person, &mut agent, &id, "restart-worker", json!({ "worker_name": "own" })).await;
    assert_eq!(payload["parameters"], json!({ "worker_name": "own", "engine": "celery" }));
    let stats = person.get("projects/demo/stats").await;
    assert_eq!(stats["workers_online"], 2);
    let queue = &stats["queue_depths"][0];
    assert_eq!(
        (&queue["name"], &queue["engine"], &queue["pending_count"]),
        (&json!("q"), &json!("celery"), &json!(0))
    );
}

#[tokio::test]
async fn what_the_brain_adds_to_a_command() {
    let brain = plain().await;
    let person = Person::new(&brain).await;
    let mut agent = capable(&brain).await;
    let id = brain.credentials().agent_id;
    let secret = z4j_protocol::HmacSecret::parse(&brain.credentials().hmac_secret).unwrap();
    for (body, token) in [
        (json!({ "queue": "q" }), json!(null)),
        (json!({ "queue": "q", "observed_depth": 3 }), json!(secret.purge_token("q", 3))),
        (json!({ "queue": "q", "observed_depth": 3, "force": true }), json!(null)),
        (json!({ "queue": "q", "observed_depth": 3, "confirm_token": "ab" }), json!("ab")),
    ] {
        let payload = told(&person, &mut agent, &id, "purge-queue", body.clone()).await;
        assert_eq!(payload["parameters"]["confirm_token"], token, "{body}");
    }
    let retry = json!({ "engine": "celery", "task_id": "t", "eta_seconds": 60 });
    let begun = now().unix_seconds();
    let parameters = told(&person, &mut agent, &id, "retry-task", retry).await["parameters"].take();
    let due = parameters["eta"].as_f64().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "seconds of this century fit")]
    let earliest = (begun + 60) as f64;
    assert!(parameters["eta"].is_f64() && due >= earliest, "{parameters}");
    assert_eq!((&parameters["priority"], &parameters["eta_seconds"]), (&json!("high"), &json!(60)));
    let unknown = json!({ "engine": "celery", "task_id": "none" });
    let parameters = told(&person, &mut agent, &id, "retry-task", unknown).await["parameters"].take();
    assert_eq!((&parameters["priority"], &parameters["eta"]), (&Json::Null, &Json::Null));
}

#[tokio::test]
async fn the_brain_tells_of_its_health_inside() {
    let brain = plain().await;
    let person = Person::new(&brain).await;
    for (path, key) in [("health/deep", "checks"), ("health/system", "packages")] {
        let (status, _) = request(&brain, &format!("GET /api/v1/{path}"), "", "").await;
        assert_eq!(status, 401);
        assert!(person.get(path).await[key].is_object());
        assert_eq!(person.ask(&format!("POST {path}"), json!({})).await.0, 405);
    }
}
