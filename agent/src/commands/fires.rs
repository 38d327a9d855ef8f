//! Fires of schedules that have been carried out: the brain may send one again under another command's id.
//!
//! Remembered in memory only; commands themselves are remembered in the buffer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use z4j_protocol::Value;
use z4j_protocol::payload::Command;

/// How long a fire is remembered.
const MEMORY: Duration = Duration::from_secs(300);
/// How many are.
const MOST: usize = 10_000;
/// Longest id that is remembered, in bytes; a longer one is nobody's.
const MAX_ID_BYTES: usize = 256;

/// What is known of a fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing; from now on it runs.
    New,
    /// It runs.
    Running,
    /// It succeeded not long ago.
    Done,
}

/// The fires of the last minutes.
#[derive(Debug, Default)]
pub(super) struct Fires(BTreeMap<String, Option<Instant>>);

impl Fires {
    /// The id of a command's fire, if it is one.
    pub(super) fn id(command: &Command) -> Option<String> {
        let actions = ["schedule.fire", "schedule.trigger_now", "schedule.trigger_now.via_scheduler"];
        let is_fire = actions.contains(&command.action.as_str());
        let id = command.parameters.get("fire_id").and_then(Value::as_str).filter(|_| is_fire)?;
        (!id.is_empty() && id.len() <= MAX_ID_BYTES).then(|| id.to_owned())
    }

    /// What is known of a fire; a new one is noted as running.
    pub(super) fn begin(&mut self, id: &str, now: Instant) -> Known {
        self.0.retain(|_, done| done.is_none_or(|done| now.saturating_duration_since(done) < MEMORY));
        match self.0.get(id) {
            Some(Some(_)) => Known::Done,
            Some(None) => Known::Running,
            None => {
                if self.0.len() >= MOST {
                    let oldest = self.0.iter().filter_map(|(id, done)| Some(((*done)?, id))).min();
                    let oldest = oldest.map(|(_, id)| id.clone());
                    oldest.map(|id| self.0.remove(&id));
                }
                self.0.insert(id.to_owned(), None);
                Known::New
            }
        }
    }

    /// Notes how a fire went. One that failed may run again.
    pub(super) fn end(&mut self, id: &str, succeeded: bool, now: Instant) {
        if succeeded {
            self.0.insert(id.to_owned(), Some(now));
        } else {
            self.0.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fire_runs_once_unless_it_failed() {
        let (mut fires, start) = (Fires::default(), Instant::now());
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(fires.begin("a", start), Known::New);
        assert_eq!(fires.begin("a", later(1_000)), Known::Running);
        fires.end("a", false, start);
        assert_eq!(fires.begin("a", start), Known::New);
        fires.end("a", true, start);
        assert_eq!(fires.begin("a", later(299)), Known::Done);
        assert_eq!(fires.begin("a", later(300)), Known::New);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut fires, now) = (Fires::default(), Instant::now());
        for n in 0..MOST + 10 {
            let id = n.to_string();
            fires.begin(&id, now);
            fires.end(&id, true, now);
        }
        assert!(fires.0.len() <= MOST);
    }
}
