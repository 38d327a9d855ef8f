//! What an `event_batch` leads to: the table of protocol.md, Session.

use serde_json::{Value as Json, json};

use crate::support::{Agent, at, event, plain};

fn without(mut event: Json, key: &str) -> Json {
    event.as_object_mut().unwrap().remove(key);
    event
}

fn with(mut event: Json, key: &str, value: Json) -> Json {
    event[key] = value;
    event
}

#[tokio::test]
async fn duplicates_by_task_kind_and_second() {
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    let noon = "2026-11-20T12:00:00.100000Z";
    // A fixed time would leave the window of 400 days some day.
    let (noon, later) = (noon.replace("2026-11-20T12:00:00.1", &at(-3600)[..19]), at(-3599));
    let noon = noon.split_at(19).0.to_owned();
    let first = event("t", "task.sent", &format!("{noon}.100000Z"));
    let cases = [
        ("new", json!([first]), (1, 1, 0)),
        ("again", json!([first]), (1, 0, 1)),
        (
            "another id and another part of the second",
            json!([event("t", "task.sent", &format!("{noon}.900000Z"))]),
            (1, 0, 1),
        ),
        ("a second later", json!([event("t", "task.sent", &later)]), (1, 1, 0)),
        ("another kind", json!([event("t", "task.started", &format!("{noon}Z"))]), (1, 1, 0)),
        ("another engine", json!([with(first.clone(), "engine", json!("rq"))]), (1, 1, 0)),
        ("naive time is UTC", json!([with(first.clone(), "occurred_at", json!(noon))]), (1, 0, 1)),
        (
            "two identical in one batch",
            json!([event("u", "task.sent", &noon), event("u", "task.sent", &noon)]),
            (2, 1, 1),
        ),
    ];
    for (name, events, counts) in cases {
        assert_eq!(agent.batch(events).await, counts, "{name}");
    }
    assert_eq!(brain.duplicates(), 4);
    let events = brain.events();
    assert_eq!(events.len(), 5);
    assert_eq!(events[0].duplicates, 3);
    assert_eq!(events[0].occurred_at, format!("{noon}Z"));
    assert_eq!(events[0].event_id.as_deref(), first["id"].as_str());
}

#[tokio::test]
async fn unknown_kinds_collapse() {
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    let time = at(-10);
    assert_eq!(agent.batch(json!([event("t", "odd.one", &time)])).await, (1, 1, 0));
    assert_eq!(agent.batch(json!([event("t", "odd.two", &time)])).await, (1, 0, 1));
    assert_eq!(brain.events()[0].kind, "unknown");
}

#[tokio::test]
async fn unusable_elements_are_counted_and_dropped() {
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    let good = || event("t", "task.sent", &at(-10));
    for bad in [
        json!({}),
        json!("str"),
        json!(7),
        without(good(), "kind"),
        without(good(), "engine"),
        with(good(), "kind", json!("")),
        with(good(), "engine", json!("")),
    ] {
        assert_eq!(agent.batch(json!([bad])).await, (1, 0, 1), "{bad}");
    }
    assert_eq!(agent.batch(json!([good(), {}, good(), "str"])).await, (4, 1, 3));
}

#[tokio::test]
async fn events_without_a_task_go_by_their_id() {
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    for task in [json!(null), json!("")] {
        let event = with(event("", "worker.online", &at(-5)), "task_id", task);
        assert_eq!(agent.batch(json!([event])).await, (1, 1, 0));
        assert_eq!(agent.batch(json!([event])).await, (1, 0, 1));
        let later = with(event.clone(), "occurred_at", json!(at(-1)));
        assert_eq!(agent.batch(json!([later])).await, (1, 1, 0));
        let nameless = without(event, "id");
        assert_eq!(agent.batch(json!([nameless, nameless])).await, (2, 2, 0));
    }
    assert_eq!(agent.batch(json!([without(event("t", "task.sent", &at(-3)), "id")])).await, (1, 1, 0));
}

#[tokio::test]
async fn events_without_a_task_go_by_their_stored_time_too() {
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    let day = at(-3600)[..19].to_owned();
    let timed = |micros: u32| event("", "worker.online", &format!("{day}.{micros:06}Z"));
    let first = timed(1);
    let next = with(timed(2), "id", first["id"].clone());
    assert_eq!(agent.batch(json!([first])).await, (1, 1, 0));
    assert_eq!(agent.batch(json!([first])).await, (1, 0, 1));
    assert_eq!(agent.batch(json!([next])).await, (1, 1, 0), "a microsecond later");
    let timeless = without(first, "occurred_at");
    assert_eq!(agent.batch(json!([timeless])).await, (1, 1, 0));
    assert_eq!(agent.batch(json!([timeless])).await, (1, 1, 0), "received at another time");
    assert_eq!(agent.batch(json!([timeless, timeless])).await, (2, 2, 0));
}

#[tokio::test]
async fn fields_of_other_types_are_taken_for_their_text() {
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    let time = at(-20);
    for odd in [json!(null), json!(5), json!(true), json!([]), json!({})] {
        let kind = with(event(&format!("k{odd}"), "", &time), "kind", odd.clone());
        assert_eq!(agent.batch(json!([kind])).await, (1, 1, 0), "kind {odd}");
        assert_eq!(brain.events().last().unwrap().kind, "unknown");
        let engine = with(event("e", "task.sent", &time), "engine", odd.clone());
        assert_eq!(agent.batch(json!([engine])).await, (1, 1, 0), "engine {odd}");
    }
    let engines: Vec<_> = brain.events().into_iter().map(|event| event.engine).collect();
    assert_eq!((&*engines[1], &*engines[3], &*engines[5]), ("None", "5", "True"));
    let number = with(event("", "task.sent", &time), "task_id", json!(5));
    assert_eq!(agent.batch(json!([number])).await, (1, 1, 0));
    assert_eq!(agent.batch(json!([event("5", "task.sent", &time)])).await, (1, 0, 1));
    let spaced = with(event(" 5\n", "\ttask.sent ", &time), "engine", json!(" celery\u{1f}"));
    assert_eq!(agent.batch(json!([spaced])).await, (1, 0, 1));
    for key in ["kind", "engine"] {
        let blank = with(event("b", "task.sent", &time), key, json!(" \t"));
        assert_eq!(agent.batch(json!([blank])).await, (1, 0, 1), "{key}");
    }
}

#[tokio::test]
async fn implausible_times_become_the_time_of_receipt() {
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    let odd = [
        json!(null),
        json!("garbage"),
        json!(1_700_000_000),
        json!(at(86_400)),
        json!("2000-01-01T00:00:00Z"),
        json!(at(-401 * 86_400)),
    ];
    for (index, time) in odd.iter().enumerate() {
        let event = with(event(&format!("t{index}"), "task.sent", ""), "occurred_at", time.clone());
        assert_eq!(agent.batch(json!([event])).await, (1, 1, 0), "{time}");
    }
    for stored in brain.events() {
        assert_eq!(stored.occurred_at[..19], stored.received_at[..19]);
    }
    for (task, time) in [("kept-1", at(50)), ("kept-2", at(-399 * 86_400))] {
        assert_eq!(agent.batch(json!([event(task, "task.sent", &time)])).await, (1, 1, 0));
        assert_eq!(brain.events().last().unwrap().occurred_at[..19], time[..19]);
    }
}

#[tokio::test]
async fn odd_fields_are_taken() {
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    let cases = [
        without(event("d1", "task.sent", &at(-1)), "data"),
        with(event("d2", "task.sent", &at(-1)), "data", json!([1])),
        with(event("d3", "task.sent", &at(-1)), "project_id", json!("spoofed")),
        event(&"x".repeat(300), "task.sent", &at(-1)),
        event("nul\0", "task.sent", &at(-1)),
    ];
    for case in cases {
        assert_eq!(agent.batch(json!([case])).await, (1, 1, 0), "{case}");
    }
    let events = brain.events();
    assert_eq!(serde_json::to_value(&events[0].payload).unwrap(), json!({}));
    assert_eq!(serde_json::to_value(&events[1].payload).unwrap(), json!({}));
    assert_eq!(events[2].project_id, brain.credentials().project_uuid);
}

#[tokio::test]
async fn odd_batches_are_settled() {
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    for payload in
        [json!(null), json!({}), json!({"events": null}), json!({"events": "x"}), json!({"events": {}})]
    {
        agent.say_signed(&json!({"v": 2, "type": "event_batch", "id": "b", "payload": payload})).await;
        let ack = agent.hear().await.frame();
        assert_eq!(
            ack["payload"],
            json!({"acked_id": "b", "received": 0, "accepted": 0, "rejected": 0}),
            "{payload}"
        );
        assert_eq!(ack["id"], "eba_b");
    }
    let long = "y".repeat(100);
    for (id, acked) in [(json!(long), &long[..64]), (json!(5), ""), (json!(""), ""), (json!(null), "")] {
        agent.say_signed(&json!({"v": 2, "type": "event_batch", "id": id, "payload": {}})).await;
        let ack = agent.hear().await.frame();
        assert_eq!(
            (&ack["payload"]["acked_id"], ack["id"].as_str().unwrap().len()),
            (&json!(acked), 64.min(4 + acked.len()))
        );
    }
    let many = vec![json!({}); 5_001];
    assert_eq!(agent.batch(json!(many)).await, (5_000, 0, 5_000));
}

#[tokio::test]
async fn schedule_events_of_the_old_form_are_an_error() {
    let brain = plain().await;
    let mut agent = Agent::online(&brain).await;
    let batch = json!([event("t", "task.sent", &at(-1)), event("s", "schedule.created", &at(-1))]);
    agent.say_signed(&json!({"v": 2, "type": "event_batch", "id": "b9", "payload": {"events": batch}})).await;
    let error = agent.hear().await.frame();
    assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!("err_b9")));
    assert_eq!(
        (&error["payload"]["code"], &error["payload"]["fatal"]),
        (&json!("scheduler_upgrade_required"), &json!(true))
    );
    let others: Vec<_> = brain.events().into_iter().map(|event| event.task_id).collect();
    assert_eq!(others, ["t"], "what else was in the batch is stored");
    assert_eq!(agent.batch(json!([batch[0]])).await, (1, 0, 1));
    let nobody = without(event("s", "schedule.created", &at(-1)), "engine");
    assert_eq!(agent.batch(json!([nobody])).await, (1, 0, 1));
    let spaced = event("s", " schedule.snapshot\n", &at(-1));
    agent
        .say_signed(&json!({"v": 2, "type": "event_batch", "id": "b", "payload": {"events": [spaced]}}))
        .await;
    assert_eq!(agent.hear().await.frame()["type"], "error");
}
