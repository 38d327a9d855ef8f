//! The binary `harness`: reads the process's surroundings and calls the library.

use std::process::ExitCode;

use z4j_harness::cli::{self, Surroundings};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(status) = z4j_harness::sandbox_main(&arguments) {
        std::process::exit(status);
    }
    match surroundings().and_then(|surroundings| cli::run(arguments, &surroundings)) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("harness: {error:#}");
            ExitCode::from(2)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the edge at which the environment is read")]
fn surroundings() -> anyhow::Result<Surroundings> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    Ok(Surroundings {
        program: std::env::current_exe()?,
        search: std::env::split_paths(&search).collect(),
        temporary: std::env::temp_dir(),
    })
}
