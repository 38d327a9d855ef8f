//! How this brain hears: the verifier of one session, as the release has it.
//!
//! Owns which of the two forms of 1.0 an agent speaks. z4j-bare 1.0 never names the session: with a z4j-core of
//! its time there is no such member in what is signed, with a later one it is an empty text.

use z4j_protocol::{Binding, Frame, Reason, Refusal, Timestamp, Verifier};

use super::{Pen, Release};
use crate::registry::Agent;

/// The ear of one session.
pub(crate) struct Ear {
    verifier: Verifier,
    /// The other form, until it is known which one is spoken.
    other: Option<Box<Verifier>>,
}

impl Ear {
    /// One whose frames are bound to a session (its id, or the long-poll nonce).
    pub(crate) fn new(agent: &Agent, session: &str, release: Release) -> Self {
        let secret = &agent.project.secret;
        let binding: Binding = agent.binding(session, release);
        let other =
            (!release.binds_session()).then(|| Box::new(Verifier::without_session(secret, binding.clone())));
        Self { verifier: Verifier::new(secret, binding), other }
    }

    /// Verifies a frame. The first one that is right tells which form is spoken, and the pen is told.
    pub(crate) fn verify(
        &mut self,
        agent: &Agent,
        pen: &mut Pen,
        frame: &Frame,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let verdict = self.verifier.verify_frame(frame, now);
        let is_other = matches!(verdict, Err(Refusal { reason: Reason::HmacMismatch }));
        if let Some(mut other) = self.other.take_if(|_| is_other || verdict.is_ok())
            && is_other
        {
            other.verify_frame(frame, now)?;
            self.verifier = *other;
            pen.forget_session(agent);
            return Ok(());
        }
        verdict
    }
}
