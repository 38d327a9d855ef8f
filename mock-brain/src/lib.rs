//! An emulator of the z4j brain's agent-facing side: it runs anywhere in milliseconds, checks everything that
//! a real brain checks, and breaks on command.
//!
//! As a library: [`Brain::start`] with a bound listener. As a program: `mock-brain serve`. This crate owns
//! the brain's behaviour (`docs/protocol.md`); it must not know the agent, and meets it on the wire only.

mod api;
mod batch;
mod brain;
pub mod cli;
mod client;
mod clock;
mod commands;
mod condition;
mod control;
mod environment;
pub mod fault;
mod gateway;
mod hosts;
mod hub;
mod journal;
mod limits;
mod listener;
mod lock;
mod longpoll;
mod pki;
mod presence;
mod quote;
mod random;
mod registry;
mod rest;
mod sessions;
mod settings;
mod state;
mod store;
mod stream;
mod strict;
mod verdict;
mod web;

pub use api::openapi_json;
pub use brain::{Brain, Options, StartError};
pub use commands::{CommandError, CommandInfo, CommandState, NewCommand};
pub use condition::Condition;
pub use environment::Environment;
pub use fault::table::ActiveFault;
pub use hub::{Farewell, Limits};
pub use journal::{DEFAULT_JOURNAL_BYTES, JournalError};
pub use pki::PkiError;
pub use registry::{AgentInfo, Credentials, ProjectInfo, RegistryError};
pub use sessions::{ClosedBy, SessionInfo, Transport};
pub use state::StateError;
pub use store::{MAX_EVENTS, MAX_PAYLOAD_BYTES, StoredEvent};
pub use strict::Violation;

/// The release of the real brain that is emulated.
pub const BRAIN_VERSION: &str = "1.13.0";
