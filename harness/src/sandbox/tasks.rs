//! Commands inside the sandbox: those that run to their end, and those that go on until they are ended.
//!
//! Owns their pipes and limits. Must not decide when one is to end.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::LAUNCH;
use super::outlet::Outlet;
use super::reaper::{Reaper, end_leftovers, processes};
use super::wire::{Command, Event, Input, Output};

/// Most bytes of a command's output that are kept, each of stdout and stderr; of what was started, both.
const MAX_OUTPUT_BYTES: u64 = 4 << 20;

/// Longest line of a log; the rest becomes a line of its own.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// How long the rest of a command's output may take once nothing runs any more.
const DRAIN: Duration = Duration::from_secs(5);

/// The same for what was started: a child of it may hold the pipe and live on.
const LOG_DRAIN: Duration = Duration::from_millis(500);

/// How often lines are written when they come at a rate.
const PACE: Duration = Duration::from_millis(10);

/// Names and pids of what was started and runs.
pub(super) type Running = Arc<Mutex<BTreeMap<String, i32>>>;

pub(super) fn running(running: &Running) -> MutexGuard<'_, BTreeMap<String, i32>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All commands of one sandbox.
pub(super) struct Tasks {
    reaper: Reaper,
    running: Running,
    outlet: Outlet,
}

impl Tasks {
    pub(super) fn new(outlet: Outlet, running: Running) -> Self {
        Self { reaper: Reaper::start(), running, outlet }
    }

    /// Whoever starts a process in here does so by this.
    pub(super) const fn reaper(&self) -> &Reaper {
        &self.reaper
    }

    /// Runs a command to its end, and ends what it leaves behind.
    pub(super) fn run(&self, command: &Command) -> io::Result<Output> {
        let before = processes();
        let (mut child, pid, ended) = self.reaper.spawn(&mut prepared(command)?)?;
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        if let (Some(input), Some(pipe)) = (command.input.clone(), child.stdin.take()) {
            thread::spawn(move || feed(&input, pipe));
        }
        let (status, timed_out) = match ended.recv_timeout(Duration::from_millis(command.limit_millis)) {
            Ok(status) => (status, false),
            Err(_) => {
                self.reaper.signal(pid, Signal::SIGKILL)?;
                (ended.recv().map_err(io::Error::other)?, true)
            }
        };
        let roots: BTreeSet<_> = running(&self.running).values().copied().collect();
        end_leftovers(&before, &roots);
        let text = |output: Receiver<Vec<u8>>| {
            String::from_utf8_lossy(&output.recv_timeout(DRAIN).unwrap_or_default()).into_owned()
        };
        Ok(Output { status, stdout: text(stdout), stderr: text(stderr), timed_out })
    }

    /// Starts a command; what it says and that it ended goes to the outlet. Returns its pid.
    pub(super) fn start(&self, name: &str, command: &Command) -> io::Result<i32> {
        // Held over the start: what it says to the service manager at once must find its name.
        let mut names = running(&self.running);
        if names.contains_key(name) {
            return Err(io::Error::other(format!("`{name}` runs already")));
        }
        let (mut child, pid, ended) = self.reaper.spawn(&mut prepared(command)?)?;
        names.insert(name.to_owned(), pid);
        let (done, drained) = mpsc::channel();
        let left = Arc::new(Mutex::new(MAX_OUTPUT_BYTES));
        if let Some(pipe) = child.stdout.take() {
            let (outlet, name, left, done) =
                (self.outlet.clone(), name.to_owned(), Arc::clone(&left), done.clone());
            thread::spawn(move || tell_lines(pipe, &outlet, &name, &left, &done));
        }
        if let Some(pipe) = child.stderr.take() {
            let (outlet, name) = (self.outlet.clone(), name.to_owned());
            thread::spawn(move || tell_lines(pipe, &outlet, &name, &left, &done));
        }
        let (outlet, name, names) = (self.outlet.clone(), name.to_owned(), Arc::clone(&self.running));
        thread::spawn(move || {
            let Ok(status) = ended.recv() else { return };
            let until = Instant::now() + LOG_DRAIN;
            // Both pipes; an error says that their threads have ended.
            for _ in 0..2 {
                let _ = drained.recv_timeout(until.saturating_duration_since(Instant::now()));
            }
            running(&names).remove(&name);
            outlet.tell(Event::Ended { name, status });
        });
        Ok(pid)
    }

    /// Sends a signal to what was started; to one that has ended, nothing.
    pub(super) fn signal(&self, name: &str, signal: i32) -> io::Result<()> {
        let signal = Signal::try_from(signal)?;
        let pid = running(&self.running).get(name).copied();
        pid.map_or(Ok(()), |pid| Ok(self.reaper.signal(pid, signal)?))
    }
}

fn prepared(command: &Command) -> io::Result<std::process::Command> {
    let mut prepared = std::process::Command::new("/proc/self/exe");
    prepared
        .arg(LAUNCH)
        .arg(serde_json::to_string(&command.launch)?)
        .args(&command.arguments)
        .env_clear()
        .envs(&command.environment)
        .stdin(if command.input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(prepared)
}

/// Reads a pipe to its end, or to the bound, in a thread of its own.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is what there is; the rest is thrown away unread.
            let _ = pipe.by_ref().take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes);
            let _ = io::copy(&mut pipe, &mut io::sink());
        }
        sender.send(bytes)
    });
    receiver
}

/// Tells a pipe's lines, as long as fewer bytes than `left` came.
fn tell_lines(pipe: impl Read, outlet: &Outlet, name: &str, left: &Mutex<u64>, done: &mpsc::Sender<()>) {
    let mut reader = BufReader::new(pipe);
    loop {
        let mut line = Vec::new();
        let read = reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        if !read.is_ok_and(|read| read > 0) {
            break;
        }
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *left;
        *left = before.saturating_sub(line.len() as u64);
        let text = match (before, *left) {
            (0, _) => continue,
            (_, 0) => "(harness: the log is longer than what is kept; the rest is left out)".to_owned(),
            _ => String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned(),
        };
        outlet.tell(Event::Logged { name: name.to_owned(), line: text });
    }
    // Nobody waits any more.
    let _ = done.send(());
}

/// Writes a command's input; one that does not read it to the end has its reasons.
fn feed(input: &Input, mut pipe: ChildStdin) {
    let Some(rate) = input.lines_per_second else {
        let _ = pipe.write_all(input.text.as_bytes());
        return;
    };
    let (_never, pause) = mpsc::channel::<()>();
    let began = Instant::now();
    for (written, line) in (0_u128..).zip(input.text.split_inclusive('\n')) {
        while began.elapsed().as_micros() * u128::from(rate) < written * 1_000_000 {
            if pause.recv_timeout(PACE) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
        if pipe.write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}
