//! `events`: what the running brain accepted.

use std::fmt::Write;

use http::Method;

use super::output::{print, print_json};
use super::{Failure, StateDir, block_on};
use crate::Environment;
use crate::api::Items;
use crate::api::seen::Events;

/// List accepted events.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  mock-brain events --json | jq '.items | length'")]
pub(super) struct Args {
    #[command(flatten)]
    state_dir: StateDir,
    /// One JSON document: {"items": […]}, every accepted event once, oldest first
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, environment: &Environment) -> Result<(), Failure> {
    let client = args.state_dir.client(environment)?;
    let events = block_on(client.ask::<Events>(Method::GET, "/mock/v1/events", None))??;
    if args.json {
        return print_json(&Items { items: events.items });
    }
    let mut text = String::new();
    for event in &events.items {
        let task = if event.task_id.is_empty() { "-" } else { &event.task_id };
        // Debug text escapes what would move the cursor of a terminal.
        let shown = |text: &str| text.escape_debug().to_string();
        let _ = writeln!(
            text,
            "{:<27}  {:<16}  {:<10}  {}",
            event.occurred_at,
            event.kind,
            shown(&event.engine),
            shown(task)
        );
    }
    let _ = writeln!(text, "{} accepted, {} sent again", events.items.len(), events.duplicates);
    print(text.as_bytes())
}
