//! Every scenario file is one. It lies here so that `cargo insta review` finds the snapshots beside the files.

use std::process::Command;

#[test]
fn every_scenario_file_is_valid() -> std::io::Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["validate", "--scenarios", concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios")])
        .output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
