//! A brain of its own process that others attack, an agent that behaves meanwhile, and how much memory it took.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::cli::{Serve, program, told};
use crate::support::{Agent, at, event, hello_with, within};

/// The brain under attack. Its journal is on disk, as `serve` has it.
pub(crate) struct Victim {
    dir: TempDir,
    pub(crate) serve: Serve,
    /// An agent that behaves.
    bystander: Agent,
    batches: usize,
    token: String,
    secret: String,
    /// What it held before, in KiB.
    before: u64,
}

impl Victim {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let command = quiet(program(dir.path()));
        Self::of(dir, command, arguments).await
    }

    /// One that may have so many descriptors.
    pub(crate) async fn with_descriptors(count: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = format!("ulimit -n {count} && exec \"$0\" \"$@\"");
        let mut command = Command::new("/bin/sh");
        command.env_clear().env("HOME", dir.path()).args(["-c", &script, env!("CARGO_BIN_EXE_mock-brain")]);
        Self::of(dir, quiet(command), &[]).await
    }

    async fn of(dir: TempDir, command: Command, arguments: &[&str]) -> Self {
        let serve = Serve::of(command, &[&["--no-tls"], arguments].concat());
        let (_, env, _) = told(dir.path(), &["env", "--format", "json"]);
        let env: Json = serde_json::from_str(&env).unwrap();
        let [token, secret] =
            ["Z4J_TOKEN", "Z4J_HMAC_SECRET"].map(|key| env[key].as_str().unwrap().to_owned());
        let mut bystander = connected(address(&serve), &token, &secret).await;
        bystander.greet(&hello_with("worker_id", json!("bystander"))).await;
        let mut victim = Self { dir, serve, bystander, batches: 0, token, secret, before: 0 };
        victim.acks().await;
        // Its peak is what it holds now (proc(5), clear_refs).
        std::fs::write(format!("/proc/{}/clear_refs", victim.pid()), "5").unwrap();
        victim.before = victim.status("VmRSS");
        victim
    }

    pub(crate) fn address(&self) -> SocketAddr {
        address(&self.serve)
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    fn pid(&self) -> u64 {
        self.serve.announced["pid"].as_u64().unwrap()
    }

    fn status(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
    }

    /// How much processor time it took so far, in clock ticks.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// The agent that behaves sends an event, and it is acknowledged.
    pub(crate) async fn acks(&mut self) {
        self.batches += 1;
        let events = json!([event(&format!("t-{}", self.batches), "task.sent", &at(0))]);
        assert_eq!(self.bystander.batch(events).await, (1, 1, 0));
    }

    /// The peak since the start is at most so many MiB above what it held then, and nobody else has noticed
    /// anything.
    pub(crate) async fn has_stood(&mut self, mebibytes: u64) {
        self.acks().await;
        let grown = self.status("VmHWM").saturating_sub(self.before) / 1024;
        println!("{grown} MiB more at the peak, {mebibytes} are allowed");
        assert!(grown <= mebibytes, "{grown} MiB more at the peak");
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        within(TcpStream::connect(self.address())).await.unwrap()
    }

    /// A session with a token that has not said hello yet.
    pub(crate) async fn upgraded(&self) -> Agent {
        connected(self.address(), &self.token, &self.secret).await
    }

    /// A session.
    pub(crate) async fn online(&self) -> Agent {
        let mut agent = self.upgraded().await;
        agent.greet(&hello_with("worker_id", json!("attacker"))).await;
        agent
    }

    /// Sends bytes, and returns all that comes back until the end or a first answer.
    pub(crate) async fn answer(&self, bytes: &[u8]) -> String {
        let mut socket = self.tcp().await;
        let (mut from, mut to) = socket.split();
        let mut answer = Vec::new();
        // What is refused early is not read to its end.
        let send = async {
            let _ = to.write_all(bytes).await;
        };
        let read = async {
            while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
                if from.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                    break;
                }
            }
        };
        within(async { tokio::join!(send, read) }).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }
}

fn quiet(mut command: Command) -> Command {
    // Nobody reads what it says, and a full pipe would stop it.
    command.env("MOCK_BRAIN_LOG", "warn");
    command
}

fn address(serve: &Serve) -> SocketAddr {
    let url = serve.announced["url"].as_str().unwrap();
    url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap()
}

async fn connected(address: SocketAddr, token: &str, secret: &str) -> Agent {
    let stream = within(TcpStream::connect(address)).await.unwrap();
    let url = format!("ws://{address}/ws/agent");
    Agent::dial(stream, &url, &format!("Bearer {token}"), secret).await.unwrap()
}

/// The first bytes of a frame: flags and opcode, then a length that is claimed, and a mask of zeroes.
pub(crate) fn header(first: u8, length: u64) -> Vec<u8> {
    let mut out = vec![first];
    match u16::try_from(length) {
        Ok(short @ 0..126) => out.push(0x80 | u8::try_from(short).unwrap()),
        Ok(medium) => {
            out.push(0x80 | 126);
            out.extend(medium.to_be_bytes());
        }
        Err(_) => {
            out.push(0x80 | 127);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend([0; 4]);
    out
}

/// A frame with its content.
pub(crate) fn frame(first: u8, content: &[u8]) -> Vec<u8> {
    [header(first, content.len() as u64), content.to_vec()].concat()
}

/// Writes past the WebSocket. The brain may have hung up already.
pub(crate) async fn write(agent: &mut Agent, bytes: &[u8]) {
    let _ = within(agent.socket.get_mut().write_all(bytes)).await;
}

/// A message as it is.
pub(crate) async fn say(agent: &mut Agent, text: &str) {
    agent.send(Message::text(text)).await;
}
