//! `z4j run`.

use std::process::ExitCode;

use clap::Args;

use super::output::{complain, refuse_usage};
use super::{NO, USAGE, event_loop};
use crate::config::{ConfigFlags, Framework, LogFormat, is_disabled, resolve};
use crate::environment::Environment;
use crate::log;
use crate::run::{self, Order};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// What the application is built on
    #[arg(long, value_enum, default_value_t)]
    framework: Framework,
    /// Take events from standard input too, and stop when it ends
    #[arg(long)]
    stdin: bool,
    #[command(flatten)]
    config: ConfigFlags,
}

/// Runs the verb.
pub(super) fn run(args: &RunArgs) -> ExitCode {
    let environment = Environment::capture();
    match is_disabled(&environment, &args.config) {
        Ok(false) => {}
        Ok(true) => {
            complain("Z4J_DISABLED is set: nothing to do");
            return ExitCode::SUCCESS;
        }
        Err(error) => return refuse_usage(&error),
    }
    let resolved = match resolve(&environment, &args.config) {
        Ok(resolved) => resolved,
        Err(error) => return refuse_usage(&error),
    };
    let config = resolved.config;
    let format = match config.log_format {
        LogFormat::Text => log::Format::Text,
        LogFormat::Json => log::Format::Json,
    };
    let level = config.log_level.as_tracing().into();
    let log = match log::init(format, level, &environment) {
        Ok(log) => log,
        Err(error) => {
            complain(&error);
            return ExitCode::from(NO);
        }
    };
    for warning in &resolved.warnings {
        tracing::warn!("{warning}");
    }
    let order = Order { framework: args.framework, stdin: args.stdin };
    let (again, flags) = (environment.clone(), args.config.clone());
    let reread = Box::new(move || {
        let config = resolve(&again, &flags).map_err(|error| error.to_string())?.config;
        let secret = run::secret(&config).map_err(|error| error.to_string())?;
        Ok((config.token, secret))
    });
    match event_loop(run::run(config, environment, order, reread, log.ids.clone())) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            tracing::error!("{error}");
            ExitCode::from(if error.is_setting() { USAGE } else { NO })
        }
        Err(code) => code,
    }
}
