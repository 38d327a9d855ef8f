//! The command line of `z4j`: arguments in, exit code out. Owns what is printed where.

mod emit;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use z4j_protocol::PROTOCOL_VERSION_TEXT;

use crate::config::{ConfigError, ConfigFlags, Framework, resolve};
use crate::doctor::{self, Examination, JSON_SCHEMA, Order, ProbeName, Report, Status};
use crate::environment::Environment;
use crate::words::visible;

/// The answer is no.
const NO: u8 = 1;
/// Flags that make no sense.
const USAGE: u8 = 2;
/// Longest `--timeout`.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);

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

Exit codes: 0 all good; 1 a probe failed or the configuration cannot be built; 2 a flag does not parse.
Secrets come from Z4J_TOKEN and Z4J_HMAC_SECRET, from files (--token-file, --hmac-secret-file), or from the
systemd credentials `token` and `hmac_secret` (LoadCredential=).";

#[derive(Debug, Subcommand)]
enum Command {
    /// Say why this agent does not come online: five probes, as the calling user
    #[command(after_help = "Examples:
  sudo -u www-data z4j doctor --framework django
  z4j doctor --json --no-websocket
  z4j doctor --only dns --only tcp --timeout 2s")]
    Doctor(DoctorArgs),
    /// The doctor's probes without the websocket: one line, or one for each that failed
    #[command(after_help = "Example:
  z4j check || z4j doctor")]
    Check(CheckArgs),
    /// Hand events to the running agent: one JSON object a line on stdin; returns when they are durable
    #[command(after_help = emit::EXAMPLES)]
    Emit(emit::EmitArgs),
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

#[derive(Debug, Args)]
struct Common {
    /// What the application is built on
    #[arg(long, value_enum, default_value_t)]
    framework: Framework,
    /// One JSON document on stdout
    #[arg(long)]
    json: bool,
    /// How long each wait may be; the whole run takes at most twice that
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_timeout)]
    timeout: Duration,
}

#[derive(Debug, Args)]
struct DoctorArgs {
    #[command(flatten)]
    common: Common,
    /// Notes and probes that could not look count as failures
    #[arg(long)]
    strict: bool,
    /// Leave the websocket probe out, while the brain is offline on purpose
    #[arg(long)]
    no_websocket: bool,
    /// Only this probe, and a failure that it waits for (may be repeated)
    #[arg(long, value_enum, value_name = "PROBE")]
    only: Vec<ProbeName>,
    /// Leave this probe out (may be repeated)
    #[arg(long, value_enum, value_name = "PROBE")]
    skip: Vec<ProbeName>,
    /// Show what each probe saw
    #[arg(short, long)]
    verbose: bool,
    /// Print the JSON Schema of --json, and do nothing else
    #[arg(long)]
    json_schema: bool,
    #[command(flatten)]
    config: ConfigFlags,
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    config: ConfigFlags,
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
        Command::Doctor(args) => doctor(&args),
        Command::Check(args) => check(&args),
        Command::Emit(args) => emit::emit(&args),
        Command::Version { json } => version(json),
        Command::Completions { shell } => completions(shell),
    }
}

fn doctor(args: &DoctorArgs) -> ExitCode {
    if args.json_schema {
        return print(JSON_SCHEMA);
    }
    let mut probes: Vec<ProbeName> = ProbeName::ALL.to_vec();
    if !args.only.is_empty() {
        probes.retain(|probe| args.only.contains(probe));
    }
    probes.retain(|probe| !args.skip.contains(probe));
    if args.no_websocket {
        probes.retain(|probe| *probe != ProbeName::Websocket);
    }
    if probes.is_empty() {
        complain("--only, --skip and --no-websocket leave no probe: name one that is not left out");
        return ExitCode::from(USAGE);
    }
    let verbose = args.verbose;
    run(&args.common, &args.config, probes, |report| report.text(verbose), args.strict)
}

fn check(args: &CheckArgs) -> ExitCode {
    let probes = ProbeName::ALL.into_iter().filter(|probe| *probe != ProbeName::Websocket).collect();
    run(&args.common, &args.config, probes, lines, false)
}

/// One line for each failed probe, or one for all that are good.
fn lines(report: &Report) -> String {
    let failed: Vec<String> = report
        .probes
        .iter()
        .filter(|finding| matches!(finding.status, Status::Fail | Status::Unknown))
        .map(|finding| {
            let fix = finding.fix.as_deref().map(|fix| format!("; fix: {}", in_one_line(fix)));
            let code = finding.code.map(|code| format!(" [{code}]")).unwrap_or_default();
            let message = format!("{}: {}", finding.name.as_str(), finding.message);
            format!("{}{code}\n", visible(&format!("{message}{}", fix.unwrap_or_default())))
        })
        .collect();
    if failed.is_empty() {
        let names: Vec<&str> = report.probes.iter().map(|finding| finding.name.as_str()).collect();
        return format!("OK: {} ({})\n", names.join(", "), report.config.brain_url);
    }
    failed.concat()
}

fn run(
    common: &Common,
    flags: &ConfigFlags,
    probes: Vec<ProbeName>,
    text: impl FnOnce(&Report) -> String,
    strict: bool,
) -> ExitCode {
    let environment = Environment::capture();
    let resolved = match resolve(&environment, flags) {
        Ok(resolved) => resolved,
        Err(error) => return refuse(&error, common.json),
    };
    resolved.warnings.iter().for_each(|warning| warn(warning));
    let order = Order { framework: common.framework, probes, timeout: common.timeout };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("no event loop: {error}"));
            return ExitCode::from(NO);
        }
    };
    let Examination { report, warnings } = runtime.block_on(async {
        ignore_file_size_signal();
        doctor::examine(&resolved.config, &environment, &order).await
    });
    // getaddrinfo cannot be called off: a slow one must not hold up the end.
    runtime.shutdown_background();
    warnings.iter().for_each(|warning| warn(warning));
    let out = if common.json { report.json() } else { text(&report) };
    let printed = print(&out);
    if report.is_good(strict) { printed } else { ExitCode::from(NO) }
}

/// A write over `LimitFSIZE=` kills the process unless the signal has a handler (setrlimit(2)); with one it
/// fails with EFBIG, which can be told.
fn ignore_file_size_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let _ = signal(SignalKind::from_raw(nix::sys::signal::Signal::SIGXFSZ as i32));
}

/// The document for a configuration that cannot be built.
#[derive(serde::Serialize)]
struct Refused {
    ok: bool,
    stage: &'static str,
    code: &'static str,
    error: String,
    fix: String,
}

fn refuse(error: &ConfigError, json: bool) -> ExitCode {
    let (code, fix) = (error.code(), error.fix());
    complain(&format!("{error}; fix: {fix} [{code}]"));
    if json {
        let document = Refused { ok: false, stage: "config", code, error: error.to_string(), fix };
        let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
        text.push('\n');
        let _ = print(&text);
    }
    ExitCode::from(NO)
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

/// Prints to stdout. A reader that has gone away is no failure of ours.
fn print(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("stdout: {error}"));
            ExitCode::from(NO)
        }
        _ => ExitCode::SUCCESS,
    }
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "z4j: {}", visible(&in_one_line(text)));
}

/// Lines that belong together, as one.
fn in_one_line(text: &str) -> String {
    text.replace(":\n", ": ").replace('\n', "; ")
}

fn warn(text: &str) {
    complain(&format!("WARNING: {text}"));
}

/// `5s`, `500ms`, or seconds without a unit.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| "it is no time such as 5s or 500ms".to_owned())?;
    let timeout = match unit {
        "" | "s" => Duration::from_secs(number),
        "ms" => Duration::from_millis(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        _ => return Err(format!("{unit:?} is none of ms, s, m")),
    };
    if timeout.is_zero() || timeout > MAX_TIMEOUT {
        return Err("it must be above 0 and at most 10m".to_owned());
    }
    Ok(timeout)
}
