//! `command send|list`.

use std::fmt::Write;
use std::time::{Duration, Instant};

use clap::builder::NonEmptyStringValueParser;
use http::Method;
use serde_json::{Value as Json, json};

use super::output::{print, print_json};
use super::{Failure, StateDir, block_on};
use crate::api::Items;
use crate::api::commands::MAX_WAIT;
use crate::client::Client;
use crate::fault::duration;
use crate::quote::quote;
use crate::{CommandInfo, CommandState, Environment, NewCommand};

/// How long `--wait` waits where it does not say: longer than a command's own time.
const DEFAULT_WAIT: &str = "130s";

/// Send commands to agents, and see what came of them.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Send a command; it waits for its agent for 60 seconds
    #[command(after_help = "Examples:\n  mock-brain command send cancel_task --target task:celery:t1 \
        --param engine=celery --param task_id=t1 --wait\n  \
        mock-brain command send schedule.resync --wait 10s --json\n\n\
        With --wait the exit code is 0 once the agent reported success, and 1 for a failure or a time-out.")]
    Send(Box<Send>),
    /// List commands, oldest first
    #[command(after_help = "Example:\n  mock-brain command list --json | jq '.items[] | {id, status}'")]
    List {
        #[command(flatten)]
        state_dir: StateDir,
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Send {
    #[command(flatten)]
    state_dir: StateDir,
    /// What is to be done, such as retry_task
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    action: String,
    /// The agent: its name, PROJECT/NAME or id [default: the one that serve was started with]
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// On what: TYPE:ID, or a JSON object [default: the project]
    #[arg(long, value_name = "TYPE:ID|JSON")]
    target: Option<String>,
    /// A parameter; the value is JSON where it reads as JSON, else a text; may be repeated
    #[arg(long = "param", value_name = "KEY=VALUE")]
    parameters: Vec<String>,
    /// How many seconds the agent is told it may take [default: 60]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// A delivery_claim_token, which ack and result have to echo
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    claim_token: Option<String>,
    /// Wait for the result, for so long at most [default when given without a time: 130s]
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = DEFAULT_WAIT)]
    wait: Option<String>,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: Command, environment: &Environment) -> Result<(), Failure> {
    match command {
        Command::Send(args) => send(*args, environment),
        Command::List { state_dir, json } => list(&state_dir, json, environment),
    }
}

fn send(args: Send, environment: &Environment) -> Result<(), Failure> {
    let wait = args.wait.as_deref().map(wait_time).transpose()?;
    let parameters = args.parameters.iter().map(|text| parameter(text)).collect::<Result<_, _>>()?;
    let command = NewCommand {
        agent: args.agent,
        action: args.action,
        target: args.target.as_deref().map(target).transpose()?,
        parameters,
        timeout_seconds: args.timeout,
        issued_by: None,
        delivery_claim_token: args.claim_token,
        idempotency_key: None,
    };
    let body = serde_json::to_string(&command).map_err(Failure::no)?;
    let client = args.state_dir.client(environment)?;
    let command = block_on(async {
        let command = client.ask::<CommandInfo>(Method::POST, "/mock/v1/commands", Some(body)).await?;
        match wait {
            Some(wait) => finished(&client, command, wait).await,
            None => Ok(command),
        }
    })??;
    if args.json {
        print_json(&command)?;
    } else {
        print(told(&command).as_bytes())?;
    }
    if wait.is_none() || command.status == CommandState::Completed { Ok(()) } else { Err(Failure::no("")) }
}

/// Asks until the command has come to its end, or time is over.
async fn finished(
    client: &Client,
    mut command: CommandInfo,
    wait: Duration,
) -> Result<CommandInfo, crate::client::ClientError> {
    let until = Instant::now() + wait;
    while !command.status.is_final() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let seconds = left.as_secs().clamp(1, MAX_WAIT);
        let path = format!("/mock/v1/commands/{}?wait={seconds}", command.id);
        command = client.ask(Method::GET, &path, None).await?;
    }
    Ok(command)
}

fn wait_time(text: &str) -> Result<Duration, Failure> {
    duration::parse(text).ok_or_else(|| {
        Failure::usage(format!("--wait {}: a time is expected, such as 10s or 500ms", quote(text)))
    })
}

fn target(text: &str) -> Result<Json, Failure> {
    let complaint = || {
        let line =
            format!("--target {}: TYPE:ID or a JSON object is expected, such as queue:default", quote(text));
        Failure::usage(line)
    };
    if text.starts_with('{') {
        return serde_json::from_str(text).map_err(|_| complaint());
    }
    let (kind, id) = text.split_once(':').ok_or_else(complaint)?;
    Ok(json!({ "type": kind, "id": id }))
}

fn parameter(text: &str) -> Result<(String, Json), Failure> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or_else(|| {
        Failure::usage(format!("--param {}: KEY=VALUE is expected, such as task_id=t1", quote(text)))
    })?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Json::from(value));
    Ok((key.to_owned(), value))
}

fn list(state_dir: &StateDir, json: bool, environment: &Environment) -> Result<(), Failure> {
    let client = state_dir.client(environment)?;
    let commands = block_on(client.ask::<Items<CommandInfo>>(Method::GET, "/mock/v1/commands", None))??;
    if json {
        return print_json(&commands);
    }
    print(commands.items.iter().map(told).collect::<String>().as_bytes())
}

/// A command in one line, and what came of it below.
fn told(command: &CommandInfo) -> String {
    let mut text = format!(
        "{}  {:<10}  {}  to {}\n",
        command.id,
        command.status.as_str(),
        shown(&command.action),
        shown(&command.agent_name)
    );
    if let Some(result) = command.result.as_ref().and_then(|result| result.to_canonical().ok()) {
        let _ = writeln!(text, "  result: {}", shown(&result));
    }
    if let Some(error) = &command.error {
        let _ = writeln!(text, "  error: {}", shown(error));
    }
    text
}

/// An agent's text, which must not move the cursor of a terminal.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_parameters() {
        assert_eq!(target("task:celery:t1"), Ok(json!({"type": "task", "id": "celery:t1"})));
        assert_eq!(target(r#"{"type":"bulk","id":null}"#), Ok(json!({"type": "bulk", "id": null})));
        assert!(target("task").is_err() && target("{").is_err());
        assert_eq!(parameter("n=5"), Ok(("n".to_owned(), json!(5))));
        assert_eq!(parameter("s=a=b"), Ok(("s".to_owned(), json!("a=b"))));
        assert_eq!(parameter("l=[1,null]"), Ok(("l".to_owned(), json!([1, null]))));
        assert!(parameter("n").is_err() && parameter("=5").is_err());
    }
}
