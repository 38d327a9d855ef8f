//! The body of a POST: which frames go into it.
//!
//! Owns what is sent next and what a POST held. Must not send it or judge its answer.

use std::collections::VecDeque;

use z4j_protocol::{CanonicalText, FrameType};

use crate::buffer::{Row, StoredResult};
use crate::commands::{Room, shortened};
use crate::transport::frame_id;
use crate::transport::session::Signed;

/// `{"frames":[]}`
const BODY_BYTES: usize = 13;
/// Everything of a signed frame but its payload, as a JSON text in the body, in bytes, at most.
const ENVELOPE_BYTES: usize = 384;
/// What an `event_batch` adds to its events, likewise.
const BATCH_BYTES: usize = 20;
/// Most frames in a body.
pub(super) const MAX_FRAMES: usize = 500;
/// Most events in a batch.
pub(super) const MAX_EVENTS: usize = 500;

/// What a frame that has a body of so many bytes for itself has room for.
pub(super) const fn room(limit: usize) -> Room {
    Room::Quoted(limit.saturating_sub(BODY_BYTES + ENVELOPE_BYTES))
}

/// A frame that is no batch of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Control {
    /// Its type.
    pub(super) kind: FrameType,
    /// Its id.
    pub(super) id: String,
    /// Its payload.
    pub(super) payload: CanonicalText,
    /// Whether it is a result that the buffer holds until it is settled.
    pub(super) is_stored: bool,
}

impl Control {
    /// A frame that nobody waits for.
    pub(super) fn new(kind: FrameType, id: String, payload: CanonicalText) -> Self {
        Self { kind, id, payload, is_stored: false }
    }

    /// A result, cut to what a body of so many bytes has room for.
    pub(super) fn result(result: StoredResult, is_stored: bool, limit: usize) -> Self {
        let StoredResult { command_id, payload } = result;
        let payload = shortened(payload, room(limit));
        Self { kind: FrameType::CommandResult, id: command_id, payload, is_stored }
    }

    /// Whether it says how things were when it was made, so that a later one serves as well.
    pub(super) const fn is_passing(&self) -> bool {
        matches!(self.kind, FrameType::Heartbeat | FrameType::AgentStatus)
    }
}

/// How much may go into a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    /// Bytes.
    pub(super) bytes: usize,
    /// Frames.
    pub(super) frames: usize,
    /// Events.
    pub(super) events: usize,
}

/// What a POST held.
#[derive(Clone, Debug, Default)]
pub(super) struct Posted {
    /// Its length.
    pub(super) bytes: usize,
    /// Its frames.
    pub(super) frames: usize,
    /// How many frames of the queue are in it.
    pub(super) controls: usize,
    /// How many of the events that wait.
    pub(super) events: usize,
    /// Whether more waited.
    pub(super) is_full: bool,
}

/// What waits to be sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Frames that are no events; they go first.
    pub(super) controls: VecDeque<Control>,
    /// Events, in the order of their places.
    pub(super) rows: VecDeque<Row>,
}

impl Outbox {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.controls.is_empty() && self.rows.is_empty()
    }

    /// Signs as much as fits. The first thing goes whatever its size. Nothing leaves the outbox: that is for
    /// the answer to say.
    pub(super) fn compose(&self, signed: &mut Signed, measure: Measure) -> (String, Posted) {
        let mut body = String::from("{\"frames\":[");
        let (mut posted, mut size) = (Posted::default(), BODY_BYTES);
        for control in &self.controls {
            let more = ENVELOPE_BYTES + control.payload.quoted_len();
            let fits = posted.frames < measure.frames && size + more <= measure.bytes;
            if posted.frames > 0 && !fits {
                posted.is_full = true;
                break;
            }
            size += more;
            add(&mut body, &signed.text(control.kind, &control.id, &control.payload));
            posted.frames += 1;
            posted.controls += 1;
        }
        if !posted.is_full && !self.rows.is_empty() {
            self.add_events(&mut body, &mut posted, size, signed, measure);
        }
        body.push_str("]}");
        posted.bytes = body.len();
        (body, posted)
    }

    fn add_events(
        &self,
        body: &mut String,
        posted: &mut Posted,
        mut size: usize,
        signed: &mut Signed,
        measure: Measure,
    ) {
        size += ENVELOPE_BYTES + BATCH_BYTES;
        let mut taken = 0;
        for row in &self.rows {
            size += row.text.quoted_len() + 1;
            let fits = posted.frames < measure.frames && size <= measure.bytes;
            if taken == measure.events || !fits && (taken > 0 || posted.frames > 0) {
                break;
            }
            taken += 1;
        }
        posted.is_full = taken < self.rows.len() && taken < measure.events;
        if taken == 0 {
            return;
        }
        let texts = self.rows.iter().take(taken).map(|row| row.text.as_str());
        let payload = CanonicalText::event_batch(texts);
        add(body, &signed.text(FrameType::EventBatch, &frame_id("batch"), &payload));
        posted.frames += 1;
        posted.events = taken;
    }
}

fn add(body: &mut String, frame: &str) {
    if !body.ends_with('[') {
        body.push(',');
    }
    // A text can always be written.
    body.push_str(&serde_json::to_string(frame).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use z4j_protocol::{Binding, HmacSecret, Value};

    use super::*;
    use crate::clock::Clock;

    fn signed() -> Result<Signed, Box<dyn std::error::Error>> {
        let id = "44c7ca73-5a51-496c-84a8-8e60a719ff98".to_owned();
        let binding = Binding { agent_id: id.clone(), project_id: id.clone(), session_id: id };
        Ok(Signed::new(&HmacSecret::from_bytes(vec![1; 32])?, binding, Clock::system()))
    }

    fn row(id: i64, text: &str) -> Row {
        let value = Value::from_serialize(&serde_json::json!({ "id": id, "x": text }));
        let text = value.ok().and_then(|value| CanonicalText::of(&value).ok());
        Row { id, text: text.unwrap_or_else(|| CanonicalText::kept("{}".into())) }
    }

    fn control(payload: &str) -> Control {
        let payload = CanonicalText::kept(payload.into());
        Control::new(FrameType::AgentStatus, frame_id("as"), payload)
    }

    #[test]
    fn controls_go_first_and_the_first_thing_goes_whatever_its_size() -> Result<(), Box<dyn std::error::Error>>
    {
        let mut outbox = Outbox::default();
        outbox.rows.push_back(row(1, &"x".repeat(3_000)));
        let measure = Measure { bytes: 1_024, frames: 500, events: 500 };
        let (body, posted) = outbox.compose(&mut signed()?, measure);
        assert_eq!((posted.events, posted.frames, posted.bytes), (1, 1, body.len()));
        outbox.controls.push_back(control("{}"));
        let (_, posted) = outbox.compose(&mut signed()?, measure);
        assert_eq!((posted.controls, posted.events, posted.is_full), (1, 0, true));
        Ok(())
    }

    proptest! {
        #[test]
        fn a_body_keeps_its_measure(
            texts in proptest::collection::vec("[a-z\"\\\\é\n ]{0,300}", 2..60),
            bytes in 2_048_usize..20_000,
            events in 1_usize..40,
        ) {
            let mut outbox = Outbox::default();
            outbox.controls.push_back(control(r#"{"a":"\"\\"}"#));
            outbox.rows = texts.iter().zip(1..).map(|(text, id)| row(id, text)).collect();
            let mut signed = signed().map_err(|error| TestCaseError::fail(error.to_string()))?;
            let (body, posted) = outbox.compose(&mut signed, Measure { bytes, frames: 500, events });
            prop_assert!(body.len() <= bytes, "{} > {bytes}", body.len());
            prop_assert!(posted.events <= events && posted.events >= 1);
            let parsed: serde_json::Value = serde_json::from_str(&body)?;
            prop_assert_eq!(parsed["frames"].as_array().map(Vec::len), Some(posted.frames));
        }
    }
}
