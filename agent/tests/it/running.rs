//! `z4j run` as its supervisor and its users see it: signals, limits, files.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::brain::{dead_port, serve};
use crate::world::{Outcome, World, tree};

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// An agent that runs, and its log.
struct Agent {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    read: String,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Agent {
    /// Starts one, and waits until it takes events.
    fn start(world: &World, arguments: &[&str]) -> Outcome<Self> {
        let child = world.command(&[&["run"], arguments].concat()).stderr(Stdio::piped()).spawn()?;
        Self::of(child)
    }

    fn of(mut child: Child) -> Outcome<Self> {
        let log = BufReader::new(child.stderr.take().ok_or("no log")?);
        let mut agent = Self { child, log, read: String::new() };
        agent.says("takes events at")?;
        Ok(agent)
    }

    /// Reads the log up to a line that has these words.
    fn says(&mut self, words: &str) -> Outcome<String> {
        loop {
            let mut line = String::new();
            if self.log.read_line(&mut line)? == 0 {
                return Err(format!("the log ended without {words:?}:\n{}", self.read).into());
            }
            self.read.push_str(&line);
            if line.contains(words) {
                return Ok(line);
            }
        }
    }

    fn signal(&self, signal: Signal) -> Outcome {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    /// Waits for the end: the exit code, and the rest of the log.
    fn ended(mut self) -> Outcome<(Option<i32>, String)> {
        let began = Instant::now();
        let code = loop {
            if let Some(status) = self.child.try_wait()? {
                break status.code();
            }
            if began.elapsed() > PATIENCE {
                return Err("it does not end".into());
            }
            std::thread::yield_now();
        };
        self.log.read_to_string(&mut self.read)?;
        Ok((code, std::mem::take(&mut self.read)))
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) -> Outcome {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > PATIENCE {
            return Err(what.into());
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// A world with a brain that takes connections and never answers.
fn with_silent_brain() -> Outcome<World> {
    let port = serve(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })?;
    World::new(&format!("http://127.0.0.1:{port}/"))
}

fn socket(world: &World) -> PathBuf {
    world.path("home/.z4j/agent.sock")
}

/// One event over a connection; the answer.
fn emit(stream: &mut UnixStream) -> Outcome<String> {
    stream.write_all(b"{\"kind\":\"task.started\",\"engine\":\"celery\",\"task_id\":\"t\"}\n")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_second_signal_ends_the_flush() -> Outcome {
    for (first, second) in [(Signal::SIGTERM, Signal::SIGTERM), (Signal::SIGINT, Signal::SIGTERM)] {
        let world = with_silent_brain()?;
        let agent = Agent::start(&world, &["--stop-timeout", "300s"])?;
        let answer = emit(&mut UnixStream::connect(socket(&world))?)?;
        assert!(answer.contains("\"accepted\":1"), "{answer}");
        agent.signal(first)?;
        // It was understood when the intake has ended.
        let gone = || UnixStream::connect(socket(&world)).is_err();
        until("the intake goes on", gone)?;
        agent.signal(second)?;
        let (code, log) = agent.ended()?;
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("a second time"), "{log}");
        let left: Vec<_> = tree(&world.path("home/.z4j"))?;
        let names: Vec<_> = left.iter().filter_map(|path| path.extension()?.to_str()).collect();
        assert_eq!(names, ["sqlite", "lock"], "{left:?}");
    }
    Ok(())
}

#[test]
fn few_descriptors_refuse_connections_and_nothing_else() -> Outcome {
    let world = World::new(&format!("http://127.0.0.1:{}/", dead_port()?))?;
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", "ulimit -n 32; exec \"$0\" run", env!("CARGO_BIN_EXE_z4j")]);
    let variables = world.command(&[]);
    for (name, value) in variables.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    let mut agent = Agent::of(shell.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?)?;
    let mut open = Vec::new();
    let refused = loop {
        let mut stream = UnixStream::connect(socket(&world))?;
        let answer = emit(&mut stream)?;
        if !answer.contains("\"accepted\":1") {
            break answer;
        }
        open.push(stream);
        assert!(open.len() < 32);
    };
    assert!(refused.contains("too-many-connections"), "{refused}");
    agent.says("new connections for events are refused for now")?;
    for _ in 0..20 {
        let answer = emit(&mut UnixStream::connect(socket(&world))?)?;
        assert!(answer.contains("too-many-connections"), "{answer}");
    }
    // It can be asked, and takes events from those that are there.
    let status = world.run(&["status"])?;
    assert_eq!(status.code, Some(0), "{}{}", status.stdout, status.stderr);
    assert!(emit(&mut open[0])?.contains("\"accepted\":2"));
    drop(open);
    until("connections stay refused", || {
        UnixStream::connect(socket(&world))
            .is_ok_and(|mut stream| emit(&mut stream).is_ok_and(|answer| answer.contains("\"accepted\":1")))
    })?;
    agent.signal(Signal::SIGTERM)?;
    agent.signal(Signal::SIGTERM)?;
    let (code, log) = agent.ended()?;
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("connections for events are refused").count(), 1, "{log}");
    Ok(())
}
