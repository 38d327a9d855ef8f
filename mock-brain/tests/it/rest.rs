//! The real brain's REST API on the agent port.

use mock_brain::Brain;
use serde_json::{Value as Json, json};

use crate::longpoll::{POLL, Poller};
use crate::support::{Agent, Heard, at, closed, event, hello, plain, request};

/// Somebody who logged in.
pub(crate) struct Person<'b> {
    brain: &'b Brain,
    headers: String,
}

fn body_of(answer: &str) -> Json {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap_or_default()
}

async fn log_in(brain: &Brain, email: &str, password: &str) -> (u16, String) {
    let body = json!({ "email": email, "password": password }).to_string();
    request(brain, "POST /api/v1/auth/login", "Content-Type: application/json\r\n", &body).await
}

impl<'b> Person<'b> {
    pub(crate) async fn new(brain: &'b Brain) -> Self {
        let (email, password) = brain.administrator();
        let (status, answer) = log_in(brain, &email, &password).await;
        assert_eq!(status, 200, "{answer}");
        let cookies = answer.lines().filter_map(|line| line.strip_prefix("Set-Cookie: "));
        let cookies: Vec<_> = cookies.map(|cookie| cookie.split(';').next().unwrap()).collect();
        let csrf = cookies.iter().find_map(|cookie| cookie.strip_prefix("z4j_csrf=")).unwrap();
        let headers = format!(
            "Cookie: {}\r\nX-CSRF-Token: {csrf}\r\nContent-Type: application/json\r\n",
            cookies.join("; ")
        );
        Self { brain, headers }
    }

    pub(crate) async fn ask(&self, line: &str, body: Json) -> (u16, Json) {
        let (method, path) = line.split_once(' ').unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let line = format!("{method} /api/v1/{path}");
        let (status, answer) = request(self.brain, &line, &self.headers, &body).await;
        (status, body_of(&answer))
    }

    pub(crate) async fn get(&self, path: &str) -> Json {
        let (status, answer) = self.ask(&format!("GET {path}"), Json::Null).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }
}

#[tokio::test]
async fn only_those_who_logged_in() {
    let brain = plain().await;
    let (email, password) = brain.administrator();
    let (status, answer) = request(&brain, "GET /api/v1/projects", "", "").await;
    assert_eq!((status, &body_of(&answer)["error"]), (401, &json!("unauthenticated")));
    let (status, answer) = request(&brain, "POST /api/v1/projects", "", "{}").await;
    assert_eq!(
        (status, &body_of(&answer)["message"]),
        (401, &json!("authentication required for csrf check"))
    );
    for (email, password) in [(email.as_str(), "wrong"), ("nobody@example.com", password.as_str())] {
        let (status, answer) = log_in(&brain, email, password).await;
        assert_eq!((status, &body_of(&answer)["message"]), (401, &json!("invalid_credentials")));
    }
    let person = Person::new(&brain).await;
    let cookies = person.headers.lines().next().unwrap().to_owned() + "\r\n";
    assert_eq!(request(&brain, "GET /api/v1/auth/me", &cookies, "").await.0, 200);
    for headers in [cookies.clone(), format!("{cookies}X-CSRF-Token: x\r\n")] {
        let (status, answer) = request(&brain, "POST /api/v1/projects", &headers, "{}").await;
        assert_eq!((status, &body_of(&answer)["details"]["reason"]), (403, &json!("csrf_mismatch")));
    }
    assert_eq!(person.ask("POST auth/logout", Json::Null).await.0, 204);
    assert_eq!(person.ask("GET auth/me", Json::Null).await.0, 401);
}

#[tokio::test]
async fn logins_are_limited() {
    let brain = plain().await;
    for _ in 0..20 {
        assert_eq!(log_in(&brain, "a@b.example", "wrong").await.0, 401);
    }
    let (email, password) = brain.administrator();
    let (status, answer) = log_in(&brain, &email, &password).await;
    assert!(status == 429 && answer.contains("Retry-After: ") && answer.contains("(login)"), "{answer}");
}

#[tokio::test]
async fn a_project_is_made_renamed_and_archived() {
    let brain = plain().await;
    let person = Person::new(&brain).await;
    let (status, made) = person.ask("POST projects", json!({ "slug": "shop", "name": "Shop" })).await;
    assert_eq!((status, &made["name"], &made["is_active"]), (201, &json!("Shop"), &json!(true)));
    for (body, status) in [
        (json!({ "slug": "shop", "name": "x" }), 409),
        (json!({ "slug": "Bad_Slug", "name": "x" }), 409),
        (json!({ "slug": "b", "name": "x" }), 422),
        (json!({ "slug": "good" }), 422),
        (json!({ "slug": "good", "name": 5 }), 422),
        (json!({ "slug": "good", "name": "x", "environment": "No" }), 422),
        (json!([]), 422),
    ] {
        assert_eq!(person.ask("POST projects", body.clone()).await.0, status, "{body}");
    }
    let changes = json!({ "slug": "store", "name": "Store", "description": "d", "is_active": false });
    let (status, changed) = person.ask("PATCH projects/shop", changes).await;
    assert_eq!((status, &changed["slug"], &changed["id"]), (200, &json!("store"), &made["id"]));
    assert_eq!((&changed["is_active"], &changed["description"]), (&json!(true), &json!("d")));
    assert_eq!(person.ask("GET projects/shop", Json::Null).await.0, 404);
    assert_eq!(person.ask("PATCH projects/store", json!({ "slug": "demo" })).await.0, 409);
    assert_eq!(person.ask("DELETE projects/store", Json::Null).await.0, 204);
    assert_eq!(person.ask("GET projects/store", Json::Null).await.0, 404);
    let (status, changed) = person.ask("PATCH projects/store", json!({})).await;
    assert_eq!((status, &changed["is_active"]), (200, &json!(false)));
    let projects = person.get("projects").await;
    assert_eq!((projects.as_array().unwrap().len(), &projects[0]["slug"]), (1, &json!("demo")));
    let (status, answer) = person.ask("DELETE projects/demo", Json::Null).await;
    assert_eq!((status, &answer["error"]), (409, &json!("conflict")), "the last one stays");
}

#[tokio::test]
async fn agents_of_an_archived_project_are_kept_out() {
    let brain = plain().await;
    brain.add_project("other").unwrap();
    let mut agent = Agent::online(&brain).await;
    let poller = Poller::new(&brain, "n");
    assert_eq!(poller.get(POLL).await.0, 200);
    let person = Person::new(&brain).await;
    assert_eq!(person.ask("DELETE projects/demo", Json::Null).await.0, 204);
    assert_eq!(agent.hear().await, closed(4003));
    assert_eq!(Agent::connect(&brain).await.hear().await, closed(4401));
    let (status, answer) = poller.get(POLL).await;
    assert!(status == 403 && answer.to_string().contains("project_inactive"), "{answer}");
    assert!(brain.add_agent("late", Some("demo")).is_err());
    brain.restore_project("demo").unwrap();
    assert_eq!(poller.get(POLL).await.0, 200);
    let mut agent = Agent::online(&brain).await;
    assert_eq!(agent.batch(json!([event("t", "task.sent", &at(0))])).await, (1, 1, 0));
}

#[tokio::test]
async fn an_agent_is_minted_seen_and_revoked() {
    let brain = plain().await;
    let person = Person::new(&brain).await;
    let (status, minted) = person.ask("POST projects/demo/agents", json!({ "name": "a" })).await;
    assert_eq!((status, &minted["agent"]["state"]), (201, &json!("unknown")));
    assert_eq!(minted["hmac_secret"], brain.credentials().hmac_secret);
    assert_eq!(person.ask("POST projects/demo/agents", json!({ "name": "a" })).await.0, 409);
    assert_eq!(person.ask("POST projects/none/agents", json!({ "name": "a" })).await.0, 404);
    assert_eq!(person.ask("POST projects/demo/agents", json!({ "name": "" })).await.0, 422);
    let bearer = format!("Bearer {}", minted["token"].as_str().unwrap());
    let mut agent = Agent::connect_with(&brain, &bearer).await;
    let mut said = hello();
    said["payload"]["host"] = json!({ "name": "box" });
    agent.greet(&said).await;
    let agents = person.get("projects/demo/agents").await;
    assert_eq!((&agents[0]["name"], &agents[0]["state"]), (&json!("a"), &json!("online")), "{agents:#}");
    assert_eq!((&agents[0]["host_name"], &agents[0]["engine_adapters"]), (&json!("box"), &json!(["celery"])));
    let workers = person.get("projects/demo/agent-workers").await;
    assert_eq!((&workers[0]["worker_id"], &workers[0]["state"]), (&json!("w1"), &json!("online")));
    let path = format!("projects/demo/agents/{}", minted["agent"]["id"].as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(person.ask(&format!("DELETE {path}"), Json::Null).await.0, 204);
    }
    assert_eq!(agent.hear().await, closed(4003));
    assert_eq!(person.ask("DELETE projects/demo/agents/x", Json::Null).await.0, 422);
    let nobody = uuid::Uuid::nil();
    assert_eq!(person.ask(&format!("DELETE projects/demo/agents/{nobody}"), Json::Null).await.0, 404);
    assert_eq!(person.get("projects/demo/agents").await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn events_and_tasks_are_listed() {
    let brain = plain().await;
    let person = Person::new(&brain).await;
    let mut agent = Agent::online(&brain).await;
    let mut failed = event("a", "task.failed", &at(-1));
    failed["data"] = json!({ "exception": "E", "queue": "q1", "worker": "celery@h", "args": [1, 2.5] });
    let batch = json!([
        event("a", "task.sent", &at(-3)),
        event("a", "task.started", &at(-2)),
        failed,
        event("b", "task.sent", &at(-3)),
        event("c d/é", "task.succeeded", &at(-3)),
    ]);
    agent.batch(batch).await;
    let path = "projects/demo/events?engine=celery&task_id=a";
    let events = person.get(path).await;
    let kinds: Vec<_> =
        events["items"].as_array().unwrap().iter().map(|event| event["kind"].clone()).collect();
    assert_eq!(kinds, ["task.failed", "task.started", "task.sent"]);
    let first = person.get(&format!("{path}&limit=2")).await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = person.get(&format!("{path}&limit=2&cursor={cursor}")).await;
    assert_eq!((&rest["items"][0]["kind"], &rest["next_cursor"]), (&json!("task.sent"), &Json::Null));
    for bad in ["", "?engine=celery", "?engine=celery&task_id=", "?engine=celery&task_id=a&limit=0"] {
        assert_eq!(person.ask(&format!("GET projects/demo/events{bad}"), Json::Null).await.0, 422, "{bad}");
    }
    let task = person.get("projects/demo/tasks/celery/a").await;
    assert_eq!(
        (&task["state"], &task["exception"], &task["queue"]),
        (&json!("failure"), &json!("E"), &json!("q1"))
    );
    assert_eq!((&task["args"], &task["name"]), (&json!([1, 2.5]), &json!("x.add")));
    assert_eq!(person.get("projects/demo/tasks/celery/c%20d%2F%C3%A9").await["state"], "success");
    assert_eq!(person.ask("GET projects/demo/tasks/celery/none", Json::Null).await.0, 404);
    let page = person.get("projects/demo/tasks?limit=2&include_total=true").await;
    assert_eq!((&page["total_count"], &page["items"][1]["task_id"]), (&json!(3), &json!("b")));
    let next = page["next_cursor"].as_str().unwrap();
    assert_eq!(person.get(&format!("projects/demo/tasks?cursor={next}")).await["items"][0], task);
    assert_eq!(person.get("projects/demo/tasks?state=failure").await["items"].as_array().unwrap().len(), 1);
    assert_eq!(person.ask("GET projects/demo/tasks?state=odd", Json::Null).await.0, 422);
    assert_eq!(person.get("projects/demo/queues").await[0]["name"], "q1");
    assert_eq!(person.get("projects/demo/workers").await[0]["state"], "online");
    let stats = person.get("projects/demo/stats").await;
    assert_eq!((&stats["tasks_by_state"]["pending"], &stats["agents_online"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn commands_are_issued_and_come_back() {
    let brain = plain().await;
    let person = Person::new(&brain).await;
    let id = brain.credentials().agent_id;
    let cancel = json!({ "agent_id": id, "engine": "celery", "task_id": "t" });
    let verb = "POST projects/demo/commands/cancel-task";
    let (status, away) = person.ask(verb, cancel.clone()).await;
    assert_eq!((status, &away["error"]), (503, &json!("agent_offline")));
    let mut agent = Agent::connect(&brain).await;
    let mut said = hello();
    said["payload"]["capabilities"] = json!({ "celery": ["cancel_task"] });
    agent.greet(&said).await;
    let waited = agent.hear().await.frame();
    assert_eq!(
        waited["payload"]["action"], "cancel_task",
        "what was refused is kept for the agent all the same"
    );
    let keyed = json!({ "agent_id": id, "engine": "celery", "task_id": "u", "idempotency_key": "k" });
    let (status, issued) = person.ask(verb, keyed.clone()).await;
    assert_eq!((status, &issued["status"]), (202, &json!("dispatched")), "{issued}");
    assert_eq!((&issued["target_type"], &issued["target_id"]), (&json!("task"), &json!("celery:u")));
    let frame = agent.hear().await.frame();
    assert_eq!((&frame["id"], &frame["payload"]["issued_by"]), (&issued["id"], &issued["issued_by"]));
    let result = json!({ "status": "success", "result": { "n": 1 }, "error": null });
    agent
        .say_signed(&json!({ "v": 2, "type": "command_result", "id": issued["id"], "payload": result }))
        .await;
    let done = mock_brain::Condition::Command { id: issued["id"].as_str().unwrap().to_owned() };
    assert!(brain.wait_for(&done, crate::support::DEADLINE).await);
    let (status, again) = person.ask(verb, keyed.clone()).await;
    assert_eq!((status, &again["id"], &again["result"]), (202, &issued["id"], &json!({ "n": 1 })));
    let mut other = keyed;
    other["task_id"] = json!("v");
    assert_eq!(person.ask(verb, other).await.0, 409);
    let list = person.get("projects/demo/commands?status=completed").await;
    assert_eq!((list["items"].as_array().unwrap().len(), &list["items"][0]), (1, &again));
    for (line, body, status) in [
        (verb, json!({ "agent_id": id, "engine": "rq", "task_id": "t" }), 422),
        ("POST projects/demo/commands/retry-task", cancel.clone(), 422),
        (verb, json!({ "agent_id": id }), 422),
        (verb, json!({ "agent_id": "x", "engine": "celery", "task_id": "t" }), 422),
        (verb, json!({ "agent_id": uuid::Uuid::nil(), "engine": "celery", "task_id": "t" }), 404),
        ("POST projects/demo/commands/no-such", cancel.clone(), 405),
        ("GET projects/demo/commands/x", Json::Null, 422),
        ("PUT projects/demo", Json::Null, 405),
    ] {
        let (got, answer) = person.ask(line, body).await;
        assert_eq!(got, status, "{line}: {answer}");
    }
    agent.say("{}").await;
    assert_eq!(agent.hear().await, Heard::Close(1011, String::new()), "nothing else was sent");
}

#[tokio::test]
async fn a_wrong_clock_shows_in_frames_and_dates() {
    let brain = plain().await;
    brain.set_clock_offset(3_600_000);
    let ack = Agent::connect(&brain).await.greet(&hello()).await;
    let ahead = z4j_protocol::Timestamp::parse(ack["ts"].as_str().unwrap()).unwrap();
    let seconds = ahead.micros_since(crate::support::now()) / 1_000_000;
    assert!((3_500..3_700).contains(&seconds), "{seconds}");
    let mut agent = Agent::connect(&brain).await;
    agent.greet(&hello()).await;
    agent.say_signed(&json!({ "v": 2, "type": "heartbeat", "id": "h", "payload": {} })).await;
    assert_eq!(agent.hear().await, closed(4403), "an agent whose clock is right looks an hour late");
    brain.set_clock_offset(1_000 * (86_400 * 365));
    let (_, answer) = request(&brain, "GET /api/v1/health", "", "").await;
    let year = crate::support::now().plus_seconds(86_400 * 365).to_string()[..4].to_owned();
    let date = answer.lines().find(|line| line.starts_with("Date: ")).unwrap();
    assert!(date.contains(&format!(" {year} ")) && date.ends_with(" GMT"), "{date}");
}
