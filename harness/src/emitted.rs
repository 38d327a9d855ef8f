//! Events that scenarios hand to agents: made from the seed, and remembered.
//!
//! Owns their text and their ids. Must not know how they get to an agent.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::json;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::scenario::Emit;

/// How long ago events of one task begin: each is a second later, since a brain tells them apart by that.
const BEGIN: Duration = Duration::days(30);

/// Events made so far.
#[derive(Debug, Default)]
pub(crate) struct Emitted {
    made: u64,
    of_one_task: i64,
    /// Ids of those that an agent took.
    pub(crate) accepted: BTreeSet<String>,
}

/// Events as JSON, one a line.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) text: String,
    pub(crate) ids: Vec<String>,
}

impl Emitted {
    /// Makes the events of a step.
    pub(crate) fn make(&mut self, emit: &Emit, seed: u64, now: OffsetDateTime) -> Lines {
        let mut lines = Lines { text: String::new(), ids: Vec::new() };
        let padding = "x".repeat(emit.size);
        for _ in 0..emit.count {
            self.made += 1;
            let id = uuid(seed, self.made);
            let mut event = json!({
                "id": id,
                "kind": emit.kind,
                "engine": emit.engine,
                "data": { "number": self.made, "padding": padding },
            });
            if let Some(task) = &emit.task_id {
                self.of_one_task += 1;
                let second = now - BEGIN + Duration::seconds(self.of_one_task);
                event["task_id"] = task.as_str().into();
                // Years with more than four digits do not come.
                event["occurred_at"] = second.format(&Rfc3339).unwrap_or_default().into();
            } else if emit.kind.starts_with("task.") {
                event["task_id"] = format!("task-{seed:x}-{}", self.made).into();
            }
            // Writing to a text does not fail.
            let _ = writeln!(lines.text, "{event}");
            lines.ids.push(id);
        }
        lines
    }
}

impl Lines {
    /// The events of a file.
    pub(crate) fn of_file(text: String) -> Self {
        let id = |line: &str| {
            let event: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(event.get("id")?.as_str()?.to_owned())
        };
        Self { ids: text.lines().filter_map(id).collect(), text }
    }
}

/// A version 4 UUID (RFC 9562, 5.4) of a number.
fn uuid(seed: u64, number: u64) -> String {
    let high = mix(seed ^ mix(number));
    let low = mix(high ^ number);
    let (first, second, third) = (high >> 32, high >> 16 & 0xffff, high & 0xfff);
    let (fourth, last) = (low >> 48 & 0x3fff | 0x8000, low & 0xffff_ffff_ffff);
    format!("{first:08x}-{second:04x}-4{third:03x}-{fourth:04x}-{last:012x}")
}

/// SplitMix64's finaliser: a bijection that leaves no pattern.
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Verdict;

    fn emit(task_id: Option<&str>) -> Emit {
        Emit {
            count: 3,
            kind: "task.succeeded".to_owned(),
            engine: "celery".to_owned(),
            task_id: task_id.map(str::to_owned),
            size: 0,
            rate: None,
            file: None,
            expect: Verdict::Accepted,
        }
    }

    #[test]
    fn a_seed_gives_the_same_events_and_no_event_twice() {
        let make = |seed, task_id| {
            let mut emitted = Emitted::default();
            let emit = emit(task_id);
            let mut both = emitted.make(&emit, seed, OffsetDateTime::UNIX_EPOCH);
            let more = emitted.make(&emit, seed, OffsetDateTime::UNIX_EPOCH);
            both.ids.extend(more.ids);
            both.text.push_str(&more.text);
            both
        };
        let one = make(7, Some("t"));
        assert_eq!(one.text, make(7, Some("t")).text);
        let times: BTreeSet<_> = one.text.lines().map(|line| line.split("occurred_at").nth(1)).collect();
        assert_eq!((times.len(), one.ids.iter().collect::<BTreeSet<_>>().len()), (6, 6));
        assert_ne!(one.ids, make(8, None).ids);
    }
}
