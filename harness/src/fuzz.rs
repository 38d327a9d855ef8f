//! What holds for any text that stands in a scenario file: the property behind the fuzz target `scenario`, and
//! its replay.
//!
//! Owns nothing that the product uses: it is built for tests and fuzzing only.

use std::path::Path;

use crate::scenario;

/// A scenario is read, or refused at a place in it; so is a unit file.
pub fn scenario(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match scenario::parse(Path::new("x.toml"), text) {
        Ok(scenario) => drop(scenario::impossible(&scenario)),
        Err(error) => assert!(error.to_string().starts_with("x.toml:"), "{error}"),
    }
    let _ = scenario::parse_unit(text, &|value| Ok(value.to_owned()));
}

#[cfg(test)]
#[test]
fn the_corpus_holds() -> std::io::Result<()> {
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/scenario"))? {
        scenario(&std::fs::read(file?.path())?);
    }
    Ok(())
}
