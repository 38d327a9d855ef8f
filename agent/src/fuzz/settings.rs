//! What operators write: the file of settings, and variables.

use std::collections::BTreeMap;

use crate::clock::Clock;
use crate::config::{ConfigError, resolve_text};
use crate::environment::{Account, Environment};

/// What parts the file from the variables.
const MARK: &str = "\n---\n";

/// The text of a file, then perhaps a line `---` and variables as `NAME=VALUE`. What is refused is refused in
/// one line with a way out, at a place within the file.
pub fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (file, variables) = text.split_once(MARK).unwrap_or((text, ""));
    let Err(error) = resolve_text(&environment(variables), file) else { return };
    assert!(!error.to_string().contains('\n'), "{error}");
    assert!(!error.fix().is_empty(), "{error}");
    if let ConfigError::File { line, column, .. } = error {
        let written = file.split('\n').nth(line.wrapping_sub(1));
        let within = written.is_some_and(|written| (1..=written.chars().count() + 1).contains(&column));
        assert!(within, "line {line}, column {column} of {file:?}");
    }
}

fn environment(variables: &str) -> Environment {
    let complete = [
        ("Z4J_BRAIN_URL", "https://tasks.example.com"),
        ("Z4J_TOKEN", "s3cr3t-token"),
        ("Z4J_PROJECT_ID", "picker"),
    ];
    let written = variables.lines().filter_map(|line| line.split_once('='));
    // A path in these would lead to whatever lies there on this machine.
    let written = written.filter(|(name, _)| !name.ends_with("_FILE") && *name != "CREDENTIALS_DIRECTORY");
    let all: BTreeMap<_, _> =
        complete.into_iter().chain(written).map(|(name, value)| (name.into(), value.into())).collect();
    Environment {
        variables: all,
        current_dir: None,
        account: Account { uid: 33, gid: 33, name: Some("www-data".into()), group: None, home: None },
        host_name: "host".into(),
        pid: 7281,
        clock: Clock::system(),
        resolv_conf: "/nonexistent/resolv.conf".into(),
        mountinfo: "/nonexistent/mountinfo".into(),
    }
}
