//! Whether heartbeats come in time on a websocket.
//!
//! Owns when the last one came. A network that stalls must accuse nobody: frames are measured by their own `ts`,
//! and the end of a session by the last ping that was answered, before which nothing can be on its way.

use std::time::{Duration, Instant};

use z4j_protocol::{Frame, FrameType, Timestamp, Value};

use super::{Found, Rule};

/// A heartbeat may be so much later than twice the interval.
const SLACK: Duration = Duration::from_secs(5);
/// What agents bring the interval into, in seconds.
const INTERVALS: (u64, u64) = (1, 3_600);

/// The heartbeats of one session.
pub(crate) struct Beats {
    interval: Duration,
    /// When the last one was read; before the first, when the hello_ack was sent.
    since: Instant,
    began: Timestamp,
    /// The last one's `ts`.
    told: Option<Timestamp>,
    /// The gap that lasts is noted already.
    is_noted: bool,
}

impl Beats {
    /// Of a session whose hello_ack is sent now and says this interval, in seconds.
    pub(crate) fn new(interval: u64, since: Instant, began: Timestamp) -> Self {
        let interval = Duration::from_secs(interval.clamp(INTERVALS.0, INTERVALS.1));
        Self { interval, since, began, told: None, is_noted: false }
    }

    /// A verified frame was read.
    pub(crate) fn heard(&mut self, frame: &Frame, read: Instant, now: Timestamp) -> Option<Found> {
        let ts = frame.object().get("ts").and_then(Value::as_str);
        let at = ts.and_then(|text| Timestamp::parse(text).ok()).unwrap_or(now);
        let gap = match self.told {
            Some(before) => between(before, at),
            // Of two clocks that may differ.
            None => between(self.began, at).min(read.saturating_duration_since(self.since)),
        };
        let found = self.late(gap);
        self.is_noted |= found.is_some();
        if frame.frame_type() == FrameType::Heartbeat {
            (self.since, self.told, self.is_noted) = (read, Some(at), false);
        }
        found
    }

    /// The session ended; `alive` is when the last ping was sent that the agent answered.
    pub(crate) fn ended(&self, alive: Option<Instant>) -> Option<Found> {
        self.late(alive?.saturating_duration_since(self.since))
    }

    fn late(&self, gap: Duration) -> Option<Found> {
        if self.is_noted || gap <= self.interval * 2 + SLACK {
            return None;
        }
        let before =
            if self.told.is_some() { "the last heartbeat" } else { "hello_ack, and no heartbeat came" };
        let (seconds, interval) = (gap.as_secs(), self.interval.as_secs());
        let detail = format!("{seconds} s after {before}; the interval is {interval} s");
        Some((Rule::HeartbeatLate, detail))
    }
}

fn between(before: Timestamp, after: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(after.micros_since(before)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_micros(1_800_000_000_000_000 + seconds * 1_000_000)
    }

    fn frame(kind: &str, seconds: i64) -> Frame {
        let ts = at(seconds);
        let text = format!(r#"{{"v":2,"type":"{kind}","id":"x","seq":1,"ts":"{ts}","payload":{{}}}}"#);
        Frame::parse(text.as_bytes()).unwrap()
    }

    fn beats() -> (Beats, Instant) {
        let start = Instant::now();
        (Beats::new(10, start, at(0)), start)
    }

    #[test]
    fn frames_are_measured_by_their_own_clock_and_a_gap_is_noted_once() {
        let (mut beats, start) = beats();
        // All of it is read long afterwards.
        let mut late = |kind: &str, seconds| {
            let read = start + Duration::from_secs(999);
            beats.heard(&frame(kind, seconds), read, at(999)).is_some()
        };
        let frames = [
            ("heartbeat", 0, false),
            ("heartbeat", 25, false),
            ("event_batch", 50, false),
            ("event_batch", 51, true),
            ("event_batch", 80, false),
            ("heartbeat", 90, false),
            ("agent_status", 115, false),
            ("heartbeat", 116, true),
            ("heartbeat", 120, false),
        ];
        for (kind, seconds, expected) in frames {
            assert_eq!(late(kind, seconds), expected, "{kind} {seconds}");
        }
    }

    #[test]
    fn a_first_heartbeat_is_due_after_the_hello_ack() {
        // By the agent's ts, and when it is read: only both are late.
        for (told, read, expected) in [(26, 26, true), (60, 5, false), (5, 60, false), (25, 25, false)] {
            let (mut beats, start) = beats();
            let found = beats.heard(&frame("event_batch", told), start + Duration::from_secs(read), at(0));
            assert_eq!(found.is_some(), expected, "{told} {read}");
        }
    }

    #[test]
    fn the_end_of_a_session_counts_as_far_as_pings_were_answered() {
        let (mut beats, start) = beats();
        let after = |seconds| Some(start + Duration::from_secs(seconds));
        let late = |beats: &Beats, alive| beats.ended(alive).is_some();
        assert_eq!([None, after(25), after(26)].map(|alive| late(&beats, alive)), [false, false, true]);
        beats.heard(&frame("heartbeat", 20), start + Duration::from_secs(20), at(20));
        assert_eq!([after(10), after(45), after(46)].map(|alive| late(&beats, alive)), [false, false, true]);
        // It was noted at a frame.
        assert!(beats.heard(&frame("event_batch", 50), start, at(50)).is_some());
        assert!(!late(&beats, after(80)));
    }
}
