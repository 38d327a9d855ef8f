//! Parts of the docs that are written from the code. `./dev generate` writes them anew; here they are compared.

use std::fmt::Write;
use std::fs;

use anyhow::Context;
use mock_brain::fault::catalog::{ENTRIES, Entry};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/mock-brain.md");
const START: &str = "<!-- faults: written by ./dev generate -->\n";
const END: &str = "<!-- end -->\n";

#[test]
fn the_fault_table_is_that_of_the_code() -> anyhow::Result<()> {
    let page = fs::read_to_string(PAGE)?;
    let (before, rest) = page.split_once(START).context("the start mark")?;
    let (_, after) = rest.split_once(END).context("the end mark")?;
    let expected = format!("{before}{START}{}{END}{after}", table());
    if is_generating() {
        fs::write(PAGE, expected)?;
        return Ok(());
    }
    assert!(page == expected, "docs/mock-brain.md: run `./dev generate`");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "tests have no other way to be told")]
fn is_generating() -> bool {
    std::env::var_os("Z4J_GENERATE").is_some()
}

fn table() -> String {
    let mut out = "| fault | strikes at | what happens | example |\n| --- | --- | --- | --- |\n".to_owned();
    for entry in ENTRIES {
        let Entry { name, about, example, .. } = entry;
        let points: Vec<_> = entry.points.iter().map(|point| format!("`{}`", point.as_str())).collect();
        let _ = writeln!(out, "| `{name}` | {} | {about} | `{example}` |", points.join(", "));
    }
    out
}
