//! A brain, and an agent's end of a session, in as few words as possible.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{SinkExt, StreamExt};
use mock_brain::{Brain, Limits, Options};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};
use z4j_protocol::{Binding, FrameType, HmacSecret, Signer, Timestamp, Value, Verifier};

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits with a deadline.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("nothing happened in time")
}

pub(crate) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

pub(crate) async fn start(options: Options) -> Brain {
    Brain::start(options, listener()).await.unwrap()
}

/// A brain without TLS.
pub(crate) async fn plain() -> Brain {
    start(Options { tls: false, ..Options::default() }).await
}

pub(crate) fn with_limits(limits: Limits) -> Brain {
    Brain::start_with(Options { tls: false, ..Options::default() }, listener(), limits).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "an agent's clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

pub(crate) async fn tcp(brain: &Brain) -> TcpStream {
    within(TcpStream::connect(brain.local_addr())).await.unwrap()
}

/// A TLS client that trusts the brain's CA.
pub(crate) async fn tls(brain: &Brain, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let ca = brain.ca_pem().unwrap();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    within(TlsConnector::from(Arc::new(config)).connect(name, tcp(brain).await)).await
}

/// An agent's end of a session.
pub(crate) struct Agent<S = TcpStream> {
    pub(crate) socket: WebSocketStream<S>,
    secret: HmacSecret,
    pub(crate) signer: Option<Signer>,
    verifier: Option<Verifier>,
    /// The brain is odd, as strict ones are.
    odd: bool,
}

/// What the brain said.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Frame(Json),
    Close(u16, String),
    Ended,
}

impl Heard {
    pub(crate) fn frame(self) -> Json {
        match self {
            Self::Frame(frame) => frame,
            other => panic!("a frame is expected, not {other:?}"),
        }
    }
}

pub(crate) fn closed(code: u16) -> Heard {
    Heard::Close(code, String::new())
}

pub(crate) fn hello() -> Json {
    json!({
        "v": 2, "type": "hello", "id": "hello_1", "ts": null,
        "payload": {
            "protocol_version": "2", "agent_version": "1.13.0", "framework": "bare", "engines": ["celery"],
            "schedulers": [], "capabilities": {"celery": ["retry_task"]}, "host": {}, "worker_id": "w1",
            "worker_role": null, "worker_pid": 1, "worker_started_at": null, "runtime_features": []
        }
    })
}

/// A hello with another value somewhere in its payload.
pub(crate) fn hello_with(key: &str, value: Json) -> Json {
    let mut hello = hello();
    hello["payload"][key] = value;
    hello
}

impl Agent {
    /// Connects over plain TCP, with the right token.
    pub(crate) async fn connect(brain: &Brain) -> Self {
        Self::connect_with(brain, &format!("Bearer {}", brain.credentials().token)).await
    }

    pub(crate) async fn connect_with(brain: &Brain, authorization: &str) -> Self {
        Agent::over(tcp(brain).await, brain, "ws", authorization).await.unwrap()
    }

    /// Connects with a header line more.
    pub(crate) async fn connect_saying(brain: &Brain, authorization: &str, line: &str) -> Self {
        let url = format!("ws://127.0.0.1:{}/ws/agent", brain.local_addr().port());
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("authorization", authorization.parse().unwrap());
        if let Some((name, value)) = line.trim_end().split_once(": ") {
            let name = http::HeaderName::try_from(name).unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        Agent::ask(tcp(brain).await, request, &brain.credentials().hmac_secret).await.unwrap()
    }

    /// Connects, says hello and reads the answer.
    pub(crate) async fn online(brain: &Brain) -> Self {
        let mut agent = Self::connect(brain).await;
        agent.greet(&hello()).await;
        agent
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Agent<S> {
    pub(crate) async fn over(
        stream: S,
        brain: &Brain,
        scheme: &str,
        authorization: &str,
    ) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        let url = format!("{scheme}://127.0.0.1:{}/ws/agent", brain.local_addr().port());
        Self::dial(stream, &url, authorization, &brain.credentials().hmac_secret).await
    }

    /// Asks for the upgrade of a connection to whichever brain.
    pub(crate) async fn dial(
        stream: S,
        url: &str,
        authorization: &str,
        secret: &str,
    ) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        let mut request = url.into_client_request()?;
        request.headers_mut().insert("authorization", authorization.parse().unwrap());
        Self::ask(stream, request, secret).await
    }

    async fn ask(
        stream: S,
        request: tokio_tungstenite::tungstenite::handshake::client::Request,
        secret: &str,
    ) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        let (socket, _) = within(client_async(request, stream)).await?;
        Ok(Self {
            socket,
            secret: HmacSecret::parse(secret).unwrap(),
            signer: None,
            verifier: None,
            odd: false,
        })
    }

    /// Says hello and takes the session from the answer.
    pub(crate) async fn greet(&mut self, hello: &Json) -> Json {
        self.say(hello.to_string()).await;
        let ack = self.hear().await.frame();
        assert_eq!(ack["type"], "hello_ack");
        let text = |key: &str| ack["payload"][key].as_str().unwrap().to_owned();
        let binding = Binding {
            agent_id: text("agent_id"),
            project_id: text("project_id"),
            session_id: text("session_id"),
        };
        self.signer = Some(Signer::new(&self.secret, binding.clone()));
        self.verifier = Some(Verifier::new(&self.secret, binding));
        ack
    }

    /// Sends a frame, as the reference does in a binary message.
    pub(crate) async fn say(&mut self, text: impl Into<String>) {
        self.send(Message::binary(text.into().into_bytes())).await;
    }

    pub(crate) async fn send(&mut self, message: Message) {
        // The brain may have closed already; what matters is what is heard.
        let _ = within(self.socket.send(message)).await;
    }

    /// Signs a frame as it stands, and sends it.
    pub(crate) async fn say_signed(&mut self, frame: &Json) {
        let text = self.sign(frame);
        self.say(text).await;
    }

    pub(crate) fn sign(&mut self, frame: &Json) -> String {
        let document = Value::parse(frame.to_string().as_bytes()).unwrap();
        self.signer.as_mut().unwrap().sign_document(document, now(), rand()).unwrap()
    }

    /// Stops verifying what is heard, and returns what did.
    pub(crate) fn take_verifier(&mut self) -> Verifier {
        self.verifier.take().unwrap()
    }

    /// The next message that is not a ping; a signed one is verified.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            let message = match within(self.socket.next()).await {
                Some(Ok(message)) => message,
                _ => return Heard::Ended,
            };
            match message {
                message @ (Message::Binary(_) | Message::Text(_)) => {
                    let (is_binary, bytes) = (message.is_binary(), message.into_data());
                    if let Some(verifier) = &mut self.verifier {
                        verifier.verify(&bytes, now()).expect("the brain's frame verifies");
                    }
                    let frame: Json = serde_json::from_slice(&bytes).unwrap();
                    if frame["type"] == "hello_ack" {
                        self.odd = !frame["id"].as_str().unwrap().starts_with("hack_");
                    }
                    assert!(is_binary || self.odd, "the brain sent text: {frame}");
                    return Heard::Frame(frame);
                }
                Message::Close(Some(frame)) => {
                    return Heard::Close(frame.code.into(), frame.reason.to_string());
                }
                Message::Close(None) => return Heard::Ended,
                _ => {}
            }
        }
    }

    /// Sends a batch of events and returns received, accepted, rejected.
    pub(crate) async fn batch(&mut self, events: Json) -> (u64, u64, u64) {
        self.say_signed(&json!({"v": 2, "type": "event_batch", "id": "ev_1", "payload": {"events": events}}))
            .await;
        let ack = self.hear().await.frame();
        assert_eq!((&ack["type"], &ack["payload"]["acked_id"]), (&json!("event_batch_ack"), &json!("ev_1")));
        let count = |key: &str| ack["payload"][key].as_u64().unwrap();
        (count("received"), count("accepted"), count("rejected"))
    }

    pub(crate) fn signed(&mut self, frame_type: FrameType, payload: &Json) -> String {
        let payload = Value::parse(payload.to_string().as_bytes()).unwrap();
        self.signer.as_mut().unwrap().sign(frame_type, "f_1", payload, now(), rand()).unwrap()
    }
}

pub(crate) fn rand() -> [u8; 16] {
    uuid::Uuid::new_v4().into_bytes()
}

/// One event of a task.
pub(crate) fn event(task: &str, kind: &str, occurred_at: &str) -> Json {
    json!({
        "id": uuid::Uuid::new_v4().to_string(), "kind": kind, "engine": "celery", "task_id": task,
        "occurred_at": occurred_at, "data": {"task_name": "x.add"}
    })
}

/// A time some seconds from now, ISO 8601.
pub(crate) fn at(seconds: i64) -> String {
    now().plus_seconds(seconds).to_string()
}

/// Sends a request as raw bytes and returns all of the answer: status and body.
pub(crate) async fn raw(brain: &Brain, request: &str) -> (u16, String) {
    let mut socket = tcp(brain).await;
    within(socket.write_all(request.as_bytes())).await.unwrap();
    let mut answer = Vec::new();
    within(socket.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    (status, answer)
}

/// A GET or POST with some more header lines, on a connection of its own.
pub(crate) async fn request(brain: &Brain, line: &str, headers: &str, body: &str) -> (u16, String) {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let text =
        format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}{length}\r\n{body}");
    raw(brain, &text).await
}
