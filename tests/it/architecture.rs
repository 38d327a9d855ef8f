//! Which crate may use which: arrows go one way, and agent and mock-brain meet only on the wire.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use cargo_metadata::MetadataCommand;

/// Every crate of the workspace with all of the others that it may name, in any kind of dependency.
const ALLOWED: &[(&str, &[&str])] = &[
    ("z4j-protocol", &[]),
    ("z4j-agent", &["z4j-protocol"]),
    ("mock-brain", &["z4j-protocol"]),
    ("z4j-harness", &["mock-brain"]),
    ("e2e", &["z4j-protocol", "mock-brain"]),
];

#[test]
fn dependencies_go_one_way() -> anyhow::Result<()> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec()?;
    let members: BTreeSet<_> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let listed: BTreeSet<_> = allowed.keys().copied().collect();
    assert_eq!(members, listed, "every crate of the workspace has its row");
    for package in &metadata.packages {
        let may = allowed.get(package.name.as_str()).context("listed")?;
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            assert!(!members.contains(name) || may.contains(&name), "{} must not use {name}", package.name);
        }
    }
    Ok(())
}
