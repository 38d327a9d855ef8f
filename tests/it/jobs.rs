//! `./dev`, as somebody meets it who has read the README and nothing else.

use std::process::{Command, Output};

use anyhow::Context;

fn dev(arguments: &[&str]) -> anyhow::Result<Output> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../dev");
    Command::new(program).args(arguments).output().context("run ./dev")
}

#[test]
fn alone_it_lists_the_jobs() -> anyhow::Result<()> {
    let output = dev(&[])?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for job in ["e2e", "test", "check", "interop", "browser", "bench", "fuzz", "ci", "serve"] {
        assert!(text.lines().any(|line| line.trim().starts_with(job)), "{job} in {text}");
    }
    Ok(())
}

#[test]
fn a_job_that_is_not_there_is_said_to_be_none() -> anyhow::Result<()> {
    let output = dev(&["nosuch"])?;
    assert_eq!(output.status.code(), Some(2));
    // The first call on a machine also says what it installs.
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.ends_with("dev: there is no job `nosuch`: ./dev lists them\n"), "{text}");
    Ok(())
}
