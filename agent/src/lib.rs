//! The z4j agent: what the binary `z4j` does, as a library with one door, [`cli`].
//!
//! Configuration is resolved once, in [`cli`], from an environment that is captured there; nothing below
//! reads the process environment, and time comes in as a clock.

pub mod cli;

mod clock;
mod config;
mod doctor;
mod engine;
mod environment;
mod files;
mod hello;
mod mounts;
mod net;
mod paths;
mod python;
mod secret;
mod transport;
mod words;
