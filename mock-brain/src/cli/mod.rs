//! The command line: arguments, exit codes, and what is printed.
//!
//! Owns the mapping from errors to exit codes: 0 done, 1 the answer is no, 2 usage or an unusable file or
//! setting. Data goes to stdout, everything else to stderr; an error is one line.

mod agent;
mod cert;
mod command;
mod dashboard;
mod env;
mod events;
mod fault;
mod frame;
mod journal;
mod load;
mod output;
mod project;
mod serve;
mod sessions;
mod state;
mod steps;
mod violations;
mod wait;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::Environment;
use crate::client::{Client, ClientError};
use output::print;

/// An emulator of the z4j brain that checks everything and breaks on command.
#[derive(Debug, Parser)]
#[command(name = "mock-brain", version, about, long_about = None, max_term_width = 100)]
#[command(after_help = "Example:\n  mock-brain serve &\n  eval \"$(mock-brain env)\"\n  z4j doctor\n\n\
    Environment: MOCK_BRAIN_LOG sets the log filter (info, debug, …), XDG_STATE_HOME moves the state.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a brain until SIGTERM or Ctrl-C
    Serve(Box<serve::Args>),
    /// Print what an agent of the running brain is configured with
    Env(env::Args),
    /// Print the link that opens the dashboard of the running brain
    Dashboard(dashboard::Args),
    /// List the events that the running brain accepted
    Events(events::Args),
    /// List sessions, live and ended
    Sessions(sessions::Args),
    /// Wait until the running brain saw something
    Wait(wait::Args),
    /// Follow what the running brain sees
    Tail(journal::Tail),
    /// List what agents did that they must not
    Violations(violations::Args),
    /// Write out what the running brain saw
    #[command(subcommand, after_help = "Example:\n  mock-brain journal export --kind event > events.ndjson")]
    Journal(journal::Command),
    /// Add, list and revoke agents
    #[command(subcommand, after_help = "Examples:\n  mock-brain agent add worker-2\n  mock-brain agent list")]
    Agent(agent::Command),
    /// List, add, archive and restore projects
    #[command(subcommand, after_help = "Examples:\n  mock-brain project add shop\n  mock-brain project list")]
    Project(project::Command),
    /// Log in to the real brain's REST API on the agent port
    Login(project::Login),
    /// Send commands to agents, and see what came of them
    #[command(
        subcommand,
        after_help = "Examples:\n  mock-brain command send cancel_task \
        --param engine=celery --param task_id=t1 --wait\n  mock-brain command list"
    )]
    Command(command::Command),
    /// Show, rotate and issue certificates
    #[command(subcommand, after_help = "Examples:\n  mock-brain cert show\n  mock-brain cert rotate expired")]
    Cert(cert::Command),
    /// Show, set and clear faults
    #[command(
        subcommand,
        after_help = "Examples:\n  mock-brain fault list\n  mock-brain fault set ack.drop first 1\n  mock-brain fault clear"
    )]
    Fault(fault::Command),
    /// Drive simulated agents against a brain, this one or another
    Load(Box<load::Args>),
    /// Canonical bytes, signatures and verdicts of frames, for those who write an agent
    #[command(
        subcommand,
        after_help = "Example:\n  echo '{\"b\": 1.0, \"a\": 1E-7}' | mock-brain frame canonical"
    )]
    Frame(frame::Command),
    /// Make the running brain forget what it saw
    Reset(state::Args),
    /// Show the running brain's clock, or make it wrong
    Clock(state::ClockArgs),
    /// End the running brain
    Stop(wait::Stop),
    /// Print shell completions
    #[command(
        after_help = "Example:\n  mock-brain completions bash > ~/.local/share/bash-completion/completions/mock-brain"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Where a running brain is found.
#[derive(Debug, clap::Args)]
struct StateDir {
    /// The state directory of the brain [default: ${XDG_STATE_HOME:-~/.local/state}/mock-brain]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl StateDir {
    fn path(&self, environment: &Environment) -> Result<PathBuf, Failure> {
        let dir = self.state_dir.clone().or_else(|| environment.state_dir()).ok_or_else(|| {
            Failure::usage(
                "there is no state directory: neither XDG_STATE_HOME nor HOME is set; say --state-dir DIR",
            )
        })?;
        std::path::absolute(&dir).map_err(|error| Failure::usage(format!("--state-dir {dir:?}: {error}")))
    }

    fn client(&self, environment: &Environment) -> Result<Client, Failure> {
        Ok(Client::find(&self.path(environment)?)?)
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    exit: u8,
    /// One line; empty where everything has been said.
    line: String,
}

impl Failure {
    /// The answer is no.
    #[expect(clippy::needless_pass_by_value, reason = "it is what map_err calls with an error")]
    fn no(line: impl ToString) -> Self {
        Self { exit: 1, line: line.to_string() }
    }

    /// A bad flag, file or setting.
    #[expect(clippy::needless_pass_by_value, reason = "it is what map_err calls with an error")]
    fn usage(line: impl ToString) -> Self {
        Self { exit: 2, line: line.to_string() }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreadable { .. } => Self::usage(error),
            _ => Self::no(error),
        }
    }
}

/// Runs the program.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: &Environment) -> ExitCode {
    let done = match Cli::try_parse_from(arguments) {
        Ok(cli) => dispatch(cli.command, environment),
        Err(error) => explain(&error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.line.is_empty() {
                output::complain(&failure.line);
            }
            ExitCode::from(failure.exit)
        }
    }
}

fn dispatch(command: Command, environment: &Environment) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve::run(*args, environment),
        Command::Env(args) => env::run(&args, environment),
        Command::Dashboard(args) => dashboard::run(&args, environment),
        Command::Events(args) => events::run(&args, environment),
        Command::Login(args) => project::login(&args, environment),
        Command::Sessions(args) => sessions::run(&args, environment),
        Command::Reset(args) => state::reset(&args, environment),
        Command::Clock(args) => state::clock(&args, environment),
        Command::Wait(args) => wait::run(&args, environment),
        Command::Stop(args) => wait::stop(&args, environment),
        Command::Tail(args) => journal::tail(&args, environment),
        Command::Violations(args) => violations::run(&args, environment),
        Command::Journal(command) => journal::run(&command, environment),
        Command::Agent(command) => agent::run(command, environment),
        Command::Project(command) => project::run(&command, environment),
        Command::Command(command) => command::run(command, environment),
        Command::Cert(command) => cert::run(command, environment),
        Command::Fault(command) => fault::run(command, environment),
        Command::Load(args) => load::run(&args, environment),
        Command::Frame(command) => frame::run(&command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "mock-brain", &mut script);
            print(&script)
        }
    }
}

/// Help and version are answers; the rest is a bad flag, told in one line.
fn explain(error: &clap::Error) -> Result<(), Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => print(error.render().to_string().as_bytes()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::complain_at_length(&error.render().to_string());
            Err(Failure::usage(""))
        }
        _ => {
            let text = error.render().to_string();
            let told = text.split("\nUsage:").next().unwrap_or_default();
            let told = told.split("\nFor more information").next().unwrap_or_default();
            let lines: Vec<_> = told.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            let line = lines.join(" ");
            let line = line.strip_prefix("error: ").unwrap_or(&line);
            Err(Failure::usage(format!("{line} (see --help)")))
        }
    }
}

/// A runtime for a command that asks a running brain.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(|error| Failure::no(format!("no runtime: {error}")))?.block_on(future))
}
