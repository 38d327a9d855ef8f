//! What is printed where: answers on stdout, everything else on stderr, one line each.

use std::io::{self, Write};
use std::process::ExitCode;

use super::{NO, USAGE};
use crate::config::ConfigError;
use crate::words::visible;

/// The document for a configuration that cannot be built.
#[derive(serde::Serialize)]
struct Refused {
    ok: bool,
    stage: &'static str,
    code: &'static str,
    error: String,
    fix: String,
}

/// Says why there is no configuration.
pub(super) fn refuse(error: &ConfigError, json: bool) -> ExitCode {
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

/// Says why there is no configuration, to a verb that is no probe.
pub(super) fn refuse_usage(error: &ConfigError) -> ExitCode {
    refuse(error, false);
    ExitCode::from(USAGE)
}

/// Prints to stdout. A reader that has gone away is no failure of ours.
pub(super) fn print(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("stdout: {error}"));
            ExitCode::from(NO)
        }
        _ => ExitCode::SUCCESS,
    }
}

/// One line on stderr.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "z4j: {}", visible(&in_one_line(text)));
}

/// Lines that belong together, as one.
pub(super) fn in_one_line(text: &str) -> String {
    text.replace(":\n", ": ").replace('\n', "; ")
}

/// A warning on stderr.
pub(super) fn warn(text: &str) {
    complain(&format!("WARNING: {text}"));
}
