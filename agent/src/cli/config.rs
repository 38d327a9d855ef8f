//! `z4j config`.

use std::process::ExitCode;

use clap::Subcommand;

use super::USAGE;
use super::output::{complain, print, warn};
use crate::config::{ConfigFlags, Shown};
use crate::environment::Environment;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print each setting with its value and where that came from; secrets are hidden
    #[command(after_help = "Examples:
  sudo -u www-data z4j config show --config /etc/z4j/z4j.toml
  z4j config show --json

A file of settings has the variables' names without Z4J_, in lower case:
  brain_url = \"https://tasks.example.com\"
  project_id = \"picker\"
  token_file = \"/etc/z4j/token\"
  hmac_secret_file = \"/etc/z4j/hmac_secret\"
  [engine.celery]
  adapter = \"exec\"
  [engine.celery.action.retry_task]
  argv = [\"/srv/picker/bin/retry\", \"--id={task_id}\"]
  timeout = \"30s\"

Exit codes: 0 an agent can be built from this; 2 it cannot.")]
    Show {
        /// One JSON document on stdout
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFlags,
    },
}

/// Runs the verb.
pub(super) fn config(ConfigCommand::Show { json, config }: &ConfigCommand) -> ExitCode {
    let shown = Shown::gather(&Environment::capture(), config);
    shown.warnings.iter().for_each(|warning| warn(warning));
    if let Some(complaint) = shown.complaint() {
        complain(&complaint);
    }
    let printed = print(&if *json { shown.json() } else { shown.text() });
    if shown.ok { printed } else { ExitCode::from(USAGE) }
}
