//! `sessions`: who was connected, and how that ended.

use std::fmt::Write;

use http::Method;

use super::env::of_agent;
use super::output::{print, print_json};
use super::{Failure, StateDir, block_on};
use crate::api::Items;
use crate::{Environment, SessionInfo, Transport};

/// List sessions, oldest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mock-brain sessions --live\n  \
    mock-brain sessions --json | jq '.items[] | {agent_name, close_code, detail}'")]
pub(super) struct Args {
    #[command(flatten)]
    state_dir: StateDir,
    /// Only those that have not ended
    #[arg(long)]
    live: bool,
    /// Only those of this agent: its name, PROJECT/NAME or id
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// One JSON document: {"items": […]}
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, environment: &Environment) -> Result<(), Failure> {
    let client = args.state_dir.client(environment)?;
    let path = of_agent("/mock/v1/sessions", args.agent.as_deref());
    let Items { mut items } = block_on(client.ask::<Items<SessionInfo>>(Method::GET, &path, None))??;
    items.retain(|session| !args.live || session.ended_at.is_none());
    if args.json {
        return print_json(&Items { items });
    }
    let mut text = String::new();
    for session in &items {
        let transport = match session.transport {
            Transport::Websocket => "websocket",
            Transport::LongPoll => "long-poll",
        };
        let shown = |text: &Option<String>| text.as_deref().unwrap_or("-").escape_debug().to_string();
        let _ = writeln!(
            text,
            "{:<27}  {transport}  {:<16}  {:<24}  {} frames, {}",
            session.opened_at,
            shown(&session.agent_name),
            shown(&session.worker_id),
            session.frames,
            state(session)
        );
    }
    print(text.as_bytes())
}

/// How a session is, or how it ended.
fn state(session: &SessionInfo) -> String {
    if session.ended_at.is_none() {
        return if session.accepted { "live".to_owned() } else { "connecting".to_owned() };
    }
    let by = session.closed_by.map_or("somebody", crate::ClosedBy::as_str);
    let code = session.close_code.map(|code| format!(" with {code}")).unwrap_or_default();
    let detail = session.detail.as_deref().map(|detail| format!(": {}", detail.escape_debug()));
    format!("ended by {by}{code}{}", detail.unwrap_or_default())
}
