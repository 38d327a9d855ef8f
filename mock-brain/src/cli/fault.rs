//! `fault list|set|clear`.

use std::fmt::Write;

use http::Method;
use serde_json::json;

use super::output::{print, print_json};
use super::{Failure, StateDir, block_on};
use crate::api::Items;
use crate::api::faults::SetFault;
use crate::client::Client;
use crate::fault::FaultSpec;
use crate::fault::catalog::{self, Entry, LAYERS};
use crate::{ActiveFault, Environment};

/// Show, set and clear faults.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Explain every fault, and show those that are set
    #[command(after_help = "Example:\n  mock-brain fault list")]
    List {
        #[command(flatten)]
        state_dir: StateDir,
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// Set a fault: NAME[(key=value, …)] [at POINT] [first N | every K | after T] [for N|T] [p=X] [who=…]
    #[command(after_help = "Examples:\n  mock-brain fault set tls.expired\n  \
        mock-brain fault set 'ws.close(code=4401, reason=\"x\") at hello first 2'")]
    Set {
        #[command(flatten)]
        state_dir: StateDir,
        /// The fault, as one argument or several
        #[arg(required = true, num_args = 1.., value_name = "SPEC")]
        spec: Vec<String>,
        /// One JSON document: the faults that are set
        #[arg(long)]
        json: bool,
    },
    /// Clear a fault, or all of them
    #[command(after_help = "Examples:\n  mock-brain fault clear tls.expired\n  mock-brain fault clear")]
    Clear {
        #[command(flatten)]
        state_dir: StateDir,
        /// The fault's name [default: all]
        name: Option<String>,
        /// One JSON document: the faults that are set
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: Command, environment: &Environment) -> Result<(), Failure> {
    match command {
        Command::List { state_dir, json } => list(&state_dir, json, environment),
        Command::Set { state_dir, spec, json } => {
            let spec: FaultSpec = spec.join(" ").parse().map_err(Failure::usage)?;
            let body = serde_json::to_string(&SetFault { spec: spec.to_string() }).map_err(Failure::no)?;
            let items = ask(&state_dir.client(environment)?, Method::POST, "/mock/v1/faults", Some(body))?;
            if json { print_json(&Items { items }) } else { print(format!("set: {spec}\n").as_bytes()) }
        }
        Command::Clear { state_dir, name, json } => {
            let client = state_dir.client(environment)?;
            let path = match &name {
                Some(name) if catalog::find(name).is_some() => {
                    format!("/mock/v1/faults/{name}")
                }
                Some(name) => {
                    return Err(Failure::usage(format!("no such fault {name:?}; see `fault list`")));
                }
                None => "/mock/v1/faults".to_owned(),
            };
            let items = ask(&client, Method::DELETE, &path, None)?;
            if json { print_json(&Items { items }) } else { print(b"cleared\n") }
        }
    }
}

fn ask(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<String>,
) -> Result<Vec<ActiveFault>, Failure> {
    Ok(block_on(client.ask::<Items<ActiveFault>>(method, path, body))??.items)
}

/// Works without a running brain: then nothing is set.
fn list(state_dir: &StateDir, json: bool, environment: &Environment) -> Result<(), Failure> {
    let client = state_dir.client(environment).ok();
    let active = client.and_then(|client| ask(&client, Method::GET, "/mock/v1/faults", None).ok());
    let set = |entry: &Entry| -> Vec<&ActiveFault> {
        active.iter().flatten().filter(|fault| fault.spec.name() == entry.name).collect()
    };
    if json {
        let items: Vec<_> = catalog::entries().map(|entry| entry_json(entry, &set(entry))).collect();
        return print_json(&json!({ "running": active.is_some(), "items": items }));
    }
    let mut text =
        "Grammar: NAME[(key=value, …)] [at POINT] [first N | every K | after T] [for N|T] [p=X] [who=…]\n"
            .to_owned();
    for layer in LAYERS {
        let _ = writeln!(text, "\n{}", layer.name);
        for entry in layer.entries {
            describe(&mut text, entry, &set(entry));
        }
    }
    print(text.as_bytes())
}

fn entry_json(entry: &Entry, active: &[&ActiveFault]) -> serde_json::Value {
    let parameters: Vec<_> = entry
        .parameters
        .iter()
        .map(|p| json!({ "name": p.name, "about": p.about, "required": p.required }))
        .collect();
    let points: Vec<_> = entry.points.iter().map(|point| point.as_str()).collect();
    json!({
        "name": entry.name,
        "about": entry.about,
        "points": points,
        "parameters": parameters,
        "counted": entry.counted,
        "example": entry.example,
        "active": active,
    })
}

fn describe(text: &mut String, entry: &Entry, active: &[&ActiveFault]) {
    let points: Vec<_> = entry.points.iter().map(|point| point.as_str()).collect();
    let _ = writeln!(text, "\n{}\n  {}", entry.name, entry.about);
    let _ = match points.as_slice() {
        [only] => writeln!(text, "  strikes at: {only}"),
        many => writeln!(text, "  strikes at: {} (default {})", many.join(", "), many[0]),
    };
    for parameter in entry.parameters {
        let required = if parameter.required { ", required" } else { "" };
        let _ = writeln!(text, "  {}: {}{required}", parameter.name, parameter.about);
    }
    let _ = writeln!(text, "  example: {}", entry.example);
    for fault in active {
        let _ = writeln!(text, "  ACTIVE: {} (struck {} times)", fault.spec, fault.struck);
    }
}
