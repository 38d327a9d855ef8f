//! The program `mock-brain`: reads arguments and environment, and calls the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mock_brain::cli::run(std::env::args_os(), &mock_brain::Environment::read())
}
