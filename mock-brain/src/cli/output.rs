//! Writing to stdout and stderr.
//!
//! Owns what happens when nobody reads: a closed pipe ends the output, and is no error.

use std::io::{self, Write};

use super::Failure;

/// Writes to stdout.
pub(super) fn print(bytes: &[u8]) -> Result<(), Failure> {
    write(bytes).map(drop)
}

/// Writes to stdout, and tells whether anybody reads.
pub(super) fn write(bytes: &[u8]) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::no(format!("stdout: {error}"))),
    }
}

/// Writes a JSON document and a line end to stdout.
pub(super) fn print_json(document: &impl serde::Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_vec(document).map_err(Failure::no)?;
    text.push(b'\n');
    print(&text)
}

/// Tells of an error in one line on stderr.
pub(super) fn complain(line: &str) {
    complain_at_length(&format!("mock-brain: {}\n", line.replace('\n', " ")));
}

pub(super) fn complain_at_length(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
