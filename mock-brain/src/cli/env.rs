//! `env`: what an agent of the running brain is configured with.
//!
//! Owns the choice of a form. Like `dashboard` it prints secrets.

use clap::ValueEnum;
use http::Method;

use super::output::{print, print_json};
use super::{Failure, StateDir, block_on};
use crate::api::agents::EnvAnswer;
use crate::{Environment, variables};

/// Print the settings of an agent.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  eval \"$(mock-brain env)\"\n  \
    mock-brain env --format systemd > agent.env      # for EnvironmentFile=\n\n\
    The output holds the agent's token and the HMAC secret.")]
pub(super) struct Args {
    #[command(flatten)]
    state_dir: StateDir,
    /// The agent: its name, PROJECT/NAME or id [default: the one that serve was started with]
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    #[command(flatten)]
    form: Form,
}

/// How settings are written.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Form {
    /// How to write it
    #[arg(long, value_enum, default_value_t = Format::Shell)]
    format: Format,
    /// One JSON document, as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// export lines for eval
    Shell,
    /// a .env file
    Dotenv,
    /// a file for EnvironmentFile=
    Systemd,
    /// one object
    Json,
}

pub(super) fn run(args: &Args, environment: &Environment) -> Result<(), Failure> {
    let client = args.state_dir.client(environment)?;
    let path = of_agent("/mock/v1/env", args.agent.as_deref());
    let answer = block_on(client.ask::<EnvAnswer>(Method::GET, &path, None))??;
    show(answer, args.form)
}

/// Prints the settings of an agent.
pub(super) fn show(answer: EnvAnswer, form: Form) -> Result<(), Failure> {
    let variables = variables::of(answer);
    let text = match if form.json { Format::Json } else { form.format } {
        Format::Json => {
            let object: serde_json::Map<_, _> =
                variables.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
            return print_json(&object);
        }
        Format::Shell => variables::shell(&variables),
        Format::Dotenv => variables::dotenv(&variables),
        Format::Systemd => variables::systemd(&variables),
    };
    print(text.as_bytes())
}

/// The path, for one agent if one is named.
pub(super) fn of_agent(path: &str, agent: Option<&str>) -> String {
    agent.map_or_else(|| path.to_owned(), |name| format!("{path}?agent={}", percent_encoded(name)))
}

pub(super) fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_encoded() {
        assert_eq!(percent_encoded("a b/é"), "a%20b%2F%C3%A9");
    }
}
