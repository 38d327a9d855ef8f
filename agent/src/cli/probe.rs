//! `z4j doctor` and `z4j check`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::output::{complain, in_one_line, print, refuse, warn};
use super::time::parse_timeout;
use super::{NO, USAGE, event_loop};
use crate::config::{ConfigFlags, Framework, resolve};
use crate::doctor::{self, Examination, JSON_SCHEMA, Order, ProbeName, Report, Status};
use crate::environment::Environment;
use crate::words::visible;

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
pub(super) struct DoctorArgs {
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
pub(super) struct CheckArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    config: ConfigFlags,
}

pub(super) fn doctor(args: &DoctorArgs) -> ExitCode {
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

pub(super) fn check(args: &CheckArgs) -> ExitCode {
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
    let examined = event_loop(doctor::examine(&resolved.config, &environment, &order));
    let Examination { report, warnings } = match examined {
        Ok(examination) => examination,
        Err(code) => return code,
    };
    warnings.iter().for_each(|warning| warn(warning));
    let out = if common.json { report.json() } else { text(&report) };
    let printed = print(&out);
    if report.is_good(strict) { printed } else { ExitCode::from(NO) }
}
