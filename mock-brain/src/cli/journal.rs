//! `tail` and `journal export`: what the running brain sees, and what it saw.

use std::fmt::Write;

use clap::builder::PossibleValuesParser;
use http::Method;

use super::env::percent_encoded;
use super::output::write;
use super::{Failure, StateDir, block_on};
use crate::Environment;
use crate::api::commands::MAX_WAIT;
use crate::client::Client;
use crate::journal::{Kind, Line, Page};

/// Follow what the running brain sees.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mock-brain tail\n  \
    mock-brain tail --kind event --type task.failed --agent worker-2\n  \
    mock-brain tail --kind frame-in --json | jq -r .raw")]
pub(super) struct Tail {
    #[command(flatten)]
    state_dir: StateDir,
    #[command(flatten)]
    filter: Filter,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Which lines.
#[derive(Debug, clap::Args)]
pub(super) struct Filter {
    /// Only what is of this agent: its name, PROJECT/NAME or id
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Only entries of this kind
    #[arg(long, value_parser = PossibleValuesParser::new(Kind::words()))]
    kind: Option<String>,
    /// Only this type: a frame's (event_batch), an event's (task.failed), a fault, a rule, a state
    #[arg(long = "type", value_name = "TYPE")]
    type_: Option<String>,
}

impl Filter {
    fn query(&self) -> String {
        let pairs = [("agent", &self.agent), ("kind", &self.kind), ("type", &self.type_)];
        let pairs = pairs.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?)));
        pairs.map(|(key, value)| format!("&{key}={}", percent_encoded(value))).collect()
    }
}

/// Write out what the running brain saw.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print the journal, oldest first, one JSON object a line
    #[command(after_help = "Example:\n  mock-brain journal export > journal.ndjson")]
    Export {
        #[command(flatten)]
        state_dir: StateDir,
        #[command(flatten)]
        filter: Filter,
    },
}

pub(super) fn tail(args: &Tail, environment: &Environment) -> Result<(), Failure> {
    let client = args.state_dir.client(environment)?;
    let query = args.filter.query();
    block_on(async {
        // With the filter, so that one that fits nothing is told at once.
        let newest = ask(&client, &format!("after=0&limit=0{query}")).await?.next;
        let mut after = newest;
        loop {
            let page = ask(&client, &format!("after={after}&wait={MAX_WAIT}{query}")).await?;
            after = page.next;
            if !show(&page.items, args.json)? {
                return Ok(());
            }
        }
    })?
}

pub(super) fn run(command: &Command, environment: &Environment) -> Result<(), Failure> {
    let Command::Export { state_dir, filter } = command;
    let client = state_dir.client(environment)?;
    let query = filter.query();
    block_on(async {
        // What comes while it is written out is not waited for.
        let last = ask(&client, "after=0&limit=0").await?.next;
        let mut after = 0;
        loop {
            let page = ask(&client, &format!("after={after}{query}")).await?;
            after = page.next;
            let items: Vec<_> = page.items.into_iter().filter(|line| line.seq <= last).collect();
            if !show(&items, true)? || !page.more || after >= last {
                return Ok(());
            }
        }
    })?
}

async fn ask(client: &Client, query: &str) -> Result<Page, Failure> {
    Ok(client.ask(Method::GET, &format!("/mock/v1/journal?{query}"), None).await?)
}

/// Prints lines, and tells whether anybody reads.
fn show(lines: &[Line], json: bool) -> Result<bool, Failure> {
    let mut text = String::new();
    for line in lines {
        if json {
            text += &serde_json::to_string(line).map_err(Failure::no)?;
        } else {
            // Debug text escapes what would move the cursor of a terminal.
            let shown = |text: &str| text.escape_debug().to_string();
            let task = line.event.as_ref().map(|event| event.task_id.as_str()).unwrap_or_default();
            let Line { at, kind, type_, detail, agent, .. } = line;
            let agent = agent.as_deref().unwrap_or("-");
            let _ = write!(text, "{at:<27}  {kind:<10}  {:<16}  {:<14}  ", shown(type_), shown(agent));
            let rest = [shown(detail), shown(task)].join(" ");
            text += rest.trim();
        }
        text.push('\n');
    }
    if text.is_empty() { Ok(true) } else { write(text.as_bytes()) }
}
