//! `z4j emit`: events from a pipe or a file to the running agent.
//!
//! Owns which agent that is, and what is printed. The conversation is `ingest`'s.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::output::{complain, print};
use super::time::parse_timeout;
use super::{NO, USAGE};
use crate::environment::{Environment, user_name};
use crate::ingest::{Emission, LineRefusal, send};
use crate::instance;
use crate::paths::temporary_name;
use crate::words::{errno_text, visible};

pub(super) const EXAMPLES: &str = r#"Examples:
  echo '{"kind":"task.started","engine":"celery","task_id":"t-1","data":{"task_name":"mail"}}' | z4j emit
  tail -F events.ndjson | z4j emit --wait 30s
  z4j emit --file events.ndjson --json

Exit codes: 0 every event is durable; 1 a line was refused, there is no agent, or it went away (then the line to
send again from is named); 2 a flag does not parse, or the file cannot be read."#;

/// Most refused lines that are printed.
const SHOWN_REFUSALS: u64 = 20;
/// Most refused lines in the JSON document.
const LISTED_REFUSALS: usize = 1_000;
/// How often an agent is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// How long it takes until progress is shown.
const LONG: Duration = Duration::from_secs(2);

/// `z4j emit`
#[derive(Debug, Args)]
pub(super) struct EmitArgs {
    /// Read events from this file, not from stdin
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// The agent's ingest socket
    #[arg(long, value_name = "PATH", conflicts_with = "pid")]
    socket: Option<PathBuf>,
    /// The agent with this process id, not the newest one
    #[arg(long)]
    pid: Option<u32>,
    /// The home root, in place of ~/.z4j [Z4J_HOME]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// How long to wait for an agent to appear
    #[arg(long, value_name = "TIME", value_parser = parse_timeout)]
    wait: Option<Duration>,
    /// One JSON document on stdout
    #[arg(long)]
    json: bool,
}

/// Sends, and says what became of it.
pub(super) fn emit(args: &EmitArgs) -> ExitCode {
    let input: Box<dyn Read + Send> = match &args.file {
        None => Box::new(io::stdin()),
        Some(path) => match open(path) {
            Ok(file) => Box::new(file),
            Err(error) => {
                let way_out = "name a file that this user can read, or leave --file out for stdin";
                complain(&format!("{}: {}; {way_out}", path.display(), errno_text(&error)));
                return ExitCode::from(USAGE);
            }
        },
    };
    let environment = Environment::capture();
    let stream = match connect(args, &environment) {
        Ok(stream) => stream,
        Err(reason) => {
            complain(&reason);
            return ExitCode::from(NO);
        }
    };
    let mut account = Account { json: args.json, ..Account::default() };
    let mut progress = Progress::new();
    let sent = send(stream, input, |refusal| account.refused(refusal), |line| progress.show(line));
    progress.clear();
    match sent {
        Ok(emission) => account.close(&emission),
        Err(error) => {
            complain(&format!("cannot talk to the agent: {}", errno_text(&error)));
            ExitCode::from(NO)
        }
    }
}

/// Opens a file of events; a directory can be opened, and not read.
fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() { Err(io::Error::from_raw_os_error(nix::libc::EISDIR)) } else { Ok(file) }
}

/// Connects to the agent, waiting for one as long as was asked for.
fn connect(args: &EmitArgs, environment: &Environment) -> Result<UnixStream, String> {
    let deadline = Instant::now() + args.wait.unwrap_or_default();
    let (_never, timer) = std::sync::mpsc::channel::<()>();
    loop {
        let reason = match find(args, environment) {
            Ok(path) => match UnixStream::connect(&path) {
                Ok(stream) => return Ok(stream),
                Err(error) => refused(&path, &error),
            },
            Err(reason) => reason,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(reason);
        }
        let _ = timer.recv_timeout(left.min(LOOK));
    }
}

fn refused(path: &Path, error: &io::Error) -> String {
    let fix = match error.kind() {
        io::ErrorKind::PermissionDenied => "run z4j emit as the agent's user",
        _ => "start one with z4j run, or name the socket of the one that runs with --socket PATH",
    };
    format!("{}: no agent answers ({}); {fix}", path.display(), errno_text(error))
}

/// The socket of the agent that is meant.
fn find(args: &EmitArgs, environment: &Environment) -> Result<PathBuf, String> {
    if let Some(path) = &args.socket {
        return Ok(path.clone());
    }
    let home = args.home.clone();
    let agents = instance::live(environment, home.as_deref());
    let agent = match args.pid {
        None => agents.first(),
        Some(pid) => agents.iter().find(|agent| agent.pid == pid),
    };
    agent.map(instance::Instance::ingest_socket).ok_or_else(|| {
        let which = args.pid.map(|pid| format!(" with pid {pid}")).unwrap_or_default();
        let others = match args.pid {
            Some(_) if !agents.is_empty() => {
                let pids: Vec<String> = agents.iter().map(|agent| agent.pid.to_string()).collect();
                format!("; there is {}", pids.join(", "))
            }
            _ => String::new(),
        };
        let way_out = services(Path::new(instance::UNIT_DIRECTORY)).unwrap_or_else(|| {
            "start one with z4j run, or, if it runs with another Z4J_HOME, say so with --home DIR, or name its socket with --socket PATH".to_owned()
        });
        format!(
            "no agent of this user{which} runs{others} (looked in {}); {way_out}",
            places(environment, home.as_deref())
        )
    })
}

/// How to reach the agent of the packaged unit, if there is one: it is another user's, and so it is not taken
/// unasked.
fn services(dir: &Path) -> Option<String> {
    let found = dir.metadata().ok()?;
    let dir_shown = dir.display();
    match dir.read_dir() {
        Ok(_) => {
            let agents = instance::live_in(&[dir.to_owned()], found.uid());
            let socket = dir.join(instance::CURRENT_SOCKET);
            let who = user_name(found.uid());
            (!agents.is_empty()).then(|| {
                format!(
                    "a service's agent ({who}) takes events at {0}: say so with --socket {0}",
                    socket.display()
                )
            })
        }
        Err(_) => Some(format!(
            "a service's agent may be in {dir_shown}, which is closed to this user: run both as one user \
             (User= in a drop-in of the unit; docs/agent.md, As a service), or send as root with --socket {}",
            dir.join(instance::CURRENT_SOCKET).display()
        )),
    }
}

/// Where agents are looked for.
fn places(environment: &Environment, home: Option<&Path>) -> String {
    let mut places = instance::places(environment, home);
    let temporary = temporary_name(environment);
    if !places.contains(&temporary) {
        places.push(temporary);
    }
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    places.join(", ")
}

/// What is said about refused lines.
#[derive(Debug, Default)]
struct Account {
    json: bool,
    shown: u64,
    listed: Vec<LineRefusal>,
}

#[derive(Serialize)]
struct Document<'a> {
    ok: bool,
    lines: u64,
    accepted: u64,
    restamped: u64,
    refused: u64,
    /// The first ones.
    refusals: &'a [LineRefusal],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure<'a>>,
}

#[derive(Serialize)]
struct Failure<'a> {
    code: &'a str,
    reason: &'a str,
    /// The first line that is not known to be durable.
    send_again_from_line: u64,
}

impl Account {
    fn refused(&mut self, refusal: LineRefusal) {
        if self.json {
            if self.listed.len() < LISTED_REFUSALS {
                self.listed.push(refusal);
            }
        } else if self.shown < SHOWN_REFUSALS {
            self.shown += 1;
            complain(&format!("line {}: {} [{}]", refusal.line, refusal.reason, refusal.code));
        }
    }

    fn close(&self, emission: &Emission) -> ExitCode {
        let ok = emission.refused == 0 && emission.error.is_none();
        let printed = if self.json { print(&self.document(emission, ok)) } else { self.lines(emission) };
        if ok { printed } else { ExitCode::from(NO) }
    }

    fn lines(&self, emission: &Emission) -> ExitCode {
        let hidden = emission.refused - self.shown.min(emission.refused);
        if hidden > 0 {
            complain(&format!("and {hidden} more refused lines"));
        }
        if emission.restamped > 0 {
            let count = emission.restamped;
            complain(&format!(
                "WARNING: occurred_at of {count} events is over 400 days old or ahead of now; they bear the time of arrival"
            ));
        }
        if let Some(error) = &emission.error {
            let (line, next) = (emission.line, emission.line + 1);
            complain(&format!(
                "{} [{}]: lines up to {line} are settled; send again from line {next}",
                error.reason, error.code
            ));
        }
        print(&format!("{} accepted, {} refused\n", emission.accepted, emission.refused))
    }

    fn document(&self, emission: &Emission, ok: bool) -> String {
        let error = emission.error.as_ref().map(|error| Failure {
            code: &error.code,
            reason: &error.reason,
            send_again_from_line: emission.line + 1,
        });
        let document = Document {
            ok,
            lines: emission.line,
            accepted: emission.accepted,
            restamped: emission.restamped,
            refused: emission.refused,
            refusals: &self.listed,
            error,
        };
        let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// How far it is, on a terminal, if it takes long.
struct Progress {
    begun: Instant,
    terminal: bool,
    shown: bool,
}

impl Progress {
    fn new() -> Self {
        Self { begun: Instant::now(), terminal: io::stderr().is_terminal(), shown: false }
    }

    fn show(&mut self, line: u64) {
        if self.terminal && self.begun.elapsed() > LONG {
            self.shown = true;
            let _ = write!(io::stderr().lock(), "\r{}", visible(&format!("{line} lines")));
        }
    }

    fn clear(&mut self) {
        if self.shown {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_agent_is_named_and_not_taken() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let place = dir.path().join("z4j");
        assert_eq!(services(&place), None);
        let environment = Environment::capture();
        let claim = instance::claim(&place, &environment)?;
        let socket = place.join("agent.sock");
        let said = services(&place).unwrap_or_default();
        assert!(said.ends_with(&format!("say so with --socket {}", socket.display())), "{said}");
        drop(claim);
        assert_eq!(services(&place), None);
        Ok(())
    }
}
