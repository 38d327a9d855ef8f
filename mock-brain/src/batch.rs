//! An `event_batch` that was verified: what the brain makes of it, on either transport.

use std::sync::Arc;

use bytes::Bytes;
use z4j_protocol::payload::EventBatchAck;
use z4j_protocol::{Frame, MAX_EVENTS_PER_BATCH, MAX_ID_CHARS, Timestamp, Value};

use crate::hub::Hub;
use crate::journal::{Entry, Kind, Mark};
use crate::registry::Agent;

/// What comes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BatchOutcome {
    /// It is settled.
    Settled(EventBatchAck),
    /// It holds schedule events of the old form; the others were stored.
    SchedulerUpgrade,
}

/// Stores a batch's events. Of more than the limit only the first ones are looked at. Until the mark is
/// committed they may be lost, and the batch must not be acknowledged.
pub(crate) fn apply(
    hub: &Hub,
    session: Option<&Arc<str>>,
    agent: &Arc<Agent>,
    (frame, raw): (&Frame, &Bytes),
    now: Timestamp,
) -> (BatchOutcome, Mark) {
    let events = frame.payload().and_then(|payload| payload.get("events")).and_then(Value::as_array);
    let events = events.unwrap_or_default();
    let events = &events[..events.len().min(MAX_EVENTS_PER_BATCH)];
    let raw = &owned(raw);
    let batch = hub.store.read(agent, events, now);
    let old_schedules = batch.old_schedules;
    let mut accepted = 0;
    // What makes an event known and what makes it last is one step: nobody may be told that it is a
    // duplicate of one that could still be lost.
    let mark = hub.journal.record_as(|seq| {
        let taken = hub.store.take(seq, agent, raw, &batch);
        accepted = taken.iter().filter(|event| event.original.is_none()).count() as u64;
        let entry = Entry::new(Kind::FrameIn, frame.frame_type().as_str(), now).saying("ok");
        session.into_iter().fold(entry, Entry::of_session).of_agent(Some(agent)).with_batch(raw, taken)
    });
    // What else it holds is stored all the same: sent again, those events are duplicates.
    if old_schedules {
        return (BatchOutcome::SchedulerUpgrade, mark);
    }
    let received = events.len() as u64;
    let acked_id = cut(frame.id().unwrap_or_default());
    let ack = EventBatchAck { acked_id, received, accepted, rejected: received - accepted };
    (BatchOutcome::Settled(ack), mark)
}

/// Bytes to keep. What came over a connection is part of its read buffer, and would keep the whole of that.
pub(crate) fn owned(raw: &Bytes) -> Bytes {
    /// From here on a buffer was made for the message.
    const LARGE: usize = 16 << 10;
    if raw.len() < LARGE { Bytes::copy_from_slice(raw) } else { raw.clone() }
}

/// A text cut to the length of a frame id.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(MAX_ID_CHARS).collect()
}

/// What a frame that is refused says it is, cut; empty if it says nothing.
pub(crate) fn word(bytes: &[u8]) -> String {
    let frame = Value::parse(bytes).unwrap_or(Value::Null);
    cut(frame.get("type").and_then(Value::as_str).unwrap_or_default())
}
