//! Which part of a request the brain refuses, when it refuses the whole.
//!
//! Pure. A body of several frames is sent one frame at a time; a batch that is refused again and again is
//! halved, until one event is left to blame. Must not send or drop anything itself.

use super::body::{MAX_EVENTS, MAX_FRAMES, Posted};

/// How often a batch alone must be refused before its events are suspected.
const PATIENCE: u32 = 10;

/// What to do after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Send less at once.
    Less,
    /// Send the same again, a moment later.
    Again,
    /// Give the one frame that was in it up.
    DropFrame,
    /// Give the one event that was in it up.
    DropEvent,
}

/// What is suspected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspicion {
    frames: usize,
    events: usize,
    refusals: u32,
    /// How often the result was refused that is sent alone.
    of_result: u32,
    /// Frames that are still to be sent one at a time.
    alone: usize,
    /// Bodies of this size with one event were refused for their size often enough.
    hopeless: Option<usize>,
}

impl Default for Suspicion {
    fn default() -> Self {
        Self { frames: MAX_FRAMES, events: MAX_EVENTS, refusals: 0, of_result: 0, alone: 0, hopeless: None }
    }
}

impl Suspicion {
    /// Most frames of the next body.
    pub(super) const fn frames(&self) -> usize {
        self.frames
    }

    /// Most events of it.
    pub(super) const fn events(&self) -> usize {
        self.events
    }

    /// A body passed.
    pub(super) fn passed(&mut self, posted: &Posted) {
        self.alone = self.alone.saturating_sub(posted.frames);
        if posted.controls > 0 {
            self.of_result = 0;
        }
        if self.alone == 0 {
            self.frames = MAX_FRAMES;
        }
        if posted.events > 0 && !self.is_hunting() {
            self.refusals = 0;
        }
    }

    /// Whether a bad event is being looked for.
    const fn is_hunting(&self) -> bool {
        self.events < MAX_EVENTS
    }

    /// A body was refused for what is in it (415, 422). `wanted`: its first frame is not to be given up at once.
    pub(super) fn refused(&mut self, posted: &Posted, wanted: bool) -> Advice {
        if posted.frames > 1 {
            self.frames = 1;
            self.alone = posted.frames;
            return Advice::Less;
        }
        if posted.controls > 0 {
            self.of_result += 1;
            if wanted && self.of_result < PATIENCE {
                return Advice::Again;
            }
            self.of_result = 0;
            self.alone = self.alone.saturating_sub(1);
            return Advice::DropFrame;
        }
        self.refusals += 1;
        if self.refusals < PATIENCE {
            return Advice::Again;
        }
        if posted.events > 1 {
            self.events = posted.events / 2;
            return Advice::Less;
        }
        self.found()
    }

    /// A body was refused for its size (413). `smallest`: nothing smaller can be tried.
    pub(super) fn too_large(&mut self, posted: &Posted, smallest: bool) -> Advice {
        if posted.frames > 1 || posted.events > 1 {
            if smallest {
                self.frames = 1;
                self.alone = posted.frames;
            }
            return Advice::Less;
        }
        if posted.controls > 0 {
            return Advice::DropFrame;
        }
        if self.hopeless.is_some_and(|size| posted.bytes >= size) {
            return self.found();
        }
        self.refusals += 1;
        if self.refusals < PATIENCE {
            return Advice::Again;
        }
        self.hopeless = Some(posted.bytes);
        self.found()
    }

    fn found(&mut self) -> Advice {
        self.refusals = 0;
        self.events = MAX_EVENTS;
        Advice::DropEvent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(events: usize) -> Posted {
        Posted { frames: 1, events, bytes: events * 100, ..Posted::default() }
    }

    #[test]
    fn the_bad_frame_of_several_is_found() {
        let mut suspicion = Suspicion::default();
        let whole = Posted { frames: 3, controls: 2, events: 5, ..Posted::default() };
        assert_eq!(suspicion.refused(&whole, true), Advice::Less);
        assert_eq!(suspicion.frames(), 1);
        let control = Posted { frames: 1, controls: 1, ..Posted::default() };
        for _ in 1..PATIENCE {
            assert_eq!(suspicion.refused(&control, true), Advice::Again);
        }
        assert_eq!(suspicion.refused(&control, true), Advice::DropFrame);
        assert_eq!(suspicion.refused(&control, false), Advice::DropFrame);
        suspicion.passed(&control);
        suspicion.passed(&events(5));
        assert_eq!(suspicion.frames(), MAX_FRAMES);
    }

    #[test]
    fn the_bad_event_of_a_batch_is_found() {
        // Event 37 of 100 is refused, together with whatever it is sent with.
        let (mut suspicion, bad, mut next, mut dropped) = (Suspicion::default(), 37, 0, Vec::new());
        let mut posts = 0;
        while next < 100 {
            posts += 1;
            let count = suspicion.events().min(100 - next);
            let posted = events(count);
            if !(next..next + count).contains(&bad) || dropped.contains(&bad) {
                suspicion.passed(&posted);
                next += count;
                continue;
            }
            if suspicion.refused(&posted, false) == Advice::DropEvent {
                dropped.push(next);
                next += 1;
            }
        }
        assert_eq!(dropped, [bad]);
        assert!(posts < 40, "{posts}");
        assert_eq!(suspicion.events(), MAX_EVENTS);
    }

    #[test]
    fn an_event_over_the_limit_is_tried_often_once_and_others_of_its_size_no_more() {
        let mut suspicion = Suspicion::default();
        let large = Posted { bytes: 9_000, ..events(1) };
        for _ in 1..PATIENCE {
            assert_eq!(suspicion.too_large(&large, false), Advice::Again);
        }
        assert_eq!(suspicion.too_large(&large, false), Advice::DropEvent);
        assert_eq!(suspicion.too_large(&large, false), Advice::DropEvent);
        assert_eq!(suspicion.too_large(&Posted { bytes: 8_500, ..large }, false), Advice::Again);
        assert_eq!(suspicion.too_large(&events(2), false), Advice::Less);
    }
}
