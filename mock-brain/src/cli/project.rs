//! `project list|add|archive|restore` and `login`.
//!
//! Owns what they print. `login` prints secrets.

use std::fmt::Write;

use http::Method;

use super::agent::body;
use super::env::percent_encoded;
use super::output::{print, print_json};
use super::{Failure, StateDir, block_on};
use crate::api::Items;
use crate::api::projects::{AddProject, LoggedIn};
use crate::{Environment, ProjectInfo};

/// List, add, archive and restore projects.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the projects
    #[command(after_help = "Example:\n  mock-brain project list --json | jq -r '.items[].slug'")]
    List {
        #[command(flatten)]
        state_dir: StateDir,
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// Make a project; `agent add --project` makes its agents
    #[command(
        after_help = "Example:\n  mock-brain project add shop && mock-brain agent add w1 --project shop"
    )]
    Add(One),
    /// Close the sessions of a project's agents with 4003, and refuse their tokens from now on
    #[command(after_help = "Example:\n  mock-brain project archive shop\n\n\
        Agents that connect again get 4401, and 403 with project_inactive on long-poll.")]
    Archive(One),
    /// Let the agents of an archived project in again
    #[command(after_help = "Example:\n  mock-brain project restore shop")]
    Restore(One),
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    #[command(flatten)]
    state_dir: StateDir,
    /// Its slug
    slug: String,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Command, environment: &Environment) -> Result<(), Failure> {
    match command {
        Command::List { state_dir, json } => {
            let client = state_dir.client(environment)?;
            let projects = client.ask::<Items<ProjectInfo>>(Method::GET, "/mock/v1/projects", None);
            let projects = block_on(projects)??;
            if *json { print_json(&projects) } else { print(told(&projects.items).as_bytes()) }
        }
        Command::Add(one) => {
            let client = one.state_dir.client(environment)?;
            let request = body(&AddProject { slug: one.slug.clone() })?;
            let added = client.ask::<AddProject>(Method::POST, "/mock/v1/projects", Some(request));
            let added = block_on(added)??;
            if one.json { print_json(&added) } else { print(format!("added: {}\n", added.slug).as_bytes()) }
        }
        Command::Archive(one) => change(one, "archive", environment),
        Command::Restore(one) => change(one, "restore", environment),
    }
}

fn change(one: &One, verb: &str, environment: &Environment) -> Result<(), Failure> {
    let client = one.state_dir.client(environment)?;
    let path = format!("/mock/v1/projects/{}/{verb}", percent_encoded(&one.slug));
    let projects = block_on(client.ask::<Items<ProjectInfo>>(Method::POST, &path, None))??;
    if one.json { print_json(&projects) } else { print(format!("{verb}d: {}\n", one.slug).as_bytes()) }
}

fn told(projects: &[ProjectInfo]) -> String {
    let mut text = String::new();
    for project in projects {
        let state = if project.archived { "archived" } else { "active" };
        let name = project.name.escape_debug();
        let _ = writeln!(
            text,
            "{:<24}  {state:<8}  {} agents  {}  {name}",
            project.slug, project.agents, project.id
        );
    }
    text
}

/// Log in to the real brain's REST API on the agent port.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    mock-brain login | curl --cacert ca.pem -H @- https://127.0.0.1:7700/api/v1/projects\n  \
    mock-brain login --json | jq -r .password\n\n\
    It prints the header lines of a session that is open already; with --json also what \
    POST /api/v1/auth/login takes. The output is secret.")]
pub(super) struct Login {
    #[command(flatten)]
    state_dir: StateDir,
    /// One JSON document: brain_url, email, password, cookie, csrf_token
    #[arg(long)]
    json: bool,
}

pub(super) fn login(args: &Login, environment: &Environment) -> Result<(), Failure> {
    let client = args.state_dir.client(environment)?;
    let login = block_on(client.ask::<LoggedIn>(Method::POST, "/mock/v1/login", None))??;
    if args.json {
        return print_json(&login);
    }
    print(format!("Cookie: {}\nX-CSRF-Token: {}\n", login.cookie, login.csrf_token).as_bytes())
}
