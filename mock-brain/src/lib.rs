//! An emulator of the z4j brain's agent-facing side: it runs anywhere in milliseconds, checks everything that
//! a real brain checks, and breaks on command.
//!
//! As a library: [`Brain::start`] with a bound listener. As a program: `mock-brain serve`. This crate owns
//! the brain's behaviour (`docs/protocol.md`); it must not know the agent, and meets it on the wire only.

mod admission;
mod api;
mod batch;
mod brain;
pub mod cli;
mod client;
mod clock;
mod commands;
mod condition;
mod control;
mod dashboard;
mod descriptors;
mod environment;
pub mod fault;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod gateway;
mod hub;
mod journal;
mod limits;
mod listener;
mod load;
mod lock;
mod login;
mod longpoll;
mod pki;
mod place;
mod presence;
mod proxy;
mod quote;
mod random;
mod registry;
mod rest;
mod sessions;
mod settings;
mod state;
mod store;
mod stream;
mod variables;
mod verdict;
pub mod violation;
mod voice;
mod web;

pub use api::openapi_json;
pub use brain::{Brain, Options, StartError};
pub use commands::{CommandError, CommandInfo, CommandState, NewCommand};
pub use condition::Condition;
pub use environment::{AgentVariables, Environment};
pub use fault::table::ActiveFault;
pub use hub::{Farewell, Limits};
pub use journal::{DEFAULT_JOURNAL_BYTES, JournalError};
pub use pki::{
    CertificateFacts, Certificates, IssuedCertificate, PkiError, Profile, ProfileError, WORDS, Word,
};
pub use registry::{AgentInfo, Credentials, ProjectInfo, RegistryError};
pub use sessions::{ClosedBy, SessionInfo, Transport};
pub use state::StateError;
pub use store::{MAX_EVENTS, MAX_PAYLOAD_BYTES, StoredEvent};
pub use violation::Violation;
pub use voice::{ODDITIES, Release, UnknownRelease};

/// The newest release of the real brain that is emulated.
pub const BRAIN_VERSION: &str = "1.13.0";
