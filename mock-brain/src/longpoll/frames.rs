//! The frames of one request: which are taken, which are to be sent again, which end the session.
//!
//! Owns that verdict. Frames before one that ends the session stay applied.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use z4j_protocol::{Class, Frame, FrameType, Reason, Refusal};

use super::sessions::{Invalidated, Use};
use crate::batch::{self, BatchOutcome};
use crate::clock;
use crate::hub::Hub;
use crate::registry::Agent;

/// Most error texts in one answer.
const MAX_ERRORS: usize = 10;

/// What became of the frames.
#[derive(Default)]
pub(super) struct Tally {
    accepted: u64,
    rejected: u64,
    errors: Vec<String>,
    error_code: Option<&'static str>,
}

impl Tally {
    fn reject(&mut self, error: String) {
        self.rejected += 1;
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        }
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "accepted": self.accepted,
            "rejected": self.rejected,
            "errors": self.errors,
            "error_code": self.error_code,
        })
    }
}

/// Takes the first frames of a request in their order; the others are to be sent again.
pub(super) fn apply(
    hub: &Hub,
    agent: &Arc<Agent>,
    nonce: &str,
    peer: SocketAddr,
    frames: &[String],
    taken: usize,
) -> Result<Tally, Invalidated> {
    hub.longpoll.enter(hub, agent, nonce, Use::Post)?;
    let mut tally = Tally::default();
    let (taken, left) = frames.split_at(taken.min(frames.len()));
    for text in taken {
        match Frame::parse(text.as_bytes()) {
            Ok(frame) if frame.frame_type().is_signed() => {
                signed(hub, agent, nonce, peer, &frame, &mut tally)?;
            }
            Err(Refusal { reason: Reason::Version }) => {
                tally.reject("version skew (retry): the frame is of another protocol version".to_owned());
            }
            // Garbage and handshake frames are settled by being dropped.
            Ok(_) | Err(_) => tally.accepted += 1,
        }
    }
    for _ in left {
        tally.reject("not taken: send it again".to_owned());
    }
    Ok(tally)
}

fn signed(
    hub: &Hub,
    agent: &Arc<Agent>,
    nonce: &str,
    peer: SocketAddr,
    frame: &Frame,
    tally: &mut Tally,
) -> Result<(), Invalidated> {
    let now = clock::now();
    match hub.longpoll.verify(hub, agent, nonce, peer, frame, now)? {
        Err(refusal) if refusal.class() == Class::InvalidSignature => return Err(Invalidated::Signature),
        Err(_) => tally.accepted += 1,
        Ok(()) if frame.frame_type() == FrameType::EventBatch => {
            match batch::apply(&hub.store, agent, frame, now) {
                BatchOutcome::Settled(_) => tally.accepted += 1,
                BatchOutcome::SchedulerUpgrade => {
                    tally.reject("schedule events of this form are not taken".to_owned());
                    tally.error_code = Some(batch::SCHEDULER_UPGRADE);
                }
            }
        }
        Ok(()) => tally.accepted += 1,
    }
    hub.happened();
    Ok(())
}
