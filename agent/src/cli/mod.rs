//! The command line of `z4j`: arguments in, exit code out. Owns what is printed where.

mod config;
mod emit;
mod output;
mod probe;
mod run;
mod time;

use std::future::Future;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use z4j_protocol::PROTOCOL_VERSION_TEXT;

use output::{complain, print};

use crate::control::{self, Printed, RestartArgs, StatusArgs};
use crate::environment::Environment;

/// The answer is no.
const NO: u8 = 1;
/// Flags that make no sense.
const USAGE: u8 = 2;

/// The z4j agent: what stands between an application and its brain.
#[derive(Debug, Parser)]
#[command(name = "z4j", version, propagate_version = true, disable_help_subcommand = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  sudo -u www-data z4j doctor --framework django
  z4j check --json

Exit codes: 0 all good; 1 it did not work (doctor, check: a probe failed, or the configuration cannot be built);
2 a flag does not parse (other commands: or a setting cannot be used).
Secrets come from Z4J_TOKEN and Z4J_HMAC_SECRET, from files (--token-file, --hmac-secret-file), or from the
systemd credentials `token` and `hmac_secret` (LoadCredential=).";

#[derive(Debug, Subcommand)]
enum Command {
    /// Say why this agent does not come online: five probes, as the calling user
    #[command(after_help = "Examples:
  sudo -u www-data z4j doctor --framework django
  z4j doctor --json --no-websocket
  z4j doctor --only dns --only tcp --timeout 2s")]
    Doctor(probe::DoctorArgs),
    /// The doctor's probes without the websocket: one line, or one for each that failed
    #[command(after_help = "Example:
  z4j check || z4j doctor")]
    Check(probe::CheckArgs),
    /// Run the agent in the foreground: take events, deliver them, carry out commands
    #[command(after_help = "Examples:
  z4j run --config /etc/z4j/z4j.toml
  producer | z4j run --stdin

SIGTERM and SIGINT stop the intake, send what is buffered (for up to Z4J_STOP_TIMEOUT) and end; SIGHUP connects anew.
Exit codes: 0 stopped as told; 1 no place for the buffer or the sockets; 2 a flag or setting cannot be used.")]
    Run(run::RunArgs),
    /// Hand events to the running agent: one JSON object a line on stdin; returns when they are durable
    #[command(after_help = emit::EXAMPLES)]
    Emit(emit::EmitArgs),
    /// Look at the settings
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// How the running agents are
    #[command(after_help = "Examples:
  sudo -u www-data z4j status
  sudo z4j status --home /var/lib/z4j --json")]
    Status(StatusArgs),
    /// Make the running agents connect anew, at once
    #[command(
        visible_alias = "reload",
        after_help = "Example:
  sudo -u www-data z4j restart --pid 7281"
    )]
    Restart(RestartArgs),
    /// Print this program's version and the protocol's
    #[command(after_help = "Example:
  z4j version --json")]
    Version {
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// Print completions for a shell
    #[command(after_help = "Example:
  z4j completions bash > /etc/bash_completion.d/z4j")]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // --help and --version come this way too; they go to stdout and are no error.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match cli.command {
        Command::Doctor(args) => probe::doctor(&args),
        Command::Check(args) => probe::check(&args),
        Command::Run(args) => run::run(&args),
        Command::Emit(args) => emit::emit(&args),
        Command::Config(command) => config::config(&command),
        Command::Status(args) => say(&control::status(&args, &Environment::capture())),
        Command::Restart(args) => say(&control::restart(&args, &Environment::capture())),
        Command::Version { json } => version(json),
        Command::Completions { shell } => completions(shell),
    }
}

/// Prints what a verb has to say.
fn say(printed: &Printed) -> ExitCode {
    printed.complaints.iter().for_each(|text| complain(text));
    let written = print(&printed.out);
    if printed.ok { written } else { ExitCode::from(NO) }
}

fn version(json: bool) -> ExitCode {
    let version = env!("CARGO_PKG_VERSION");
    if json {
        let document = serde_json::json!({ "version": version, "protocol_version": PROTOCOL_VERSION_TEXT });
        return print(&format!("{document:#}\n"));
    }
    print(&format!("z4j {version} (protocol {PROTOCOL_VERSION_TEXT})\n"))
}

fn completions(shell: Shell) -> ExitCode {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "z4j", &mut out);
    print(&String::from_utf8_lossy(&out))
}

/// Runs an event loop until a future is done; `Err` is an exit code, and why has been said.
fn event_loop<F: Future>(future: F) -> Result<F::Output, ExitCode> {
    let built =
        descriptors().and_then(|()| tokio::runtime::Builder::new_current_thread().enable_all().build());
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("no event loop: {error}"));
            return Err(ExitCode::from(NO));
        }
    };
    let output = runtime.block_on(async {
        ignore_file_size_signal();
        future.await
    });
    // getaddrinfo cannot be called off: a slow one must not hold up the end.
    runtime.shutdown_background();
    Ok(output)
}

/// Whether an event loop can have the descriptors that it takes: where signals get none, it ends the process.
fn descriptors() -> std::io::Result<()> {
    (0..4).map(|_| std::os::unix::net::UnixStream::pair()).collect::<Result<Vec<_>, _>>().map(drop)
}

/// A write over `LimitFSIZE=` kills the process unless the signal has a handler (setrlimit(2)); with one it
/// fails with EFBIG, which can be told.
fn ignore_file_size_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let _ = signal(SignalKind::from_raw(nix::sys::signal::Signal::SIGXFSZ as i32));
}
