//! `wait`: returns once the running brain saw something; `stop`: ends it.
//!
//! Owns the exit codes of a wait: 0 it came, 1 it did not in time. Asks in pieces, so that a brain that stops
//! is noticed.

use std::path::Path;
use std::time::{Duration, Instant};

use http::Method;
use tokio::time::sleep;

use super::output::{print, print_json};
use super::{Failure, StateDir, block_on};
use crate::api::ErrorCode;
use crate::api::wait::{Came, ShuttingDown};
use crate::client::{Client, ClientError};
use crate::control::Control;
use crate::fault::duration;
use crate::quote::quote;
use crate::{Condition, Environment};

/// Longest piece of a wait.
const PIECE: Duration = Duration::from_secs(20);
/// How long a brain may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// How often it is looked whether it ended.
const LOOK: Duration = Duration::from_millis(20);

/// Wait until the running brain saw something.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mock-brain wait --events 100 --agent worker-2\n  \
    mock-brain wait --session bare-1 --timeout 5s\n  \
    mock-brain wait --violation --timeout 1m\n\n\
    The exit code is 0 once it holds, and 1 when it does not in time. What was seen already counts: 100 events \
    are those since the brain was new, or reset.")]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(super) struct Args {
    #[command(flatten)]
    state_dir: StateDir,
    /// So many accepted events
    #[arg(long, value_name = "N", group = "what")]
    events: Option<u64>,
    /// So many events that came again
    #[arg(long, value_name = "N", group = "what", conflicts_with = "agent")]
    duplicates: Option<u64>,
    /// A live session of this worker
    #[arg(long, value_name = "WORKER", group = "what")]
    session: Option<String>,
    /// A live session
    #[arg(long, group = "what")]
    connected: bool,
    /// That no session lives
    #[arg(long, group = "what")]
    disconnected: bool,
    /// The end of a command
    #[arg(long, value_name = "ID", group = "what", conflicts_with = "agent")]
    command: Option<String>,
    /// A violation, or so many
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1", group = "what", conflicts_with = "agent")]
    violation: Option<usize>,
    /// Of this agent only: its name, PROJECT/NAME or id
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// How long
    #[arg(long, value_name = "TIME", default_value = "10s")]
    timeout: String,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

impl Args {
    fn condition(&self) -> Option<Condition> {
        let agent = self.agent.clone();
        let of_agent = if self.connected || self.session.is_some() {
            Some(Condition::Session { agent, worker: self.session.clone() })
        } else if self.disconnected {
            Some(Condition::NoSession { agent })
        } else {
            self.events.map(|count| Condition::Events { count, agent })
        };
        of_agent
            .or_else(|| Some(Condition::Duplicates { count: self.duplicates? }))
            .or_else(|| Some(Condition::Command { id: self.command.clone()? }))
            .or_else(|| Some(Condition::Violations { count: self.violation? }))
    }
}

pub(super) fn run(args: &Args, environment: &Environment) -> Result<(), Failure> {
    let timeout = duration::parse(&args.timeout).ok_or_else(|| {
        let given = quote(&args.timeout);
        Failure::usage(format!("--timeout {given}: a time is expected, such as 10s or 500ms"))
    })?;
    let condition = args.condition().ok_or_else(|| Failure::usage("wait: say what for (see --help)"))?;
    let client = args.state_dir.client(environment)?;
    let came = block_on(came(&client, &condition, timeout))??;
    if args.json { print_json(&came) } else { print(format!("{condition}: {}\n", came.seen).as_bytes()) }
}

async fn came(client: &Client, condition: &Condition, timeout: Duration) -> Result<Came, Failure> {
    let body = serde_json::to_string(condition).map_err(Failure::no)?;
    let until = Instant::now() + timeout;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let path = format!("/mock/v1/wait?timeout_ms={}", left.min(PIECE).as_millis());
        match client.ask::<Came>(Method::POST, &path, Some(body.clone())).await {
            Err(ClientError::Refused(refusal)) if refusal.error == ErrorCode::WaitTimedOut => {
                if left <= PIECE {
                    let line = format!("{condition} did not come within {}", duration::text(timeout));
                    let seen = refusal.message.rsplit_once(": ").map_or("", |(_, seen)| seen);
                    return Err(Failure::no(format!("{line}: {seen}")));
                }
            }
            answer => return Ok(answer?),
        }
    }
}

/// End the running brain.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  mock-brain stop\n\n\
    Returns once it has ended and its state directory is free. Sessions are closed with 1012, as by SIGTERM.")]
pub(super) struct Stop {
    #[command(flatten)]
    state_dir: StateDir,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn stop(args: &Stop, environment: &Environment) -> Result<(), Failure> {
    let client = args.state_dir.client(environment)?;
    let dir = args.state_dir.path(environment)?;
    let ended = block_on(async {
        let asked: ShuttingDown = client.ask(Method::POST, "/mock/v1/shutdown", None).await?;
        ended(&dir, &asked).await.map(|()| asked)
    })??;
    if args.json { print_json(&ended) } else { print(b"stopped\n") }
}

/// Returns once `control.json` is gone, which a brain removes last.
async fn ended(dir: &Path, asked: &ShuttingDown) -> Result<(), Failure> {
    let until = Instant::now() + STOP_TIMEOUT;
    while Control::read(dir).ok().flatten().is_some_and(|control| control.pid == asked.pid) {
        if Instant::now() > until {
            let pid = asked.pid;
            return Err(Failure::no(format!(
                "process {pid} was told to stop and did not; `kill -9 {pid}` ends it"
            )));
        }
        sleep(LOOK).await;
    }
    Ok(())
}
