//! `env`: what an agent of the running brain is configured with.
//!
//! Owns the formats. This is the one command that prints secrets.

use clap::ValueEnum;
use http::Method;

use super::output::{print, print_json, shell_quoted};
use super::{Failure, StateDir, block_on};
use crate::Environment;
use crate::api::agents::EnvAnswer;

/// Print the settings of an agent.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  eval \"$(mock-brain env)\"\n  \
    mock-brain env --format systemd > agent.env      # for EnvironmentFile=\n\n\
    The output holds the agent's token and the HMAC secret.")]
pub(super) struct Args {
    #[command(flatten)]
    state_dir: StateDir,
    /// The agent [default: the one that serve was started with]
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Format::Shell)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// export lines for eval
    Shell,
    /// a .env file
    Dotenv,
    /// a file for EnvironmentFile=
    Systemd,
    /// one object
    Json,
}

type Variables = Vec<(&'static str, String)>;

pub(super) fn run(args: &Args, environment: &Environment) -> Result<(), Failure> {
    let client = args.state_dir.client(environment)?;
    let path = match &args.agent {
        Some(name) => format!("/mock/v1/env?agent={}", percent_encoded(name)),
        None => "/mock/v1/env".to_owned(),
    };
    let answer = block_on(client.ask::<EnvAnswer>(Method::GET, &path, None))??;
    show(answer, args.format)
}

/// Prints the settings of an agent.
pub(super) fn show(answer: EnvAnswer, format: Format) -> Result<(), Failure> {
    let variables = variables(answer);
    match format {
        Format::Json => {
            let object: serde_json::Map<_, _> =
                variables.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
            print_json(&object)
        }
        Format::Shell => {
            print_lines(&variables, |key, value| format!("export {key}={}", shell_quoted(value)))
        }
        Format::Dotenv => print_lines(&variables, |key, value| format!("{key}={}", dotenv_quoted(value))),
        Format::Systemd => print_lines(&variables, |key, value| format!("{key}={}", systemd_quoted(value))),
    }
}

fn variables(answer: EnvAnswer) -> Variables {
    let credentials = answer.credentials;
    let mut variables = vec![
        ("Z4J_BRAIN_URL", answer.brain_url),
        ("Z4J_TOKEN", credentials.token),
        ("Z4J_HMAC_SECRET", credentials.hmac_secret),
        ("Z4J_PROJECT_ID", credentials.project_id),
        ("Z4J_AGENT_NAME", credentials.agent_name),
        ("Z4J_AGENT_ID", credentials.agent_id),
    ];
    variables.extend(answer.ca_file.map(|path| ("SSL_CERT_FILE", path)));
    variables
}

fn print_lines(variables: &Variables, line: impl Fn(&str, &str) -> String) -> Result<(), Failure> {
    let text: String = variables.iter().map(|(key, value)| line(key, value) + "\n").collect();
    print(text.as_bytes())
}

/// Single quotes are literal for all dotenv readers; a text with one in it takes double quotes.
fn dotenv_quoted(text: &str) -> String {
    if text.contains('\'') {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$"))
    } else {
        format!("'{text}'")
    }
}

/// systemd.exec(5), EnvironmentFile=: in double quotes, `"`, `\`, `` ` `` and `$` take a backslash.
fn systemd_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '`' | '$') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
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
    fn quoting() {
        let text = "it's \"$5\" \\ `x`";
        assert_eq!(shell_quoted(text), r#"'it'\''s "$5" \ `x`'"#);
        assert_eq!(dotenv_quoted(text), r#""it's \"\$5\" \\ `x`""#);
        assert_eq!(systemd_quoted(text), r#""it's \"\$5\" \\ \`x\`""#);
        assert_eq!(percent_encoded("a b/é"), "a%20b%2F%C3%A9");
    }
}
