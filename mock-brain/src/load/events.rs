//! The events of one simulated agent: each of a task of its own, about 210 bytes, canonical as they are made.
//!
//! Owns their text. Keys stand in canonical order and no value needs an escape, so that a batch is signed
//! without being parsed.

use std::fmt::Write;

use uuid::{Builder, Uuid};
use z4j_protocol::{CanonicalText, Timestamp};

/// Room for one event, and more than any takes.
pub(super) const MAX_EVENT_BYTES: usize = 320;

/// What makes events.
pub(super) struct Events {
    /// What the ids of its tasks begin with.
    prefix: String,
    id: u128,
    count: u64,
}

impl Events {
    pub(super) fn new(run: &str, agent: usize) -> Self {
        let id = u128::from_ne_bytes(crate::random::bytes());
        Self { prefix: format!("load-{run}-{agent}-"), id, count: 0 }
    }

    /// The payload of a batch.
    pub(super) fn batch(&mut self, size: usize, now: Timestamp) -> CanonicalText {
        let occurred_at = now.to_string();
        let mut out = String::with_capacity(16 + size * MAX_EVENT_BYTES);
        out.push_str("{\"events\":[");
        for nth in 0..size {
            if nth > 0 {
                out.push(',');
            }
            self.event(&mut out, &occurred_at);
        }
        out.push_str("]}");
        CanonicalText::kept(out)
    }

    fn event(&mut self, out: &mut String, occurred_at: &str) {
        self.count += 1;
        self.id = self.id.wrapping_add(1);
        let id = Builder::from_random_bytes(self.id.to_be_bytes()).into_uuid();
        let mut id_text = Uuid::encode_buffer();
        let id_text = id.hyphenated().encode_lower(&mut id_text);
        out.push_str("{\"data\":{\"queue\":\"load\",\"runtime_ms\":12.75,\"task_name\":\"load.tasks.add\"},");
        out.push_str("\"engine\":\"celery\",\"id\":\"");
        out.push_str(id_text);
        out.push_str("\",\"kind\":\"task.succeeded\",\"occurred_at\":\"");
        out.push_str(occurred_at);
        out.push_str("\",\"task_id\":\"");
        out.push_str(&self.prefix);
        // Writing to a text cannot fail.
        let _ = write!(out, "{}\"}}", self.count);
    }
}

#[cfg(test)]
mod tests {
    use z4j_protocol::Value;

    use super::*;

    #[test]
    fn a_batch_is_canonical_and_its_events_are_different() {
        let batch = Events::new("0a1b2c3d", 999_999).batch(3, Timestamp::from_unix_micros(1));
        let value = Value::parse(batch.as_str().as_bytes()).unwrap();
        assert_eq!(value.to_canonical().unwrap(), batch.as_str());
        let events = value.get("events").unwrap().as_array().unwrap();
        for key in ["id", "task_id"] {
            assert_ne!(events[0].get(key), events[1].get(key));
        }
        assert!(events.iter().all(|event| event.to_canonical().unwrap().len() <= MAX_EVENT_BYTES));
    }
}
