//! What came of a run, as text and as JSON.
//!
//! Owns the words and units. The fields of the JSON are an interface: microseconds and events a second.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

/// Latencies, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

/// A part of the run.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Slice {
    /// When it ended, from when sending began.
    pub(crate) seconds: f64,
    pub(crate) events_per_second: f64,
    /// Agents online at its end.
    pub(crate) agents: u64,
    /// Of the acknowledgements in it.
    pub(crate) latency: Option<Latency>,
}

/// What came of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) url: String,
    pub(crate) agents: u64,
    /// None for as many as are acknowledged.
    pub(crate) wanted_events_per_second: Option<f64>,
    pub(crate) batch: u64,
    pub(crate) duration_seconds: f64,
    pub(crate) connected: u64,
    pub(crate) connects_per_second: f64,
    /// From the first byte to hello_ack.
    pub(crate) connect_latency: Option<Latency>,
    pub(crate) sent: u64,
    /// Events of acknowledged batches.
    pub(crate) acked: u64,
    /// Those of them that were new to the brain.
    pub(crate) accepted: u64,
    /// Sent and not acknowledged when it was over.
    pub(crate) unacked: u64,
    /// Over the time in which batches were sent, and to the last acknowledgement where that came later.
    pub(crate) events_per_second: f64,
    /// From when a batch was due to its acknowledgement.
    pub(crate) ack_latency: Option<Latency>,
    pub(crate) heartbeats: u64,
    /// Why agents were not let in.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Why sessions ended before the run did.
    pub(crate) ended: BTreeMap<String, u64>,
    /// What the brain said beside acknowledgements.
    pub(crate) odd: BTreeMap<String, u64>,
    pub(crate) slices: Vec<Slice>,
}

impl Report {
    /// Whether something came through: events, or where none were wanted, agents.
    pub(crate) fn came_through(&self) -> bool {
        if self.wanted_events_per_second == Some(0.0) { self.connected > 0 } else { self.acked > 0 }
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, text: &str| _ = writeln!(out, "{name:<11} {text}");
        line("brain", &self.url);
        let took = self.connect_latency.map_or_else(String::new, |latency| format!("; {}", told(latency)));
        let rate = shown(self.connects_per_second);
        line("connects", &format!("{} of {}, {rate}/s{took}", grouped(self.connected), grouped(self.agents)));
        if self.sent > 0 {
            let others = self.acked - self.accepted;
            let others = if others > 0 { format!(", {} not new", grouped(others)) } else { String::new() };
            let lost = self.unacked;
            let lost = if lost > 0 { format!(", {} not acked", grouped(lost)) } else { String::new() };
            let rate = shown(self.events_per_second);
            line("events", &format!("{} acked, {rate}/s{others}{lost}", grouped(self.acked)));
        }
        if let Some(latency) = self.ack_latency {
            line("ack latency", &told(latency));
        }
        line("heartbeats", &grouped(self.heartbeats));
        for (name, reasons) in [("refused", &self.refused), ("ended", &self.ended), ("heard", &self.odd)] {
            for (reason, count) in reasons {
                line(name, &format!("{} x {reason}", grouped(*count)));
            }
        }
        out
    }
}

fn told(latency: Latency) -> String {
    let Latency { p50, p90, p99, max } = latency;
    let [p50, p90, p99, max] = [p50, p90, p99, max].map(millis);
    format!("p50 {p50}  p90 {p90}  p99 {p99}  max {max}")
}

/// A time of so many microseconds.
pub(super) fn millis(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{:.2} ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{:.0} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}

/// A rate: three digits or more of it.
pub(crate) fn shown(rate: f64) -> String {
    if rate < 100.0 { format!("{rate:.1}") } else { grouped(whole(rate)) }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is neither negative nor large"
)]
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            (grouped(0), grouped(999), grouped(1_234_567)),
            ("0".into(), "999".into(), "1,234,567".into())
        );
        assert_eq!((shown(3.123), shown(12_345.6)), ("3.1".into(), "12,346".into()));
        assert_eq!(
            (millis(1_230), millis(45_600), millis(2_500_000)),
            ("1.23 ms".into(), "46 ms".into(), "2.5 s".into())
        );
    }
}
