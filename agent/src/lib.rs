//! The z4j agent: what the binary `z4j` does, as a library with one door, [`cli`].
//!
//! Configuration is resolved once, in [`cli`], from an environment that is captured there; nothing below
//! reads the process environment, and time comes in as a clock.

pub mod cli;

mod buffer;
mod clock;
mod commands;
mod config;
mod control;
mod doctor;
mod engine;
mod environment;
mod files;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod hello;
mod ingest;
mod instance;
mod log;
mod mounts;
mod net;
mod notify;
mod orders;
mod paths;
mod python;
mod redaction;
mod run;
mod runtime;
mod secret;
mod status;
mod transport;
mod words;
