//! What makes a first frame a hello, and what does not.

use z4j_protocol::payload::{Hello, HelloAck, HelloFrame, HelloRefusal, Host};
use z4j_protocol::{FrameType, Timestamp, Value, unsigned_frame};

const AS_SENT_BY_PYTHON: &str = r#"{"v":2,"id":"hello_e3d406364186b5c9","ts":null,"type":"hello","payload":{
    "protocol_version":"2","agent_version":"1.13.0","framework":"bare","engines":["celery"],"schedulers":[],
    "capabilities":{"celery":["retry_task","submit_task"]},"host":{},"worker_id":"bare-1939-1795470602341",
    "worker_role":null,"worker_pid":1939,"worker_started_at":"2026-11-23T21:50:02.341162Z",
    "runtime_features":["retry_by_reference","external_schedule_protocol_v1"]}}"#;

#[test]
fn reads_the_python_agents_hello() {
    let frame = HelloFrame::parse(AS_SENT_BY_PYTHON.as_bytes()).unwrap();
    assert_eq!(frame.id, "hello_e3d406364186b5c9");
    assert_eq!(frame.hello.capabilities["celery"], ["retry_task", "submit_task"]);
    assert_eq!(frame.hello.worker_pid, Some(1939));
    assert_eq!(frame.hello.project_id, None);
}

#[test]
fn our_own_hello_round_trips() {
    let hello = Hello {
        protocol_version: "2".to_owned(),
        agent_version: "0.1.0".to_owned(),
        framework: "django".to_owned(),
        host: Host { name: Some("picker_django".to_owned()) },
        project_id: Some("picker".to_owned()),
        ..Hello::default()
    };
    let now = Timestamp::from_unix_micros(1_795_470_602_341_162);
    let payload = Value::from_serialize(&hello).unwrap();
    let wire = unsigned_frame(FrameType::Hello, "hello_1", payload, now).unwrap();
    assert_eq!(HelloFrame::parse(wire.as_bytes()).unwrap(), HelloFrame { id: "hello_1".to_owned(), hello });
}

#[test]
fn bounds_and_types_are_refused_by_field() {
    let edits = [
        ("\"v\":2", "\"v\":3", "v"),
        ("\"v\":2", "\"v\":true", "v"),
        ("\"ts\":null", "\"ts\":\"yesterday\"", "ts"),
        ("hello_e3d406364186b5c9", "", "id"),
        ("hello_e3d406364186b5c9", &"i".repeat(65), "id"),
        ("\"protocol_version\":\"2\"", "\"protocol_version\":2", "protocol_version"),
        ("\"agent_version\":\"1.13.0\",", "", "agent_version"),
        ("\"framework\":\"bare\"", &format!("\"framework\":\"{}\"", "f".repeat(41)), "framework"),
        ("[\"celery\"],\"sch", "\"celery\",\"sch", "engines"),
        ("\"schedulers\":[]", &format!("\"schedulers\":[{}]", vec!["\"s\""; 65].join(",")), "schedulers"),
        ("[\"retry_task\",\"submit_task\"]", "[1]", "capabilities"),
        ("\"host\":{}", "\"host\":[]", "host"),
        ("bare-1939-1795470602341", &"w".repeat(129), "worker_id"),
        ("\"worker_role\":null", &format!("\"worker_role\":\"{}\"", "r".repeat(33)), "worker_role"),
        ("\"worker_pid\":1939", "\"worker_pid\":\"5\"", "worker_pid"),
        ("\"worker_pid\":1939", "\"worker_pid\":2147483648", "worker_pid"),
        ("\"2026-11-23T21:50:02.341162Z\"", "5", "worker_started_at"),
    ];
    for (from, to, field) in edits {
        let text = AS_SENT_BY_PYTHON.replacen(from, to, 1);
        assert_ne!(text, AS_SENT_BY_PYTHON, "{field}: the edit does something");
        assert_eq!(HelloFrame::parse(text.as_bytes()), Err(HelloRefusal::Field(field)), "{text}");
    }
    for (wire, refusal) in [
        ("", HelloRefusal::NotJson),
        ("{", HelloRefusal::NotJson),
        ("[]", HelloRefusal::NotAnObject),
        (r#"{"v":2,"type":"hello","id":"a","payload":{"host":{"x":"\ud800"}}}"#, HelloRefusal::NotUnicode),
        (r#"{"v":2,"type":"heartbeat","id":"a","payload":{}}"#, HelloRefusal::NotHello),
        (r#"{"v":2,"type":"hello","id":"a"}"#, HelloRefusal::Field("payload")),
    ] {
        assert_eq!(HelloFrame::parse(wire.as_bytes()), Err(refusal));
    }
}

#[test]
fn what_the_brain_may_leave_open_is_let_through() {
    for (from, to) in [
        ("\"v\":2,", ""),
        ("\"ts\":null", "\"ts\":\"2001-01-01T00:00:00\""),
        ("\"host\":{}", "\"host\":{\"name\":\"h\",\"load\":NaN}"),
        ("\"worker_id\":\"bare-1939-1795470602341\"", "\"future\":[1]"),
    ] {
        let text = AS_SENT_BY_PYTHON.replacen(from, to, 1);
        assert!(HelloFrame::parse(text.as_bytes()).is_ok(), "{text}");
    }
}

#[test]
fn hello_ack_defaults() {
    let ack = r#"{"protocol_version":"2","agent_id":"a","project_id":"p","session_id":"s","future":1}"#;
    let ack: HelloAck = Value::parse(ack.as_bytes()).unwrap().deserialize().unwrap();
    assert!(ack.speaks_our_version());
    assert_eq!((ack.heartbeat_seconds(), ack.max_frame_bytes()), (10, 1_048_576));
}
