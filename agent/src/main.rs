//! The binary `z4j`.

use std::process::ExitCode;

fn main() -> ExitCode {
    z4j_agent::cli::main()
}
