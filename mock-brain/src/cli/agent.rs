//! `agent add|list|token|revoke`.

use std::fmt::Write;

use http::Method;
use serde::Serialize;

use super::env::{Form, percent_encoded, show};
use super::output::{print, print_json};
use super::{Failure, StateDir, block_on};
use crate::api::Items;
use crate::api::agents::{AddAgent, EnvAnswer, SetToken};
use crate::{AgentInfo, Environment};

/// Add, list and revoke agents.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make an agent, and print what it is configured with
    #[command(after_help = "Example:\n  eval \"$(mock-brain agent add worker-2)\"\n\n\
        The output holds the agent's token and the HMAC secret.")]
    Add {
        #[command(flatten)]
        state_dir: StateDir,
        /// Its name
        name: String,
        /// Its project [default: the one that serve was started with]
        #[arg(long, value_name = "SLUG")]
        project: Option<String>,
        #[command(flatten)]
        form: Form,
    },
    /// List the agents
    #[command(after_help = "Example:\n  mock-brain agent list --json | jq -r '.items[].name'")]
    List {
        #[command(flatten)]
        state_dir: StateDir,
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// Give an agent a new token, also one that was revoked, and print what it is configured with
    #[command(after_help = "Example:\n  mock-brain agent token demo-agent > agent.env\n\n\
        The old token is refused from now on; sessions go on. The output holds the agent's token and the \
        HMAC secret.")]
    Token {
        #[command(flatten)]
        state_dir: StateDir,
        /// Its name, PROJECT/NAME or id
        name: String,
        #[command(flatten)]
        form: Form,
    },
    /// Close an agent's sessions with 4003, and refuse its token from now on
    #[command(after_help = "Example:\n  mock-brain agent revoke demo-agent")]
    Revoke {
        #[command(flatten)]
        state_dir: StateDir,
        /// Its name, PROJECT/NAME or id
        name: String,
        /// One JSON document: the agents
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: Command, environment: &Environment) -> Result<(), Failure> {
    match command {
        Command::Add { state_dir, name, project, form } => {
            let body = body(&AddAgent { name, project })?;
            let client = state_dir.client(environment)?;
            let answer = client.ask::<EnvAnswer>(Method::POST, "/mock/v1/agents", Some(body));
            show(block_on(answer)??, form)
        }
        Command::List { state_dir, json } => list(&state_dir, json, environment),
        Command::Token { state_dir, name, form } => {
            let path = format!("/mock/v1/agents/{}/token", percent_encoded(&name));
            let body = body(&SetToken::default())?;
            let client = state_dir.client(environment)?;
            show(block_on(client.ask::<EnvAnswer>(Method::POST, &path, Some(body)))??, form)
        }
        Command::Revoke { state_dir, name, json } => {
            let path = format!("/mock/v1/agents/{}", percent_encoded(&name));
            let client = state_dir.client(environment)?;
            let agents = block_on(client.ask::<Items<AgentInfo>>(Method::DELETE, &path, None))??;
            if json { print_json(&agents) } else { print(format!("revoked: {name}\n").as_bytes()) }
        }
    }
}

pub(super) fn body(request: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(request).map_err(Failure::no)
}

fn list(state_dir: &StateDir, json: bool, environment: &Environment) -> Result<(), Failure> {
    let client = state_dir.client(environment)?;
    let agents = block_on(client.ask::<Items<AgentInfo>>(Method::GET, "/mock/v1/agents", None))??;
    if json {
        return print_json(&agents);
    }
    let mut text = String::new();
    for agent in &agents.items {
        let state = if agent.revoked { "revoked" } else { "active" };
        let _ = writeln!(
            text,
            "{:<24}  {:<16}  {}  {state:<7}  token:{}",
            agent.name, agent.project, agent.id, agent.token_fingerprint
        );
    }
    print(text.as_bytes())
}
