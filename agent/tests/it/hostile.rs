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

use crate::brain::{read_body, read_head, serve};
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
pub(crate) type Attack = (&'static str, fn(TcpStream) -> Outcome);

/// The one that must come to its end.
pub(crate) const BEHAVES: &str = "a brain that behaves";

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

pub(crate) fn survives(transport: &str, attacks: &'static [Attack], mebibytes: u64) -> Outcome {
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
pub(crate) fn pour(stream: &mut TcpStream, piece: &[u8]) -> Outcome {
    for _ in 0..FLOOD / piece.len() {
        stream.write_all(piece)?;
    }
    Ok(())
}

/// Waits for the agent to hang up.
pub(crate) fn until_gone(stream: &mut TcpStream) -> Outcome {
    std::io::copy(stream, &mut std::io::sink())?;
    Ok(())
}

pub(crate) fn answer(mut stream: TcpStream, head: &str, piece: &[u8]) -> Outcome {
    let asked = read_head(&mut stream);
    read_body(&mut stream, &asked);
    stream.write_all(head.as_bytes())?;
    pour(&mut stream, piece)
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
