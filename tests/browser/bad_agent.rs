//! An agent that says what it should not. Ours does not.

use std::net::TcpStream;
use std::time::SystemTime;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};
use z4j_protocol::{Binding, HmacSecret, Signer, Timestamp};

use crate::brain::Brain;

/// Connects over plain HTTP, and sends a signed event of a kind that there is not. It stays as long as what is
/// returned.
pub(crate) fn misbehave(brain: &Brain, kind: &str) -> anyhow::Result<WebSocket<TcpStream>> {
    let variables = brain.variables()?;
    let variable = |wanted: &str| {
        let found = variables.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str()).context("a variable")
    };
    let address = variable("Z4J_BRAIN_URL")?.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut request = format!("ws://{address}/ws/agent").into_client_request()?;
    let bearer = format!("Bearer {}", variable("Z4J_TOKEN")?).parse()?;
    request.headers_mut().insert("authorization", bearer);
    let (mut socket, _) = client(request, TcpStream::connect(&address)?)?;
    let hello = json!({
        "protocol_version": "2", "agent_version": "0.0", "framework": "bare", "engines": ["celery"], "schedulers": [],
        "capabilities": {}, "host": {}, "worker_id": "<b>bad</b>", "worker_role": null, "worker_pid": 1,
        "worker_started_at": null, "runtime_features": []
    });
    let hello = json!({ "v": 2, "type": "hello", "id": "h", "ts": null, "payload": hello });
    socket.send(Message::text(hello.to_string()))?;
    let ack: Value = serde_json::from_slice(&socket.read()?.into_data())?;
    ensure!(ack["type"] == "hello_ack", "{ack}");
    let text = |key: &str| ack["payload"][key].as_str().context("an id").map(str::to_owned);
    let binding = Binding {
        agent_id: text("agent_id")?,
        project_id: text("project_id")?,
        session_id: text("session_id")?,
    };
    let mut signer = Signer::new(&HmacSecret::parse(variable("Z4J_HMAC_SECRET")?)?, binding);
    let event = json!({ "id": "no uuid", "kind": kind, "engine": "celery", "task_id": "t", "data": {} });
    let batch = json!({ "v": 2, "type": "event_batch", "id": "b", "payload": { "events": [event] } });
    let batch = z4j_protocol::Value::parse(batch.to_string().as_bytes())?;
    socket.send(Message::text(signer.sign_document(batch, now(), [7; 16])?))?;
    Ok(socket)
}

#[expect(clippy::disallowed_methods, reason = "the edge of the test")]
fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
