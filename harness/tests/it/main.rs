//! The harness as a program: command lines, sandboxes as root and without privileges, snapshots.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod agents;
mod commands;
mod sandbox;
mod world;
