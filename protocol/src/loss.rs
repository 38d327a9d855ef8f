//! The shape of `telemetry_loss`, which a brain checks right after the signature (protocol.md, Signing).
//!
//! Owns the rule for inbound frames only; what an agent counts is `payload::TelemetryLoss`.

use crate::payload::LOSS_COUNTERS;
use crate::value::{Object, Value};

/// Largest counter: the last integer that a double holds exactly.
pub const MAX_COUNTER: u64 = (1 << 53) - 1;

/// Most engines that `adapter_events` may name.
pub const MAX_ADAPTERS: usize = 32;

/// Most characters of `buffer_id` and `runtime_id`.
pub const MAX_LOSS_ID_CHARS: usize = 64;

/// Whether a payload's `telemetry_loss` is absent, null, or of its shape.
pub(crate) fn is_acceptable(payload: &Object) -> bool {
    match payload.get("telemetry_loss") {
        None | Some(Value::Null) => true,
        Some(Value::Object(loss)) => is_shaped(loss),
        Some(_) => false,
    }
}

fn is_shaped(loss: &Object) -> bool {
    let id = |key| {
        let text = loss.get(key).and_then(Value::as_str);
        text.is_some_and(|text| (1..=MAX_LOSS_ID_CHARS).contains(&text.chars().count()))
    };
    let counter = |value: &Value| value.as_u64().is_some_and(|count| count <= MAX_COUNTER);
    let adapters = match loss.get("adapter_events") {
        None => true,
        Some(Value::Object(counts)) => {
            counts.len() <= MAX_ADAPTERS && counts.iter().all(|(_, value)| counter(value))
        }
        Some(_) => false,
    };
    id("buffer_id")
        && id("runtime_id")
        && LOSS_COUNTERS.iter().all(|key| loss.get(key).is_none_or(counter))
        && adapters
}
