//! Brains that attack the agent: each attack is met by the same process, which goes on taking events, holds no
//! more than a bound, and delivers to the next brain that behaves.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_tungstenite::tungstenite::Message;
use z4j_protocol::{FrameType, Timestamp, Value};

use crate::brain::{http, read_body, read_head, serve, switching, welcome};
use crate::world::{Outcome, World};

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an attack that is not hung up on goes on.
const STUBBORN: Duration = Duration::from_secs(2);
/// What is poured out where there is no end, in bytes.
const FLOOD: usize = 64 << 20;

/// An agent under attack.
pub(crate) struct Attacked {
    child: Child,
    pub(crate) world: World,
    /// What it held before, in KiB.
    before: u64,
}

impl Drop for Attacked {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Attacked {
    pub(crate) fn start(world: World) -> Outcome<Self> {
        let log = std::fs::File::create(world.path("log"))?;
        let child = world.command(&["run"]).stderr(log).spawn()?;
        let mut attacked = Self { child, world, before: 0 };
        let began = Instant::now();
        while attacked.emits().is_err() {
            assert!(began.elapsed() < PATIENCE, "it takes no events:\n{}", attacked.log());
            std::thread::yield_now();
        }
        // Its peak is what it holds now (proc(5), clear_refs).
        std::fs::write(format!("/proc/{}/clear_refs", attacked.child.id()), "5")?;
        attacked.before = attacked.status("VmRSS")?;
        Ok(attacked)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.world.path("log")).unwrap_or_default()
    }

    fn status(&self, key: &str) -> Outcome<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)).ok_or("it is gone")?;
        Ok(line.trim_matches(|c: char| !c.is_ascii_digit()).parse()?)
    }

    pub(crate) fn connect(&self) -> Outcome<UnixStream> {
        Ok(UnixStream::connect(self.world.path("home/.z4j/agent.sock"))?)
    }

    /// An application emits an event, and is told that it is safe.
    pub(crate) fn emits(&self) -> Outcome {
        let mut stream = self.connect()?;
        stream.write_all(b"{\"kind\":\"task.started\",\"engine\":\"celery\",\"task_id\":\"t\"}\n")?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        if answer.contains("\"accepted\":1") { Ok(()) } else { Err(answer.into()) }
    }

    /// Its peak is at most so many MiB above what it held before, and applications have noticed nothing.
    pub(crate) fn has_stood(&self, what: &str, mebibytes: u64) -> Outcome {
        self.emits()?;
        let grown = self.status("VmHWM")?.saturating_sub(self.before) / 1024;
        println!("{what}: {grown} MiB more at the peak, {mebibytes} are allowed");
        assert!(grown <= mebibytes, "{what}: {grown} MiB more at the peak");
        Ok(())
    }

    fn reconnect(&self) -> Outcome {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGHUP)?)
    }
}

/// What a brain does with a connection.
type Attack = (&'static str, fn(TcpStream) -> Outcome);

/// The one that must come to its end.
const BEHAVES: &str = "a brain that behaves";

/// A brain that does one thing with each connection, in turn, and tells when it is through with it.
fn brain(attacks: &'static [Attack]) -> Outcome<(u16, Receiver<&'static str>)> {
    let (sender, done) = mpsc::channel();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let port = serve(move |stream| {
        let turn = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let Some((what, attack)) = attacks.get(turn).or_else(|| attacks.last()) else { return };
        let _ = stream.set_write_timeout(Some(STUBBORN));
        let _ = stream.set_read_timeout(Some(PATIENCE));
        // The agent hangs up on most of them, as it should.
        if attack(stream).is_ok() || *what != BEHAVES {
            let _ = sender.send(*what);
        }
    })?;
    Ok((port, done))
}

fn survives(transport: &str, attacks: &'static [Attack], mebibytes: u64) -> Outcome {
    let (port, done) = brain(attacks)?;
    let mut world = World::new(&format!("http://127.0.0.1:{port}/"))?;
    world.set("Z4J_TRANSPORT", transport);
    let agent = Attacked::start(world)?;
    let mut open: Vec<&str> = attacks.iter().map(|(what, _)| *what).collect();
    let began = Instant::now();
    while !open.is_empty() {
        assert!(began.elapsed() < PATIENCE * 4, "these were not met: {open:?}");
        // It waits longer from failure to failure, unless it is told to connect now. An attack may still go on
        // while the next one begins.
        agent.reconnect()?;
        match done.recv_timeout(STUBBORN * 2) {
            Ok(met) => {
                open.retain(|what| *what != met);
                agent.has_stood(met, mebibytes)?;
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Writes without end, or nearly.
fn pour(stream: &mut TcpStream, piece: &[u8]) -> Outcome {
    for _ in 0..FLOOD / piece.len() {
        stream.write_all(piece)?;
    }
    Ok(())
}

/// Waits for the agent to hang up.
fn until_gone(stream: &mut TcpStream) -> Outcome {
    std::io::copy(stream, &mut std::io::sink())?;
    Ok(())
}

fn answer(mut stream: TcpStream, head: &str, piece: &[u8]) -> Outcome {
    let asked = read_head(&mut stream);
    read_body(&mut stream, &asked);
    stream.write_all(head.as_bytes())?;
    pour(&mut stream, piece)
}

/// A head, and bytes behind an upgraded connection.
fn upgraded(mut stream: TcpStream, first: &[u8], piece: &[u8]) -> Outcome {
    let head = read_head(&mut stream);
    stream.write_all(switching(&head).as_bytes())?;
    stream.write_all(first)?;
    if piece.is_empty() { until_gone(&mut stream) } else { pour(&mut stream, piece) }
}

fn text(stream: TcpStream, text: &str) -> Outcome {
    let length = u64::try_from(text.len())?.to_be_bytes();
    upgraded(stream, &[b"\x81\x7f".as_slice(), &length, text.as_bytes()].concat(), b"")
}

#[expect(clippy::disallowed_methods, reason = "the server's clock")]
fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

/// Acknowledgements that are signed, for batches that were never sent.
fn acks(stream: TcpStream) -> Outcome {
    let (mut socket, mut signer) = welcome(stream)?;
    for index in 0_u32..20_000 {
        let payload = serde_json::json!({
            "acked_id": format!("nobody-{index}"), "received": 1, "accepted": 1, "rejected": 0,
        });
        let mut nonce = [0; 16];
        nonce[..4].copy_from_slice(&index.to_be_bytes());
        let payload = Value::from_serialize(&payload)?;
        let ack = signer.sign(FrameType::EventBatchAck, &format!("a{index}"), payload, now(), nonce)?;
        socket.send(Message::binary(ack.into_bytes()))?;
    }
    Ok(())
}

/// Commands that are signed, more than anybody could carry out.
fn commands(stream: TcpStream) -> Outcome {
    let (mut socket, mut signer) = welcome(stream)?;
    for index in 0_u32..5_000 {
        let payload = serde_json::json!({
            "action": "retry_task", "target": {"type": "task", "id": "t".repeat(1_000)},
            "parameters": {}, "timeout_seconds": 60, "delivery_claim_token": "claim",
        });
        let mut nonce = [1; 16];
        nonce[..4].copy_from_slice(&index.to_be_bytes());
        let id = format!("4c5f2f0e-3e1b-4d7e-9a51-0000{index:08x}");
        let command = signer.sign(FrameType::Command, &id, Value::from_serialize(&payload)?, now(), nonce)?;
        socket.send(Message::binary(command.into_bytes()))?;
    }
    Ok(())
}

/// Pings as fast as they go, whose pongs nobody reads.
fn pings(stream: TcpStream) -> Outcome {
    let (mut socket, _) = welcome(stream)?;
    let ping = [b"\x89\x7d".as_slice(), &[b'x'; 125]].concat();
    pour(socket.get_mut(), &ping.repeat(100))
}

/// Waits for the events, which were safe all the time.
fn behaves(stream: TcpStream) -> Outcome {
    let (mut socket, _) = welcome(stream)?;
    while !socket.read()?.to_text().is_ok_and(|text| text.contains("\"event_batch\"")) {}
    Ok(())
}

const WEBSOCKET: &[Attack] = &[
    ("a head without end", |stream| answer(stream, "HTTP/1.1 101 Yes\r\n", &b"A: b\r\n".repeat(1_000))),
    ("a line without end", |stream| answer(stream, "HTTP/1.1 101 Yes\r\nA: ", &[b'b'; 1 << 16])),
    ("interim answers without end", |stream| {
        answer(stream, "", &b"HTTP/1.1 103 Early\r\n\r\n".repeat(1_000))
    }),
    ("no HTTP", |stream| answer(stream, "", &[0xff; 1 << 16])),
    ("a refusal without end", |stream| answer(stream, "HTTP/1.1 403 No\r\n\r\n", &[b'x'; 1 << 16])),
    ("a frame of 2^62 bytes", |stream| {
        upgraded(stream, &[b"\x82\x7f".as_slice(), &(1_u64 << 62).to_be_bytes()].concat(), b"")
    }),
    ("a frame of a gibibyte", |stream| {
        upgraded(stream, &[b"\x82\x7f".as_slice(), &(1_u64 << 30).to_be_bytes()].concat(), &[b' '; 1 << 16])
    }),
    ("fragments without end", |stream| {
        upgraded(stream, b"\x01\x00", &[b"\x00\x7e\x10\x00".as_slice(), &[b' '; 4096]].concat())
    }),
    ("fragments of nothing", |stream| upgraded(stream, b"\x01\x00", &b"\x00\x00".repeat(1_000))),
    ("a million arrays", |stream| text(stream, &"[".repeat(1_000_000))),
    ("350,000 empty arrays", |stream| text(stream, &format!("[{}0]", "[],".repeat(349_000)))),
    ("90,000 keys", |stream| {
        let keys: String = (0..90_000).map(|index| format!("\"{index:06}\":0,")).collect();
        text(stream, &format!("{{{keys}\"v\":2}}"))
    }),
    ("pings without end", pings),
    ("acknowledgements without end", acks),
    ("commands without end", commands),
    (BEHAVES, behaves),
];

#[test]
fn over_a_websocket() -> Outcome {
    survives("ws", WEBSOCKET, 48)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

const LONGPOLL: &[Attack] = &[
    ("a head without end", |stream| answer(stream, "HTTP/1.1 200 OK\r\n", &b"A: b\r\n".repeat(1_000))),
    ("a body without end", |stream| answer(stream, &format!("{OK}\r\n"), &[b' '; 1 << 16])),
    ("a body of a terabyte", |stream| {
        answer(stream, &format!("{OK}Content-Length: 1099511627776\r\n\r\n"), &[b' '; 1 << 16])
    }),
    ("chunks without end", |stream| {
        answer(
            stream,
            &format!("{OK}Transfer-Encoding: chunked\r\n\r\n"),
            &[b"1000\r\n".as_slice(), &[b' '; 4096], b"\r\n"].concat(),
        )
    }),
    ("a chunk of 2^63 bytes", |stream| {
        answer(
            stream,
            &format!("{OK}Transfer-Encoding: chunked\r\n\r\n8000000000000000\r\n"),
            &[b' '; 1 << 16],
        )
    }),
    ("trailers without end", |stream| {
        answer(stream, &format!("{OK}Transfer-Encoding: chunked\r\n\r\n0\r\n"), &b"A: b\r\n".repeat(1_000))
    }),
    ("gzip that nobody asked for", |stream| {
        let mut stream = stream;
        read_head(&mut stream);
        stream.write_all(
            format!("{OK}Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\u{8}\0\0").as_bytes(),
        )?;
        until_gone(&mut stream)
    }),
    ("a million arrays", |stream| whole(stream, &"[".repeat(1_000_000))),
    ("a million frames", |stream| {
        whole(stream, &format!("{{\"frames\":[{}\"\"]}}", "\"\",".repeat(1_000_000)))
    }),
    ("a frame of a million arrays", |stream| {
        whole(stream, &format!("{{\"frames\":[\"{}\"]}}", "[".repeat(1_000_000)))
    }),
];

fn whole(mut stream: TcpStream, body: &str) -> Outcome {
    let head = read_head(&mut stream);
    read_body(&mut stream, &head);
    stream.write_all(http("200 OK", body).as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut rest = Vec::new();
    stream.take(1 << 20).read_to_end(&mut rest)?;
    Ok(())
}

#[test]
fn over_long_poll() -> Outcome {
    survives("longpoll", LONGPOLL, 96)
}

/// A byte now and then, as long as the agent bears it.
fn trickle(mut stream: TcpStream, head: &[u8]) -> Outcome {
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut asked = [0; 4096];
    for byte in head.iter().cycle() {
        stream.write_all(&[*byte])?;
        match stream.read(&mut asked) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

const SLOW: &[(&str, Attack)] = &[
    (
        "http",
        ("a head that trickles", |stream| trickle(stream, b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\n")),
    ),
    (
        "https",
        ("a ServerHello that trickles", |stream| {
            trickle(stream, b"\x16\x03\x03\x3e\x80\x02\x00\x3e\x7c\x03\x03")
        }),
    ),
];

#[test]
fn slowly() -> Outcome {
    let mut agents = Vec::new();
    for (scheme, attack) in SLOW {
        let (port, done) = brain(std::slice::from_ref(attack))?;
        let mut world = World::new(&format!("{scheme}://127.0.0.1:{port}/"))?;
        world.set("Z4J_TRANSPORT", "ws");
        agents.push((Attacked::start(world)?, done));
    }
    for (agent, done) in agents {
        // It hangs up by itself, and tries again.
        for _ in 0..2 {
            let what = done.recv_timeout(PATIENCE)?;
            agent.has_stood(what, 16)?;
        }
    }
    Ok(())
}
