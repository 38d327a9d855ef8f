//! The ids of commands: UUIDs that this brain knows again although it forgot the command.
//!
//! Owns their form. Half of one is random, the other half follows from that, the agent and its project's secret,
//! so that a reset, the bound on commands and a journal in memory make no agent answer what it was never sent.

use aws_lc_rs::hmac;
use uuid::{Builder, Uuid};

use crate::random;
use crate::registry::Agent;

/// The bytes that are random.
const RANDOM: usize = 8;

/// The id of a new command of an agent.
pub(super) fn new(agent: &Agent) -> Uuid {
    of(agent, random::bytes())
}

/// Whether it is the id of a command that was once issued to this agent.
pub(super) fn was_issued(agent: &Agent, id: &str) -> bool {
    let Ok(id) = Uuid::try_parse(id) else { return false };
    id.as_bytes().first_chunk().is_some_and(|begin| of(agent, *begin) == id)
}

fn of(agent: &Agent, begin: [u8; RANDOM]) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..RANDOM].copy_from_slice(&begin);
    // The version stands in the first half.
    let mut bytes = Builder::from_random_bytes(bytes).into_uuid().into_bytes();
    let key = hmac::Key::new(hmac::HMAC_SHA256, agent.project.secret.to_text().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    for part in [b"command id".as_slice(), agent.id.as_bytes(), &bytes[..RANDOM]] {
        context.update(part);
    }
    bytes[RANDOM..].copy_from_slice(&context.sign().as_ref()[..16 - RANDOM]);
    Builder::from_random_bytes(bytes).into_uuid()
}
