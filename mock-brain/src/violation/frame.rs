//! What stands in a frame although it should not: the rules that need no memory.

use std::collections::HashSet;

use uuid::Uuid;
use z4j_protocol::payload::KINDS;
use z4j_protocol::{Frame, FrameType, MAX_EVENTS_PER_BATCH, MAX_ID_CHARS, Object, Timestamp, Value};

use super::{Found, Rule};
use crate::quote::quote;

/// Every top-level member of protocol.md, Frames.
const FIELDS: [&str; 8] = ["v", "type", "id", "ts", "nonce", "seq", "payload", "hmac"];
const HELLO_FIELDS: [&str; 5] = ["v", "type", "id", "ts", "payload"];
const HELLO_PAYLOAD: [&str; 13] = [
    "protocol_version",
    "agent_version",
    "framework",
    "engines",
    "schedulers",
    "capabilities",
    "host",
    "worker_id",
    "worker_role",
    "worker_pid",
    "worker_started_at",
    "runtime_features",
    // Ours only.
    "project_id",
];
const EVENT_FIELDS: [&str; 8] =
    ["id", "kind", "engine", "task_id", "occurred_at", "data", "project_id", "agent_id"];
const HEARTBEAT_FIELDS: [&str; 5] =
    ["buffer_size", "last_flush_at", "dropped_events", "telemetry_loss", "adapter_health"];
const STATUS_FIELDS: [&str; 12] = [
    "telemetry_loss",
    "auth_failure_streak",
    "protocol_failure_streak",
    "connection_failure_streak",
    "last_successful_connect_at",
    "current_session_age_seconds",
    "buffer_depth",
    "buffer_oldest_age_seconds",
    "agent_version",
    "protocol_version",
    "engines",
    "schedulers",
];
/// Characters of a nonce: 16 bytes in url-safe base64.
const NONCE_CHARS: usize = 22;
/// How far ahead and back an event may lie, in seconds.
const AHEAD_SECONDS: i64 = 60;
const BACK_SECONDS: i64 = 400 * 86_400;

/// What is wrong with an acceptable hello.
pub(crate) fn hello(wire: &[u8]) -> Vec<Found> {
    let mut found = Vec::new();
    let Ok(value) = Value::parse(wire) else { return found };
    let members = value.as_object();
    unknown(members, &HELLO_FIELDS, Rule::HelloUnknownField, &mut found);
    let payload = members.and_then(|frame| frame.get("payload")).and_then(Value::as_object);
    unknown(payload, &HELLO_PAYLOAD, Rule::HelloUnknownField, &mut found);
    found
}

/// What is wrong with a verified frame, whichever came before it. Under `strict` everything is looked at.
pub(super) fn judge(frame: &Frame, strict: bool, now: Timestamp) -> Vec<Found> {
    let mut found = Vec::new();
    let kind = frame.frame_type();
    if matches!(kind, FrameType::Command | FrameType::EventBatchAck) {
        found.push((Rule::FrameDirection, format!("an agent sends {kind}")));
    }
    if strict {
        envelope(frame, &mut found);
    }
    if let Some(fields) = payload_fields(kind) {
        unknown(frame.payload(), fields, Rule::FramePayloadField, &mut found);
    }
    match (kind, frame.payload()) {
        (FrameType::EventBatch, payload) => batch(payload, strict, now, &mut found),
        (FrameType::Heartbeat, Some(payload)) => heartbeat(payload, &mut found),
        (FrameType::CommandResult, payload) => result_error(payload, &mut found),
        _ => {}
    }
    found
}

/// What a payload may hold (`z4j_protocol::payload`). What lies deeper is not looked at: health, results, the
/// counters of `telemetry_loss` and task entries are open.
const fn payload_fields(kind: FrameType) -> Option<&'static [&'static str]> {
    Some(match kind {
        FrameType::EventBatch => &["events"],
        FrameType::Heartbeat => &HEARTBEAT_FIELDS,
        FrameType::AgentStatus => &STATUS_FIELDS,
        FrameType::CommandAck => &["delivery_claim_token"],
        FrameType::CommandResult => &["status", "result", "error", "delivery_claim_token"],
        FrameType::RegistryDelta => &["engine", "added", "removed", "updated"],
        FrameType::Error => &["code", "message", "fatal"],
        // What no agent sends breaks a rule by itself.
        FrameType::Hello | FrameType::HelloAck | FrameType::Command | FrameType::EventBatchAck => {
            return None;
        }
    })
}

fn envelope(frame: &Frame, found: &mut Vec<Found>) {
    unknown(Some(frame.object()), &FIELDS, Rule::FrameUnknownField, found);
    if !frame.id().is_some_and(|id| (1..=MAX_ID_CHARS).contains(&id.chars().count())) {
        let detail = format!("id of {} is not a text of 1..={MAX_ID_CHARS}", frame.frame_type());
        found.push((Rule::FrameId, detail));
    }
    let nonce = frame.object().get("nonce").and_then(Value::as_str).unwrap_or_default();
    let is_url_safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if nonce.len() != NONCE_CHARS || !nonce.bytes().all(is_url_safe) {
        found.push((Rule::FrameNonceForm, format!("nonce {}", quote(nonce))));
    }
}

fn unknown(members: Option<&Object>, known: &[&str], rule: Rule, found: &mut Vec<Found>) {
    let keys = members.into_iter().flat_map(Object::iter).map(|(key, _)| key);
    // One says it all; a hostile frame has thousands.
    if let Some(key) = keys.into_iter().find(|key| !known.contains(key)) {
        found.push((rule, format!("member {}", quote(key))));
    }
}

fn heartbeat(payload: &Object, found: &mut Vec<Found>) {
    let mut expect = |key: &str, what: &str, right: fn(&Value) -> bool| {
        if payload.get(key).is_some_and(|value| !right(value)) {
            found.push((Rule::HeartbeatType, format!("{key} is not {what}")));
        }
    };
    expect("buffer_size", "a count", |value| value.as_u64().is_some());
    expect("dropped_events", "a count", |value| value.as_u64().is_some());
    expect("last_flush_at", "a text or null", |value| value.is_null() || value.as_str().is_some());
    expect("adapter_health", "an object of texts", |value| {
        value.as_object().is_some_and(|health| health.iter().all(|(_, text)| text.as_str().is_some()))
    });
}

fn result_error(payload: Option<&Object>, found: &mut Vec<Found>) {
    let error = payload.and_then(|payload| payload.get("error"));
    if error.is_some_and(|error| !error.is_null() && error.as_str().is_none()) {
        found.push((Rule::ResultError, "error is neither text nor null".to_owned()));
    }
}

fn batch(payload: Option<&Object>, strict: bool, now: Timestamp, found: &mut Vec<Found>) {
    let Some(events) = payload.and_then(|payload| payload.get("events")).and_then(Value::as_array) else {
        return found.push((Rule::BatchEvents, "events is not a list".to_owned()));
    };
    if events.len() > MAX_EVENTS_PER_BATCH {
        let detail = format!("{} events, {MAX_EVENTS_PER_BATCH} are looked at", events.len());
        found.push((Rule::BatchTooMany, detail));
    }
    if !strict {
        return;
    }
    let mut ids = HashSet::new();
    for event in events.iter().take(MAX_EVENTS_PER_BATCH) {
        self::event(event, now, found);
        let id = event.get("id").and_then(Value::as_str);
        if id.is_some_and(|id| !ids.insert(id)) {
            found.push((Rule::EventRepeated, format!("event id {}", quote(id.unwrap_or_default()))));
        }
    }
}

fn event(event: &Value, now: Timestamp, found: &mut Vec<Found>) {
    let text = |key| event.get(key).and_then(Value::as_str).unwrap_or_default();
    if Uuid::try_parse(text("id")).is_err() {
        found.push((Rule::EventId, format!("event id {} is not a UUID", quote(text("id")))));
    }
    if !KINDS.contains(&text("kind")) {
        found.push((Rule::EventKind, format!("kind {} is not known", quote(text("kind")))));
    }
    if text("engine").is_empty() {
        found.push((Rule::EventEngine, "engine is missing".to_owned()));
    }
    let in_window = |at: Timestamp| {
        let back = now.micros_since(at) / 1_000_000;
        (-AHEAD_SECONDS..=BACK_SECONDS).contains(&back)
    };
    if !Timestamp::parse(text("occurred_at")).is_ok_and(in_window) {
        found.push((Rule::EventTime, format!("occurred_at {}", quote(text("occurred_at")))));
    }
    unknown(event.as_object(), &EVENT_FIELDS, Rule::EventUnknownField, found);
}
