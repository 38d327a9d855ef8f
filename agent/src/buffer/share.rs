//! How much of an orphan may be taken over at once.
//!
//! Owns the head-room: what adoption leaves free for the events that are still to come, by the size of the bounds,
//! so that taking the dead's events over never evicts anybody's. A file system with little room gets smaller
//! slices, since what is moved lies there twice for a moment. Must not move anything.

use super::store::Store;
use super::{Bounds, Limit, room};

/// Most events of a slice.
const EVENTS: usize = 1_000;
/// How many bytes a slice may hold, the largest first.
const SLICES: [u64; 3] = [4 << 20, 512 << 10, 64 << 10];
/// The part of the events that is left free: one in so many.
const EVENTS_LEFT: u64 = 16;
/// The size of a bound in bytes from which so much of it is left free.
const BYTES_LEFT: [(u64, u64); 3] = [(64 << 20, 4 << 20), (8 << 20, 512 << 10), (0, 64 << 10)];

/// What may be taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// Most events.
    pub(super) events: u64,
    /// Most bytes of their text.
    pub(super) bytes: u64,
    /// How much of it in one slice.
    pub(super) slice: Limit,
}

impl Share {
    /// What fits into a buffer; none if there is no room at all.
    pub(super) fn of(own: &Store, bounds: Bounds) -> Option<Self> {
        let (events, bytes) = left(own.counters.events, own.counters.bytes, bounds);
        if events == 0 || bytes == 0 {
            return None;
        }
        let unused = own.unused().unwrap_or_default();
        // What is moved lies here, and for a moment in the orphan's log too. The room that events from outside need
        // is touched only where nothing else could ever come free.
        let fits = |slice: u64| {
            if own.counters.events == 0 {
                room::to_move(&own.path, slice, unused)
            } else {
                room::lacking(&own.path, slice.saturating_mul(2), unused).is_none()
            }
        };
        let slice = SLICES.into_iter().find(|slice| fits(*slice))?;
        let most = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let slice = Limit { events: EVENTS.min(most(events)), bytes: most(slice.min(bytes)) };
        Some(Self { events, bytes, slice })
    }
}

/// What is left of the bounds: events and bytes. An empty buffer takes what fits at all.
fn left(events: u64, bytes: u64, bounds: Bounds) -> (u64, u64) {
    let (most_events, most_bytes) = if events == 0 {
        (bounds.events, bounds.bytes)
    } else {
        let headroom = BYTES_LEFT.iter().find(|(from, _)| bounds.bytes >= *from).map_or(0, |(_, left)| *left);
        (bounds.events - bounds.events / EVENTS_LEFT, bounds.bytes.saturating_sub(headroom))
    };
    (most_events.saturating_sub(events), most_bytes.saturating_sub(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_room_is_left_by_the_size_of_the_bound() {
        let mib = 1 << 20;
        for (events, bytes, bounds, wanted) in [
            (0, 0, Bounds { events: 1_000, bytes: mib }, (1_000, mib)),
            (1, 10, Bounds { events: 1_600, bytes: mib }, (1_499, mib - (64 << 10) - 10)),
            (1, 10, Bounds { events: 1_600, bytes: 8 * mib }, (1_499, 8 * mib - (512 << 10) - 10)),
            (1, 10, Bounds { events: 1_600, bytes: 256 * mib }, (1_499, 252 * mib - 10)),
            (1_550, 10, Bounds { events: 1_600, bytes: mib }, (0, mib - (64 << 10) - 10)),
            (9, mib, Bounds { events: 1_600, bytes: mib }, (1_491, 0)),
        ] {
            assert_eq!(left(events, bytes, bounds), wanted, "{events} {bytes} {bounds:?}");
        }
    }
}
