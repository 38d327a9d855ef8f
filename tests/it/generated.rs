//! Parts of the docs that are written from the code. `./dev generate` writes them anew; here they are compared.

use std::fmt::Write;
use std::fs;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use mock_brain::fault::catalog::{Entry, LAYERS};
use mock_brain::violation::RULES;
use serde_json::Value;

use crate::program;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/");
const END: &str = "<!-- end -->\n";

#[test]
fn the_fault_table_is_that_of_the_code() -> anyhow::Result<()> {
    compare("mock-brain.md", "<!-- faults: written by ./dev generate -->\n", &faults())
}

#[test]
fn the_rule_table_is_that_of_the_code() -> anyhow::Result<()> {
    compare("mock-brain.md", "<!-- rules: written by ./dev generate -->\n", &rules())
}

#[test]
fn the_oddity_table_is_that_of_the_code() -> anyhow::Result<()> {
    compare("mock-brain.md", "<!-- oddities: written by ./dev generate -->\n", &oddities())
}

#[test]
fn the_settings_table_is_that_of_the_code() -> anyhow::Result<()> {
    compare("agent.md", "<!-- settings: written by ./dev generate -->\n", &settings()?)
}

#[test]
fn the_openapi_document_is_that_of_the_code() -> anyhow::Result<()> {
    let path = format!("{DOCS}mock-brain-openapi.json");
    let document = mock_brain::openapi_json()?;
    if is_generating() {
        fs::write(path, document)?;
        return Ok(());
    }
    assert!(fs::read_to_string(path)? == document, "docs/mock-brain-openapi.json: run `./dev generate`");
    Ok(())
}

/// OpenAPI 3.1 asks every response for a description, and every parameter of a path for its place there.
#[test]
fn responses_and_parameters_of_the_openapi_document_are_valid() -> anyhow::Result<()> {
    let document: Value = serde_json::from_str(&mock_brain::openapi_json()?)?;
    let mut seen = 0;
    for (path, operations) in document["paths"].as_object().context("paths")? {
        for (method, operation) in operations.as_object().context("operations")? {
            for (status, response) in operation["responses"].as_object().context("responses")? {
                let description = response["description"].as_str().unwrap_or_default();
                assert!(!description.trim().is_empty(), "{method} {path} {status} has no description");
                seen += 1;
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().context("a name")?;
                let in_path = path.contains(&format!("{{{name}}}"));
                assert_eq!(parameter["in"] == "path", in_path, "{method} {path}: {name}");
            }
        }
    }
    assert!(seen > 0, "the document has no responses");
    Ok(())
}

/// Several tables stand in one page, and tests run side by side.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn compare(page: &str, start: &str, table: &str) -> anyhow::Result<()> {
    // A test that failed meanwhile has written nothing.
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let path = format!("{DOCS}{page}");
    let text = fs::read_to_string(&path)?;
    let (before, rest) = text.split_once(start).context("the start mark")?;
    let (_, after) = rest.split_once(END).context("the end mark")?;
    let expected = format!("{before}{start}{table}{END}{after}");
    if is_generating() {
        fs::write(path, expected)?;
        return Ok(());
    }
    assert!(text == expected, "docs/{page}: run `./dev generate`");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "tests have no other way to be told")]
fn is_generating() -> bool {
    std::env::var_os("Z4J_GENERATE").is_some()
}

fn faults() -> String {
    let mut out = String::new();
    for layer in LAYERS {
        let _ = writeln!(out, "**{}**\n\n| fault | strikes at | what happens | example |", layer.name);
        out.push_str("| --- | --- | --- | --- |\n");
        for Entry { name, about, points, example, .. } in layer.entries {
            let points: Vec<_> = points.iter().map(|point| format!("`{}`", point.as_str())).collect();
            let _ = writeln!(out, "| `{name}` | {} | {about} | `{example}` |", points.join(", "));
        }
        out.push('\n');
    }
    out
}

fn oddities() -> String {
    let mut out = "| oddity | what agents must not rely on |\n| --- | --- |\n".to_owned();
    for (name, about) in mock_brain::ODDITIES {
        let _ = writeln!(out, "| `{name}` | {about} |");
    }
    out
}

fn rules() -> String {
    let mut out = "| rule | looked at | what breaks it |\n| --- | --- | --- |\n".to_owned();
    for rule in RULES {
        let when = if rule.strict_only { "`--strict`" } else { "always" };
        let _ = writeln!(out, "| `{}` | {when} | {} |", rule.name, rule.about);
    }
    out
}

/// What `z4j config show` tells in an environment without any setting.
fn settings() -> anyhow::Result<String> {
    let shown = Command::new(program::ours("z4j")?)
        .args(["config", "show", "--json"])
        .env_clear()
        .env("HOME", "/nonexistent")
        .output()?;
    let document: Value = serde_json::from_slice(&shown.stdout)?;
    let mut out = "| variable | flag | key in the file | default | what |\n| --- | --- | --- | --- | --- |\n"
        .to_owned();
    for setting in document["settings"].as_array().context("settings")? {
        let code = |key: &str| setting[key].as_str().map_or_else(String::new, |text| format!("`{text}`"));
        let help = [&setting["help"], &setting["bounds"]].map(|text| text.as_str().unwrap_or_default());
        let help = help.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
        let help = help.replace('|', "\\|");
        let (name, flag, key, value) = (code("name"), code("flag"), code("file_key"), code("value"));
        let _ = writeln!(out, "| {name} | {flag} | {key} | {value} | {help} |");
    }
    Ok(out)
}
