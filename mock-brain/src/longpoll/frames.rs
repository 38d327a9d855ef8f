//! The frames of one request: which are taken, which are to be sent again, which end the session.
//!
//! Owns that verdict. Frames before one that ends the session stay applied.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use z4j_protocol::payload::SCHEDULER_UPGRADE;
use z4j_protocol::{Class, Frame, FrameType, Reason, Refusal};

use super::caller::Caller;
use super::sessions::{Invalidated, Use};
use crate::batch::{self, BatchOutcome};
use crate::clock;
use crate::hub::Hub;
use crate::journal::{Entry, Kind};
use crate::registry::Agent;
use crate::violation::{Culprit, Rule};

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

/// Takes the first frames of a request in their order; the others are to be sent again. What was taken is
/// safe when this returns.
pub(super) async fn apply(
    hub: &Hub,
    caller: Caller<'_>,
    peer: SocketAddr,
    frames: &[String],
    taken: usize,
) -> Result<Tally, Invalidated> {
    let _in_flight = hub.longpoll.enter(hub, caller, Use::Post)?;
    let agent = caller.agent;
    hub.journal.ready().await;
    let mut tally = Tally::default();
    let (taken, left) = frames.split_at(taken.min(frames.len()));
    for text in taken {
        match Frame::parse(text.as_bytes()) {
            Ok(frame) if frame.frame_type().is_signed() => {
                let raw = Bytes::copy_from_slice(text.as_bytes());
                signed(hub, caller, peer, (&frame, &raw), &mut tally)?;
            }
            Err(refusal @ Refusal { reason: Reason::Version }) => {
                note(hub, agent, text, &refusal.to_string());
                tally.reject("version skew (retry): the frame is of another protocol version".to_owned());
            }
            // Garbage and handshake frames are settled by being dropped.
            Ok(_) => {
                note(hub, agent, text, "dropped: a frame of the handshake");
                tally.accepted += 1;
            }
            Err(refusal) => {
                note(hub, agent, text, &refusal.to_string());
                let who = Culprit { session: None, agent: Some(agent) };
                let raw = Bytes::copy_from_slice(text.as_bytes());
                hub.violations.note(who, Rule::FrameMalformed, &refusal.to_string(), Some(&raw));
                tally.accepted += 1;
            }
        }
    }
    for _ in left {
        tally.reject("not taken: send it again".to_owned());
    }
    hub.journal.flushed().await;
    Ok(tally)
}

fn signed(
    hub: &Hub,
    caller: Caller<'_>,
    peer: SocketAddr,
    (frame, raw): (&Frame, &Bytes),
    tally: &mut Tally,
) -> Result<(), Invalidated> {
    let (agent, now) = (caller.agent, hub.now());
    let (session, verdict) = hub.longpoll.verify(hub, caller, peer, (frame, raw), now)?;
    let is_batch = frame.frame_type() == FrameType::EventBatch;
    if !is_batch || verdict.is_err() {
        let told = verdict.err().map_or("ok".to_owned(), |refusal| refusal.to_string());
        let entry = Entry::new(Kind::FrameIn, frame.frame_type().as_str(), now).saying(told).with(raw);
        let entry = entry.of_agent(Some(agent));
        hub.journal.record(session.iter().fold(entry, Entry::of_session));
    }
    match verdict {
        Err(refusal) if refusal.class() == Class::InvalidSignature => return Err(Invalidated::Signature),
        Err(_) => tally.accepted += 1,
        Ok(()) if is_batch => match batch::apply(hub, session.as_ref(), agent, (frame, raw), now).0 {
            BatchOutcome::Settled(_) => tally.accepted += 1,
            BatchOutcome::SchedulerUpgrade => {
                tally.reject("schedule events of this form are not taken".to_owned());
                tally.error_code = Some(SCHEDULER_UPGRADE);
            }
        },
        Ok(()) => tally.accepted += 1,
    }
    hub.happened();
    Ok(())
}

/// Notes a frame that is of no session.
fn note(hub: &Hub, agent: &Arc<Agent>, text: &str, verdict: &str) {
    let raw = Bytes::copy_from_slice(text.as_bytes());
    let entry = Entry::new(Kind::FrameIn, &batch::word(&raw), clock::now()).saying(verdict).with(&raw);
    hub.journal.record(entry.of_agent(Some(agent)));
}
