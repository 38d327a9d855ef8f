//! `violations`: what agents did that they must not.

use std::fmt::Write;

use clap::builder::PossibleValuesParser;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::env::of_agent;
use super::output::{print, print_json};
use super::{Failure, StateDir, block_on};
use crate::Environment;
use crate::violation::{RULES, Violation};

/// List what agents did that they must not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mock-brain violations\n  \
    mock-brain violations --rule frame.seq --json | jq -r '.items[].raw'\n  \
    mock-brain violations --fail && echo good\n  \
    mock-brain violations --rules\n\n\
    With --fail the exit code is 1 if there are some.")]
pub(super) struct Args {
    #[command(flatten)]
    state_dir: StateDir,
    /// Only those of this agent: its name, PROJECT/NAME or id
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Only those of this rule
    #[arg(long, value_name = "RULE", hide_possible_values = true,
          value_parser = PossibleValuesParser::new(RULES.iter().map(|rule| rule.name)))]
    rule: Option<String>,
    /// Exit with 1 if there are some
    #[arg(long)]
    fail: bool,
    /// Explain the rules instead
    #[arg(long, conflicts_with_all = ["agent", "rule", "fail"])]
    rules: bool,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize, Serialize)]
struct Items {
    items: Vec<Violation>,
}

pub(super) fn run(args: &Args, environment: &Environment) -> Result<(), Failure> {
    if args.rules {
        return explain(args.json);
    }
    let client = args.state_dir.client(environment)?;
    let path = of_agent("/mock/v1/violations", args.agent.as_deref());
    let mut listed: Items = block_on(async { client.ask(Method::GET, &path, None).await })??;
    listed.items.retain(|violation| args.rule.as_ref().is_none_or(|rule| violation.rule.as_str() == rule));
    if args.json {
        print_json(&listed)?;
    } else {
        print(text(&listed.items).as_bytes())?;
    }
    if args.fail && !listed.items.is_empty() { Err(Failure::no("")) } else { Ok(()) }
}

fn text(items: &[Violation]) -> String {
    let mut out = String::new();
    for Violation { at, rule, agent, detail, raw, size, .. } in items {
        // Debug text escapes what would move the cursor of a terminal.
        let shown = |text: &str| text.escape_debug().to_string();
        let agent = shown(agent.as_deref().unwrap_or("-"));
        let _ = writeln!(out, "{at:<27}  {rule:<24}  {agent:<14}  {}", shown(detail));
        if let Some(raw) = raw {
            let more = if raw.len() < *size { " …" } else { "" };
            let _ = writeln!(out, "    {size} bytes: {}{more}", shown(raw));
        }
    }
    out
}

fn explain(as_json: bool) -> Result<(), Failure> {
    if as_json {
        let rows = RULES.iter().map(|rule| {
            json!({
                "name": rule.name, "layer": rule.layer.as_str(), "strict_only": rule.strict_only,
                "about": rule.about,
            })
        });
        return print_json(&json!({ "items": rows.collect::<Vec<_>>() }));
    }
    let mut out = String::new();
    for rule in RULES {
        let strict = if rule.strict_only { "--strict" } else { "always" };
        let _ = writeln!(out, "{:<24}  {strict:<8}  {}", rule.name, rule.about);
    }
    print(out.as_bytes())
}
