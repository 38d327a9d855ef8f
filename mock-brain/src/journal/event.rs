//! Events in the journal: a place in a batch, an id, and whether it was there before.
//!
//! Owns how a place is written as one number. What an event says stands in its batch's frame, once.

use uuid::Uuid;
use z4j_protocol::Timestamp;

/// The number of an event: that of its batch's entry, and which element of the batch it is. They grow in the
/// order in which events are taken.
pub(crate) type Place = u64;

/// Room for the elements of one batch: more than are looked at.
pub(crate) const ROOM: u64 = 8_192;
const _: () = assert!(z4j_protocol::MAX_EVENTS_PER_BATCH < 8_192, "every element has a place");

/// The place of an element of the batch of an entry.
pub(crate) const fn place(entry: u64, nth: u32) -> Place {
    entry * ROOM + nth as u64
}

/// What came of one usable element of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sighted {
    /// Which element it is, counted from 0.
    pub(crate) nth: u32,
    /// The time of receipt that its stored times may follow from.
    pub(crate) at: Timestamp,
    /// The id under which it is stored.
    pub(crate) id: Uuid,
    /// The place of the event that it is the same as, if it was there before.
    pub(crate) original: Option<Place>,
}
