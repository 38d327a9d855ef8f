//! The same client on PyPI's brain and on `mock-brain serve`: the same statuses, keys and types.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::brain::RealBrain;
use crate::program::{Running, ours, output};
use crate::rest::Client;
use crate::tour::{Step, tour};

/// What a value looks like: keys and types, not what it says.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    Null,
    Truth,
    Whole,
    Fraction,
    Time,
    Id,
    Text,
    List(BTreeSet<Shape>),
    Object(BTreeMap<String, Shape>),
}

/// Texts that programs read, and which must be the same.
const READ: [&str; 5] = ["error", "status", "state", "reason", "type"];

impl Shape {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Truth,
            Value::Number(number) if number.is_f64() => Self::Fraction,
            Value::Number(_) => Self::Whole,
            Value::String(text) => Self::of_text(text),
            Value::Array(list) => Self::List(list.iter().map(Self::of).collect()),
            Value::Object(object) => {
                Self::Object(object.iter().map(|(key, value)| (key.clone(), Self::of(value))).collect())
            }
        }
    }

    fn of_text(text: &str) -> Self {
        let bytes = text.as_bytes();
        let dashes = |places: &[usize]| places.iter().all(|place| bytes.get(*place) == Some(&b'-'));
        match bytes.len() {
            36 if dashes(&[8, 13, 18, 23]) => Self::Id,
            19.. if dashes(&[4, 7]) && bytes[10] == b'T' && bytes[13] == b':' => Self::Time,
            _ => Self::Text,
        }
    }
}

/// The places where two answers differ in shape, or in a text that programs read.
fn differences(place: &str, real: &Value, mock: &Value, found: &mut Vec<String>) {
    match (real, mock) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let place = format!("{place}.{key}");
                match (one.get(key), other.get(key)) {
                    (Some(one), Some(other)) => {
                        let is_text = one.is_string() && READ.contains(&key.as_str());
                        // The texts of faults in commands are the agent's or for people.
                        let is_code = one.as_str().is_some_and(|text| !text.contains(' '));
                        if is_text && is_code && one != other {
                            found.push(format!("{place}: {one} on the real brain, {other} here"));
                        }
                        differences(&place, one, other, found);
                    }
                    (Some(_), None) => found.push(format!("{place}: only on the real brain")),
                    _ => found.push(format!("{place}: only here")),
                }
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (nth, (one, other)) in one.iter().zip(other).enumerate() {
                differences(&format!("{place}[{nth}]"), one, other, found);
            }
        }
        (one, other) if Shape::of(one) != Shape::of(other) => {
            found.push(format!("{place}: {one} on the real brain, {other} here"));
        }
        _ => {}
    }
}

/// A tour of `mock-brain serve`.
fn tour_of_mock() -> anyhow::Result<Vec<Step>> {
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state");
    let program = ours("mock-brain")?;
    let mut serve = Command::new(&program);
    serve.args(["serve", "--json", "--no-tls", "--listen", "127.0.0.1:0", "--state-dir"]).arg(&state);
    let brain = Running::start(&mut serve)?;
    let listening = brain.line("the brain", |line| line["event"] == "listening")?;
    let url = listening["url"].as_str().context("a URL")?;
    let printed = output(Command::new(&program).args(["login", "--json", "--state-dir"]).arg(&state))?;
    ensure!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let login: Value = serde_json::from_slice(&printed.stdout)?;
    let text = |key: &str| login[key].as_str().context("text");
    let mut client = Client::new(url);
    client.log_in(text("email")?, text("password")?)?;
    tour(&client, url, folder.path())
}

#[test]
fn one_client_works_on_both_brains() -> anyhow::Result<()> {
    let real = RealBrain::start()?;
    let of_real = tour(&real.client, &real.url, real.folder.path())?;
    let of_mock = tour_of_mock()?;
    assert_eq!(of_real.len(), of_mock.len(), "both went the same way");
    let mut found = Vec::new();
    for ((asked, status, real), (_, mock_status, mock)) in of_real.iter().zip(&of_mock) {
        let before = found.len();
        if status != mock_status {
            found.push(format!("status {status} on the real brain, {mock_status} here"));
        }
        differences("", real, mock, &mut found);
        if found.len() > before {
            found.insert(before, format!("== {asked}"));
        }
    }
    ensure!(found.is_empty(), "{} steps; they differ:\n{}", of_real.len(), found.join("\n"));
    Ok(())
}

#[test]
fn differences_are_found() {
    let one = serde_json::json!({ "a": "2026-01-01T00:00:00", "b": [1, { "c": null }], "error": "x" });
    let other = serde_json::json!({ "a": "soon", "b": [1, { "c": 0.5 }], "d": 1, "error": "y" });
    let mut found = Vec::new();
    differences("", &one, &other, &mut found);
    let places: Vec<_> = found.iter().map(|text| text.split(':').next().unwrap_or_default()).collect();
    assert_eq!(places, [".a", ".b[1].c", ".d", ".error"]);
    differences("", &one, &one, &mut Vec::new());
}
