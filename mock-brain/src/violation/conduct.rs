//! How an agent behaves in one session: the rules that need memory.
//!
//! Owns what is remembered of a session, which is bounded.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashSet, VecDeque};
use std::hash::{Hash, Hasher};

use z4j_protocol::{Class, Frame, FrameType, Reason, Refusal, Timestamp, Value};

use super::{Found, Rule, frame};
use crate::quote::quote;

/// Most event ids remembered that were acknowledged; the newest.
const MAX_EVENTS: usize = 1_024;
/// So long after its acknowledgement a batch cannot be on its way any more, in microseconds.
const SETTLED_MICROS: i64 = 5_000_000;

/// An id as it is remembered.
type Trace = u64;

struct Acked {
    at: Timestamp,
    batch: Trace,
    events: Vec<Trace>,
}

/// What is remembered of one session.
pub(crate) struct Conduct {
    strict: bool,
    /// Frames come in the order of their seq; on long-poll requests come when they come.
    is_sequent: bool,
    verified: bool,
    last_seq: u64,
    acked: VecDeque<Acked>,
    remembered: usize,
}

impl Conduct {
    /// The conduct in a new session; a websocket's frames are sequent.
    pub(crate) const fn new(strict: bool, is_sequent: bool) -> Self {
        Self { strict, is_sequent, verified: false, last_seq: 0, acked: VecDeque::new(), remembered: 0 }
    }

    /// What a refusal says about the agent. A wrong secret, clock or project is the operator's, and none.
    pub(crate) fn refused(&self, refusal: Refusal) -> Option<Found> {
        let rule = match refusal.reason {
            Reason::TsSkew => return None,
            Reason::SeqNotIncreasing => Rule::FrameSeq,
            Reason::NonceReused => Rule::FrameNonce,
            Reason::SeqInvalid
            | Reason::NonceMissing
            | Reason::TsMissing
            | Reason::TsInvalid
            | Reason::TsNaive => Rule::FrameStamp,
            Reason::HmacMissing | Reason::HmacLength => Rule::FrameSignature,
            _ if refusal.class() != Class::InvalidSignature => Rule::FrameMalformed,
            _ if self.verified => Rule::FrameSignature,
            _ => return None,
        };
        Some((rule, refusal.to_string()))
    }

    /// What is wrong with a verified frame.
    pub(crate) fn judge(&mut self, frame: &Frame, now: Timestamp) -> Vec<Found> {
        let mut found = frame::judge(frame, self.strict, now);
        self.verified = true;
        if self.is_sequent {
            self.sequence(frame, &mut found);
        }
        if frame.frame_type() == FrameType::EventBatch {
            self.came_again(frame, now, &mut found);
        }
        found
    }

    fn sequence(&mut self, frame: &Frame, found: &mut Vec<Found>) {
        let seq = frame.object().get("seq").and_then(Value::as_u64).unwrap_or_default();
        if seq != self.last_seq.wrapping_add(1) {
            found.push((Rule::FrameSeqGap, format!("seq {seq} after {}", self.last_seq)));
        }
        self.last_seq = seq;
    }

    fn came_again(&self, frame: &Frame, now: Timestamp, found: &mut Vec<Found>) {
        let is_settled = |acked: &&Acked| now.micros_since(acked.at) >= SETTLED_MICROS;
        let mut settled = self.acked.iter().filter(is_settled).peekable();
        if settled.peek().is_none() {
            return;
        }
        let (batch, events) = traces(frame);
        let events: HashSet<_> = events.into_iter().collect();
        for acked in settled {
            let Some(event) = acked.events.iter().position(|event| events.contains(event)) else { continue };
            let seconds = now.micros_since(acked.at) / 1_000_000;
            let id = quote(frame.id().unwrap_or_default());
            let (rule, what) = match acked.batch == batch {
                true => (Rule::AckIgnored, format!("batch {id}")),
                false => (Rule::Resent, format!("batch {id} has event {event} of one")),
            };
            found.push((rule, format!("{what} that was acknowledged {seconds} s ago")));
        }
    }

    /// A batch of this session was acknowledged, and nothing went wrong on the way out.
    pub(crate) fn acked(&mut self, frame: &Frame, now: Timestamp) {
        let (batch, mut events) = traces(frame);
        events.truncate(MAX_EVENTS);
        if events.is_empty() {
            return;
        }
        self.remembered += events.len();
        self.acked.push_back(Acked { at: now, batch, events });
        while self.remembered > MAX_EVENTS
            && let Some(oldest) = self.acked.pop_front()
        {
            self.remembered -= oldest.events.len();
        }
    }
}

fn traces(frame: &Frame) -> (Trace, Vec<Trace>) {
    let events = frame.payload().and_then(|payload| payload.get("events")).and_then(Value::as_array);
    let ids = events.unwrap_or_default().iter().filter_map(|event| event.get("id").and_then(Value::as_str));
    (trace(frame.id().unwrap_or_default()), ids.map(trace).collect())
}

fn trace(text: &str) -> Trace {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_micros(1_800_000_000_000_000 + seconds * 1_000_000)
    }

    fn frame(text: &str) -> Frame {
        Frame::parse(text.as_bytes()).unwrap()
    }

    fn batch(seq: u64, id: &str, event: &str) -> Frame {
        frame(&format!(
            r#"{{"v":2,"type":"event_batch","id":"{id}","seq":{seq},"payload":{{"events":[{{"id":"{event}"}}]}}}}"#
        ))
    }

    fn rules(found: Vec<Found>) -> Vec<Rule> {
        found.into_iter().map(|(rule, _)| rule).filter(|rule| !rule.info().strict_only).collect()
    }

    #[test]
    fn what_was_acknowledged_must_not_come_again() {
        let mut conduct = Conduct::new(false, true);
        let first = batch(1, "b1", "e1");
        assert_eq!(rules(conduct.judge(&first, at(0))), []);
        // Not acknowledged, or only just: it may come again.
        assert_eq!(rules(conduct.judge(&batch(2, "b1", "e1"), at(9))), []);
        conduct.acked(&first, at(10));
        assert_eq!(rules(conduct.judge(&batch(3, "b1", "e1"), at(12))), []);
        assert_eq!(rules(conduct.judge(&batch(4, "b1", "e1"), at(15))), [Rule::AckIgnored]);
        assert_eq!(rules(conduct.judge(&batch(5, "b2", "e1"), at(15))), [Rule::Resent]);
        assert_eq!(rules(conduct.judge(&batch(6, "b2", "e2"), at(15))), []);
        for number in 0..MAX_EVENTS {
            conduct.acked(&batch(7, "x", &format!("x{number}")), at(16));
        }
        assert_eq!(conduct.remembered, MAX_EVENTS);
        assert_eq!(rules(conduct.judge(&batch(8, "b1", "e1"), at(90))), []);
    }

    #[test]
    fn a_wrong_secret_is_the_operators() {
        let mut conduct = Conduct::new(true, true);
        let rule = |conduct: &Conduct, reason: Reason| conduct.refused(reason.into()).map(|(rule, _)| rule);
        assert_eq!(rule(&conduct, Reason::HmacMismatch), None);
        assert_eq!(rule(&conduct, Reason::TsSkew), None);
        assert_eq!(rule(&conduct, Reason::TypeUnknown), Some(Rule::FrameMalformed));
        conduct.judge(&batch(1, "b", "e"), at(0));
        assert_eq!(rule(&conduct, Reason::HmacMismatch), Some(Rule::FrameSignature));
        assert_eq!(rule(&conduct, Reason::SeqNotIncreasing), Some(Rule::FrameSeq));
    }
}
