//! A link with a buffer of its own, and brains to connect it to.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use z4j_protocol::payload::HelloFrame;
use z4j_protocol::{
    Binding, CanonicalText, FrameType, HmacSecret, Signer, Timestamp, Value, Verifier, unsigned_frame,
};

use super::{Link, supervise};
use crate::buffer::{self, Bounds, Buffer, NewEvent};
use crate::clock::Clock;
use crate::commands::{Adapters, Dispatcher, DispatcherParts};
use crate::config::{ConfigFlags, Framework, Signing, resolve};
use crate::engine::Abilities;
use crate::environment::Environment;
use crate::hello::{self, Worker};
use crate::orders::Commander;
use crate::status::LinkStatus;
use crate::transport::random_bytes;

pub(super) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

pub(super) const SECRET: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
pub(super) const AGENT: &str = "44c7ca73-5a51-496c-84a8-8e60a719ff98";
pub(super) const PROJECT: &str = "fb76ac03-c5fe-4c21-95cc-b9d59cf3f2bc";
/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what must happen.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> Outcome<T> {
    Ok(tokio::time::timeout(PATIENCE, what).await?)
}

/// An agent that runs.
pub(super) struct Agent {
    pub(super) buffer: Buffer,
    pub(super) commander: Commander,
    pub(super) status: watch::Receiver<LinkStatus>,
    pub(super) running: JoinHandle<()>,
    _dir: TempDir,
}

impl Agent {
    /// Starts one with so many events in its buffer.
    pub(super) async fn start(port: u16, transport: &str, events: usize) -> Outcome<Self> {
        let dir = tempfile::tempdir()?;
        let environment = environment(&dir, port, transport);
        let config = Arc::new(resolve(&environment, &ConfigFlags::default())?.config);
        let Signing::Ready(secret) = config.signing.clone() else { return Err("no secret".into()) };
        let bounds = Bounds { events: 1_000_000, bytes: 1 << 30 };
        let buffer = buffer::open(buffer::choose(&environment, &config)?, bounds, environment.clock)?;
        let (commander, orders) = Commander::new();
        let dispatcher = Dispatcher::new(DispatcherParts {
            buffer: buffer.clone(),
            adapters: Adapters::default(),
            clock: environment.clock,
            commander: commander.clone(),
            orchestrated: false,
            started_at: std::time::Instant::now(),
            redact: Arc::new(|_| {}),
        });
        let worker = Worker { id: "w".into(), pid: 7, started_at: environment.clock.now(), role: None };
        let hello = hello::build(&config, Framework::Bare, &Abilities::default(), "0.1.0", &worker);
        let (sender, status) = watch::channel(LinkStatus::default());
        let kept = buffer.clone();
        let token = config.token.clone();
        let again = secret.clone();
        let reread = Box::new(move || Ok((token.clone(), again.clone())));
        let link = Link {
            config,
            environment: Arc::new(environment),
            secret,
            reread,
            hello,
            buffer,
            dispatcher,
            status: sender,
            ids: crate::log::Ids::default(),
        };
        if events > 0 {
            let events = (0..events).map(event).collect::<Outcome<Vec<NewEvent>>>()?;
            kept.append(events).await?;
        }
        let running = tokio::spawn(supervise(link, orders, Duration::from_secs(5)));
        Ok(Self { buffer: kept, commander, status, running, _dir: dir })
    }

    /// Waits until the status is like this.
    pub(super) async fn until(&self, like: impl Fn(&LinkStatus) -> bool) -> Outcome<LinkStatus> {
        let mut status = self.status.clone();
        let found = soon(status.wait_for(|status| like(status))).await??.clone();
        Ok(found)
    }

    /// Waits until so many events are in the buffer.
    pub(super) async fn until_buffered(&self, events: u64) -> Outcome {
        let mut status = self.buffer.status();
        soon(status.wait_for(|status| status.events == events)).await??;
        Ok(())
    }

    /// Stops it.
    pub(super) async fn stop(self) -> Outcome {
        self.commander.stop();
        soon(self.running).await??;
        Ok(())
    }
}

fn environment(dir: &TempDir, port: u16, transport: &str) -> Environment {
    let path = |name: &str| dir.path().join(name).display().to_string();
    let _ = std::fs::create_dir(dir.path().join("tmp"));
    let variables = BTreeMap::from([
        ("Z4J_BRAIN_URL", format!("http://127.0.0.1:{port}/")),
        ("Z4J_TOKEN", "s3cr3t-token".to_owned()),
        ("Z4J_PROJECT_ID", "picker".to_owned()),
        ("Z4J_HMAC_SECRET", SECRET.to_owned()),
        ("Z4J_TRANSPORT", transport.to_owned()),
        ("Z4J_HOME", path("home")),
        ("TMPDIR", path("tmp")),
    ]);
    let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    Environment { variables, ..Environment::capture() }
}

/// The n-th event.
pub(super) fn event(number: usize) -> Outcome<NewEvent> {
    sized_event(number, 100)
}

/// The n-th event, with so many characters of data.
pub(super) fn sized_event(number: usize, characters: usize) -> Outcome<NewEvent> {
    let value = Value::from_serialize(&serde_json::json!({
        "id": format!("00000000-0000-4000-8000-{number:012}"),
        "kind": "task.sent", "engine": "celery", "task_id": format!("t{number}"),
        "occurred_at": "2026-05-01T12:00:00Z", "data": { "text": "x".repeat(characters) },
    }))?;
    Ok(NewEvent { text: CanonicalText::of(&value)? })
}

/// The numbers of the events in a batch's payload.
pub(super) fn numbers(payload: &serde_json::Value) -> Vec<usize> {
    let events = payload["events"].as_array().cloned().unwrap_or_default();
    let ids = events.iter().filter_map(|event| event["id"].as_str()?.rsplit('-').next()?.parse().ok());
    ids.collect()
}

pub(super) fn now() -> Timestamp {
    Clock::system().now()
}

fn binding(session: &str) -> Binding {
    Binding { agent_id: AGENT.into(), project_id: PROJECT.into(), session_id: session.into() }
}

/// The two ends of signing, as a brain has them.
pub(super) fn keys(session: &str) -> Outcome<(Signer, Verifier)> {
    let secret = HmacSecret::parse(SECRET)?;
    Ok((Signer::new(&secret, binding(session)), Verifier::new(&secret, binding(session))))
}

/// A brain's listener.
pub(super) struct Brain {
    listener: TcpListener,
    pub(super) port: u16,
}

impl Brain {
    pub(super) async fn start() -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    /// The next connection.
    pub(super) async fn connection(&self) -> Outcome<(TcpStream, SocketAddr)> {
        Ok(soon(self.listener.accept()).await??)
    }

    /// The next connection, upgraded.
    pub(super) async fn upgraded(&self) -> Outcome<Peer> {
        let (stream, _) = self.connection().await?;
        let mut stream = BufReader::new(stream);
        let head = read_head(&mut stream).await?;
        stream.write_all(switching(&head).as_bytes()).await?;
        Peer::over(stream).await
    }

    /// The next session, hello and hello_ack done.
    pub(super) async fn session(&self) -> Outcome<Peer> {
        let mut peer = self.upgraded().await?;
        peer.greet(0).await?;
        Ok(peer)
    }
}

/// One WebSocket session, seen from the brain.
pub(super) struct Peer {
    socket: WebSocketStream<BufReader<TcpStream>>,
    signer: Signer,
    verifier: Verifier,
}

impl Peer {
    async fn over(stream: BufReader<TcpStream>) -> Outcome<Self> {
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let (signer, verifier) = keys("session")?;
        Ok(Self { socket, signer, verifier })
    }

    /// Reads hello and answers it.
    pub(super) async fn greet(&mut self, max_frame: u64) -> Outcome<HelloFrame> {
        let hello = HelloFrame::parse(&self.message().await?)?;
        let payload = Value::from_serialize(&serde_json::json!({
            "protocol_version": "2", "brain_version": "1.13.0", "agent_id": AGENT, "project_id": PROJECT,
            "session_id": "session", "heartbeat_interval_seconds": 10, "max_frame_size_bytes": max_frame,
        }))?;
        let ack = unsigned_frame(FrameType::HelloAck, "hack", payload, now())?;
        self.socket.send(Message::binary(ack.into_bytes())).await?;
        Ok(hello)
    }

    async fn message(&mut self) -> Outcome<Vec<u8>> {
        loop {
            match soon(self.socket.next()).await? {
                Some(Ok(Message::Binary(bytes))) => return Ok(bytes.to_vec()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => return Err(format!("{other:?}").into()),
            }
        }
    }

    /// The next frame: type, id, payload.
    pub(super) async fn frame(&mut self) -> Outcome<(FrameType, String, serde_json::Value)> {
        let bytes = self.message().await?;
        let frame = self.verifier.verify(&bytes, now()).map_err(|refusal| refusal.to_string())?;
        let payload = frame.object().get("payload").map(Value::to_canonical).transpose()?;
        let id = frame.id().unwrap_or_default().to_owned();
        Ok((frame.frame_type(), id, serde_json::from_str(&payload.unwrap_or_default())?))
    }

    /// The next frame of a type.
    pub(super) async fn next(&mut self, wanted: FrameType) -> Outcome<(String, serde_json::Value)> {
        loop {
            let (kind, id, payload) = self.frame().await?;
            if kind == wanted {
                return Ok((id, payload));
            }
        }
    }

    pub(super) async fn send(&mut self, kind: FrameType, id: &str, payload: serde_json::Value) -> Outcome {
        let payload = Value::from_serialize(&payload)?;
        let text = self.signer.sign(kind, id, payload, now(), random_bytes())?;
        self.socket.send(Message::binary(text.into_bytes())).await?;
        Ok(())
    }

    pub(super) async fn ack(&mut self, batch: &str) -> Outcome {
        let payload = serde_json::json!({ "acked_id": batch, "received": 1, "accepted": 0, "rejected": 1 });
        self.send(FrameType::EventBatchAck, "eba", payload).await
    }

    pub(super) async fn close(&mut self, code: u16) -> Outcome {
        self.socket.close(Some(CloseFrame { code: code.into(), reason: "".into() })).await?;
        Ok(())
    }

    /// The code with which the agent closes; frames before it are passed over.
    pub(super) async fn closed(&mut self) -> Outcome<Option<u16>> {
        loop {
            match soon(self.socket.next()).await? {
                Some(Ok(Message::Close(frame))) => {
                    let _ = self.socket.next().await;
                    return Ok(frame.map(|frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                other => return Err(format!("{other:?}").into()),
            }
        }
    }
}

/// The head of a request.
pub(super) async fn read_head(stream: &mut BufReader<TcpStream>) -> Outcome<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Err("the connection ended".into());
        }
    }
    Ok(head)
}

/// A request as an HTTP brain sees it.
pub(super) struct Asked {
    pub(super) target: String,
    pub(super) head: String,
    pub(super) body: String,
}

/// What a request is answered with.
pub(super) enum Reply {
    /// This text.
    Text(String),
    /// Nothing: the request is held until the test ends.
    Nothing,
    /// 101, and a session that answers hello and no more.
    Session,
    /// 101, and the end of the connection.
    Cut,
}

impl From<Option<String>> for Reply {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Nothing, Self::Text)
    }
}

/// Serves HTTP with a function, every connection for many requests; it ends with the test.
pub(super) async fn serve_http(answer: impl Fn(Asked) -> Reply + Send + Sync + 'static) -> Outcome<u16> {
    let brain = Brain::start().await?;
    let port = brain.port;
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = brain.listener.accept().await {
            let answer = Arc::clone(&answer);
            // A client that goes away is no concern of the server's.
            tokio::spawn(async move { serve(BufReader::new(stream), &*answer).await.is_ok() });
        }
    });
    Ok(port)
}

async fn serve(
    mut stream: BufReader<TcpStream>,
    answer: &(impl Fn(Asked) -> Reply + Sync),
) -> std::io::Result<()> {
    loop {
        let head = read_head(&mut stream).await.map_err(|error| std::io::Error::other(error.to_string()))?;
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.and_then(|length| length.trim().parse().ok()).unwrap_or(0)];
        stream.read_exact(&mut body).await?;
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let body = String::from_utf8_lossy(&body).into_owned();
        match answer(Asked { target, head: head.clone(), body }) {
            Reply::Text(text) => stream.write_all(text.as_bytes()).await?,
            Reply::Nothing => std::future::pending().await,
            Reply::Cut => return stream.write_all(switching(&head).as_bytes()).await,
            Reply::Session => {
                stream.write_all(switching(&head).as_bytes()).await?;
                let peer = Peer::over(stream).await;
                let mut peer = peer.map_err(|error| std::io::Error::other(error.to_string()))?;
                let _ = peer.greet(0).await.map_err(|error| error.to_string());
                return std::future::pending().await;
            }
        }
    }
}

fn switching(head: &str) -> String {
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
    let accept = derive_accept_key(key.trim().as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// An HTTP answer.
pub(super) fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nx-z4j-agent-id: {AGENT}\r\nx-z4j-project-id: {PROJECT}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Runs a test in paused time that moves by order alone: it does not run by itself while a blocking task does.
/// After a while it is let go, so that what waits in vain fails.
pub(super) async fn with_held_time(test: impl Future<Output = Outcome>) -> Outcome {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let holder = tokio::task::spawn_blocking(move || held.recv_timeout(PATIENCE).is_err());
    let done = test.await;
    drop(release);
    holder.await?;
    done
}
