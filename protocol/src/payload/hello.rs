//! `hello`: who connects, with the bounds that the brain holds it to.
//!
//! A hello is not a signed frame, and its rules differ from theirs (`v` may be absent, the id is checked),
//! so it is read here as a whole. Whether the version is spoken is the receiver's decision.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::frame::FrameType;
use crate::timestamp::Timestamp;
use crate::value::{Object, Value};
use crate::{MAX_ID_CHARS, PROTOCOL_VERSION};

const MAX_VERSION_CHARS: usize = 40;
const MAX_LIST_ENTRIES: usize = 64;
const MAX_WORKER_ID_CHARS: usize = 128;
const MAX_WORKER_ROLE_CHARS: usize = 32;
const MAX_PID: u64 = (1 << 31) - 1;

/// Where an agent runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Host {
    /// The configured agent name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The payload of a hello.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hello {
    /// "2".
    pub protocol_version: String,
    /// The agent's release.
    pub agent_version: String,
    /// `bare`, `django`, `flask`, `fastapi`.
    pub framework: String,
    /// Engine names.
    pub engines: Vec<String>,
    /// Scheduler names.
    pub schedulers: Vec<String>,
    /// What each engine or scheduler can be asked to do.
    pub capabilities: BTreeMap<String, Vec<String>>,
    /// Where the agent runs.
    pub host: Host,
    /// The slot that this connection takes; the same one replaces an older connection.
    pub worker_id: Option<String>,
    /// `web`, `task`, …
    pub worker_role: Option<String>,
    /// The process.
    pub worker_pid: Option<u64>,
    /// ISO 8601.
    pub worker_started_at: Option<String>,
    /// Protocol features that the agent has.
    pub runtime_features: Vec<String>,
    /// The project's slug. Ours only: the real brain ignores it, mock-brain checks it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
}

/// A hello with its frame's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloFrame {
    /// The frame's id, 1..=64 characters.
    pub id: String,
    /// Its payload.
    pub hello: Hello,
}

/// Why a first frame is no hello: the brain closes with 4400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloRefusal {
    /// The text is not JSON.
    #[error("the first frame is not JSON")]
    NotJson,
    /// A text in it is half of a surrogate pair.
    #[error("the first frame holds a lone surrogate")]
    NotUnicode,
    /// The document is no object.
    #[error("the first frame is no JSON object")]
    NotAnObject,
    /// It is a frame of another type.
    #[error("the first frame is no hello")]
    NotHello,
    /// A field is missing, of another type, or over its bound.
    #[error("hello field `{0}` is missing, of the wrong type or over its bound")]
    Field(&'static str),
}

impl HelloFrame {
    /// Reads a first frame.
    ///
    /// # Errors
    /// What disqualifies it.
    pub fn parse(wire: &[u8]) -> Result<Self, HelloRefusal> {
        let value = Value::parse(wire).map_err(|_| HelloRefusal::NotJson)?;
        if value.has_lone_surrogate() {
            return Err(HelloRefusal::NotUnicode);
        }
        let frame = value.as_object().ok_or(HelloRefusal::NotAnObject)?;
        if frame.get("type").and_then(Value::as_str) != Some(FrameType::Hello.as_str()) {
            return Err(HelloRefusal::NotHello);
        }
        if frame.get("v").is_some_and(|v| v.as_u64() != Some(PROTOCOL_VERSION)) {
            return Err(HelloRefusal::Field("v"));
        }
        optional_time(frame, "ts")?;
        let id = required_text(frame, "id", MAX_ID_CHARS)?;
        if id.is_empty() {
            return Err(HelloRefusal::Field("id"));
        }
        let payload = frame.get("payload").and_then(Value::as_object);
        Ok(Self { id, hello: read_payload(payload.ok_or(HelloRefusal::Field("payload"))?)? })
    }
}

fn read_payload(payload: &Object) -> Result<Hello, HelloRefusal> {
    Ok(Hello {
        protocol_version: required_text(payload, "protocol_version", MAX_VERSION_CHARS)?,
        agent_version: required_text(payload, "agent_version", MAX_VERSION_CHARS)?,
        framework: required_text(payload, "framework", MAX_VERSION_CHARS)?,
        engines: text_list(payload, "engines")?,
        schedulers: text_list(payload, "schedulers")?,
        capabilities: capabilities(payload)?,
        host: host(payload)?,
        worker_id: optional_text(payload, "worker_id", MAX_WORKER_ID_CHARS)?,
        worker_role: optional_text(payload, "worker_role", MAX_WORKER_ROLE_CHARS)?,
        worker_pid: optional_pid(payload)?,
        worker_started_at: optional_time(payload, "worker_started_at")?,
        runtime_features: text_list(payload, "runtime_features")?,
        // Unknown to the reference, so nothing it could say is a reason to refuse the frame.
        project_id: payload.get("project_id").and_then(Value::as_str).map(str::to_owned),
    })
}

fn bounded(text: &str, key: &'static str, max_chars: usize) -> Result<String, HelloRefusal> {
    if text.chars().count() > max_chars {
        return Err(HelloRefusal::Field(key));
    }
    Ok(text.to_owned())
}

fn required_text(object: &Object, key: &'static str, max_chars: usize) -> Result<String, HelloRefusal> {
    let text = object.get(key).and_then(Value::as_str).ok_or(HelloRefusal::Field(key))?;
    bounded(text, key, max_chars)
}

fn optional_text(
    object: &Object,
    key: &'static str,
    max_chars: usize,
) -> Result<Option<String>, HelloRefusal> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => bounded(text, key, max_chars).map(Some),
        Some(_) => Err(HelloRefusal::Field(key)),
    }
}

fn optional_time(object: &Object, key: &'static str) -> Result<Option<String>, HelloRefusal> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if Timestamp::parse_or_utc(text).is_ok() => Ok(Some(text.clone())),
        Some(_) => Err(HelloRefusal::Field(key)),
    }
}

fn optional_pid(object: &Object) -> Result<Option<u64>, HelloRefusal> {
    const KEY: &str = "worker_pid";
    match object.get(KEY) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().filter(|pid| *pid <= MAX_PID).map(Some).ok_or(HelloRefusal::Field(KEY)),
    }
}

/// A list of texts; absent is empty.
fn text_list(object: &Object, key: &'static str) -> Result<Vec<String>, HelloRefusal> {
    let Some(value) = object.get(key) else { return Ok(Vec::new()) };
    let texts = texts(value).filter(|texts| texts.len() <= MAX_LIST_ENTRIES);
    texts.ok_or(HelloRefusal::Field(key))
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn capabilities(payload: &Object) -> Result<BTreeMap<String, Vec<String>>, HelloRefusal> {
    const KEY: &str = "capabilities";
    let Some(value) = payload.get(KEY) else { return Ok(BTreeMap::new()) };
    let object = value.as_object().ok_or(HelloRefusal::Field(KEY))?;
    let pairs = object.iter().map(|(name, list)| Some((name.to_owned(), texts(list)?)));
    pairs.collect::<Option<_>>().ok_or(HelloRefusal::Field(KEY))
}

/// Free content, of which only the name is kept.
fn host(payload: &Object) -> Result<Host, HelloRefusal> {
    match payload.get("host") {
        None => Ok(Host::default()),
        Some(Value::Object(host)) => {
            Ok(Host { name: host.get("name").and_then(Value::as_str).map(str::to_owned) })
        }
        Some(_) => Err(HelloRefusal::Field("host")),
    }
}
