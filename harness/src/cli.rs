//! The command line.
//!
//! Owns words, flags and exit statuses (0 good, 1 a scenario failed, 2 usage or an invalid file, 3 nothing
//! failed but something could not run here). Everything else is called.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand};
use serde_json::json;

use crate::agent::AgentProgram;
use crate::normalise::Normaliser;
use crate::report::{self, Progress, Totals};
use crate::runner::{self, Settings};
use crate::sandbox::{self, Machine};
use crate::scenario::{self, Backend, Loaded};

const USAGE: u8 = 2;
/// As shells have it for a process that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// Runs z4j scenario files: an agent under a simulated service user, against a mock brain that breaks on
/// command, with the doctor's output held as a snapshot.
#[derive(Debug, Parser)]
#[command(name = "harness", version, arg_required_else_help = true)]
#[command(after_help = "Exit status: 0 all good, 1 a scenario failed, 2 usage or an invalid file, \
    3 nothing failed but something could not run on this machine, 130 interrupted.\n\n\
    Examples:\n  harness run                       every scenario below ./scenarios\n  \
    harness run tls/expired           one of them\n  \
    harness run my-ticket.toml        a file of your own\n  \
    harness run --update              write snapshots anew, then look with `git diff`")]
struct Cli {
    /// Folder that holds the scenarios.
    #[arg(long, global = true, default_value = "scenarios", value_name = "DIR")]
    scenarios: PathBuf,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run scenarios.
    #[command(after_help = "Examples:\n  harness run\n  harness run tls credentials/wrong-token\n  \
        harness run my-ticket.toml --keep")]
    Run(RunArguments),
    /// List scenarios.
    #[command(after_help = "Example:\n  harness list service-user")]
    List(SelectArguments),
    /// Read scenarios and say what is wrong with them.
    #[command(after_help = "Example:\n  harness validate my-ticket.toml")]
    Validate(SelectArguments),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
struct SelectArguments {
    /// Files, folders or names; all scenarios if none is given.
    #[arg(value_name = "PATH|NAME")]
    selections: Vec<String>,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct RunArguments {
    #[command(flatten)]
    select: SelectArguments,
    /// How many run at once; the number of processors if not given.
    #[arg(short, long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// Kind of sandbox: the least that each scenario needs, or this one.
    #[arg(long, value_enum, value_name = "KIND", default_value = "auto")]
    backend: BackendChoice,
    /// The agent to test; `z4j` beside this program if not given.
    #[arg(long, value_name = "CMD")]
    agent: Option<String>,
    /// Write snapshots anew instead of comparing.
    #[arg(long)]
    update: bool,
    /// Start nothing new after a failure.
    #[arg(long)]
    fail_fast: bool,
    /// Leave the sandboxes' files for a look, and say where.
    #[arg(long)]
    keep: bool,
}

/// Kinds of sandbox that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum BackendChoice {
    /// What each scenario needs.
    Auto,
    /// Namespaces.
    Namespace,
}

impl BackendChoice {
    /// What scenarios may need at the most.
    const fn strongest(self) -> Backend {
        match self {
            Self::Auto | Self::Namespace => Backend::Namespace,
        }
    }
}

/// What the process was started with.
#[derive(Debug)]
pub struct Surroundings {
    /// This program's file.
    pub program: PathBuf,
    /// `PATH`, split.
    pub search: Vec<PathBuf>,
    /// Where temporary files go.
    pub temporary: PathBuf,
}

/// Runs a command line and returns the exit status.
///
/// # Errors
/// What stands in the way, as one sentence with the way out.
pub fn run(arguments: Vec<std::ffi::OsString>, surroundings: &Surroundings) -> anyhow::Result<u8> {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be said where neither stdout nor stderr takes it.
            let _ = error.print();
            return Ok(u8::try_from(error.exit_code()).unwrap_or(USAGE));
        }
    };
    match cli.command {
        Verb::Run(arguments) => run_scenarios(&cli.scenarios, &arguments, surroundings),
        Verb::List(arguments) => list(&cli.scenarios, &arguments),
        Verb::Validate(arguments) => validate(&cli.scenarios, &arguments),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "harness", &mut script);
            print_line(String::from_utf8_lossy(&script).trim_end())?;
            Ok(0)
        }
    }
}

fn run_scenarios(root: &Path, arguments: &RunArguments, surroundings: &Surroundings) -> anyhow::Result<u8> {
    let loaded = load(root, &arguments.select.selections)?;
    let agent = AgentProgram::find(arguments.agent.as_deref(), &surroundings.program, &surroundings.search)?;
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let settings = Settings {
        agent,
        temporary: surroundings.temporary.clone(),
        strongest: arguments.backend.strongest(),
        jobs: arguments.jobs.map_or(processors, std::num::NonZero::get),
        update: arguments.update,
        keep: arguments.keep,
        fail_fast: arguments.fail_fast,
    };
    let normaliser = Normaliser::new().context("the normaliser's rules")?;
    sandbox::sweep(&surroundings.temporary);
    let stop = Arc::new(AtomicBool::new(false));
    let interrupted = stop_on_interrupt(Arc::clone(&stop))?;
    let quiet = arguments.select.json;
    let progress = Progress::new(loaded.len(), std::io::stderr().is_terminal(), quiet);
    let started = Instant::now();
    let finished = runner::run(&loaded, &settings, &normaliser, &stop, &|done| progress.tell(done));
    let totals = Totals::of(&finished);
    progress.finish(totals, started.elapsed());
    if quiet {
        print_json(&report::to_json(&finished, started.elapsed()))?;
    }
    Ok(if interrupted.load(Ordering::Relaxed) { INTERRUPTED } else { totals.exit_status() })
}

/// Reads the selected scenarios, and lays their machines out on paper: what cannot be is refused here.
fn load(root: &Path, selections: &[String]) -> anyhow::Result<Vec<Loaded>> {
    let loaded = scenario::load(root, selections)?;
    for one in &loaded {
        Machine::lay_out(&one.scenario, Path::new("/"), Path::new("/z4j"), true)
            .with_context(|| one.id.file.display().to_string())?;
    }
    Ok(loaded)
}

/// SIGINT, SIGTERM and SIGHUP let what runs come to its end, so that every sandbox is taken down; a second one ends
/// the process, and the kernel takes them down.
fn stop_on_interrupt(stop: Arc<AtomicBool>) -> anyhow::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&interrupted);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let [mut interrupt, mut terminate, mut hangup] = {
        let _entered = runtime.enter();
        use tokio::signal::unix::{SignalKind, signal};
        [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                stop.store(true, Ordering::Relaxed);
                if seen.swap(true, Ordering::Relaxed) {
                    std::process::exit(INTERRUPTED.into());
                }
                eprintln!("harness: finishing what runs; once more to stop at once");
            }
        });
    });
    Ok(interrupted)
}

fn list(root: &Path, arguments: &SelectArguments) -> anyhow::Result<u8> {
    let loaded = load(root, &arguments.selections)?;
    if arguments.json {
        let items: Vec<_> = loaded.iter().map(describe).collect();
        print_json(&json!({ "schema_version": 1, "scenarios": items }))?;
        return Ok(0);
    }
    let width = loaded.iter().map(|one| one.id.name.len()).max().unwrap_or(0);
    for one in &loaded {
        print_line(&format!("{:width$}  {}", one.id.name, one.scenario.title))?;
    }
    Ok(0)
}

fn describe(one: &Loaded) -> serde_json::Value {
    let scenario = &one.scenario;
    json!({
        "name": one.id.name,
        "file": one.id.file,
        "title": scenario.title,
        "why": scenario.why,
        "ticket": scenario.ticket,
        "tags": scenario.tags,
        "needs": scenario.needs.word(),
        "steps": scenario.steps.len(),
    })
}

fn validate(root: &Path, arguments: &SelectArguments) -> anyhow::Result<u8> {
    match load(root, &arguments.selections) {
        Ok(loaded) if arguments.json => {
            print_json(&json!({ "schema_version": 1, "ok": true, "scenarios": loaded.len() }))?;
            Ok(0)
        }
        Ok(loaded) => {
            for one in &loaded {
                let service = &one.scenario.service;
                for (names, why) in [
                    (service.only_hardens(), "only harden, and are not carried out"),
                    (service.without_effect(), "mean nothing while a scenario runs"),
                ] {
                    if !names.is_empty() {
                        print_line(&format!("{}: {} {why}", one.id.name, names.join(", ")))?;
                    }
                }
            }
            print_line(&format!("{} scenarios are valid", loaded.len()))?;
            Ok(0)
        }
        Err(error) if arguments.json => {
            print_json(&json!({ "schema_version": 1, "ok": false, "error": format!("{error:#}") }))?;
            Ok(USAGE)
        }
        Err(error) => Err(error),
    }
}

fn print_json(document: &serde_json::Value) -> anyhow::Result<()> {
    print_line(&serde_json::to_string_pretty(document)?)
}

fn print_line(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
