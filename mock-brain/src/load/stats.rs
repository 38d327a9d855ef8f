//! What a run counts: connects, events, latencies, refusals by reason, and the curve over time.
//!
//! Owns the histograms (HdrHistogram, three digits, up to an hour) and the bound on how many reasons are told
//! apart. Must not format.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};
use tokio::time::Instant;

use super::report::{Latency, Report, Slice};
use super::{Plan, Rate};
use crate::lock::lock;

/// Longest latency that is told apart, in microseconds: an hour.
const MAX_MICROS: u64 = 3_600_000_000;
/// Most reasons; others are counted together.
const MAX_REASONS: usize = 64;

/// How a run is, for a line of progress.
#[derive(Clone, Debug, Default)]
pub(crate) struct Now {
    pub(crate) agents: usize,
    pub(crate) connected: u64,
    pub(crate) refused: u64,
    pub(crate) live: u64,
    pub(crate) sending: bool,
    pub(crate) elapsed: Duration,
    pub(crate) acked: u64,
    /// Of the last slice.
    pub(crate) events_per_second: f64,
    pub(crate) p99_micros: u64,
}

type Reasons = BTreeMap<String, u64>;

struct Inner {
    began: Instant,
    last_connect: Instant,
    connects: Histogram<u64>,
    connected: u64,
    live: u64,
    refused: Reasons,
    ended: Reasons,
    odd: Reasons,
    sending: Option<Instant>,
    last_ack: Option<Instant>,
    /// When the last batch had to be sent.
    sent_until: Option<Instant>,
    sent: u64,
    acked: u64,
    accepted: u64,
    unacked: u64,
    heartbeats: u64,
    all: Histogram<u64>,
    /// Of the slice that is being filled.
    current: Histogram<u64>,
    current_from: Instant,
    current_acked: u64,
    slices: Vec<Slice>,
}

/// The counts of one run.
pub(super) struct Stats {
    agents: usize,
    inner: Mutex<Inner>,
}

impl Stats {
    pub(super) fn new(agents: usize) -> Result<Self, CreationError> {
        let now = Instant::now();
        let inner = Inner {
            began: now,
            last_connect: now,
            connects: histogram()?,
            connected: 0,
            live: 0,
            refused: Reasons::new(),
            ended: Reasons::new(),
            odd: Reasons::new(),
            sending: None,
            last_ack: None,
            sent_until: None,
            sent: 0,
            acked: 0,
            accepted: 0,
            unacked: 0,
            heartbeats: 0,
            all: histogram()?,
            current: histogram()?,
            current_from: now,
            current_acked: 0,
            slices: Vec::new(),
        };
        Ok(Self { agents, inner: Mutex::new(inner) })
    }

    /// Whether every agent was let in or refused.
    pub(super) fn all_tried(&self) -> bool {
        let inner = lock(&self.inner);
        inner.connected + inner.refused.values().sum::<u64>() >= self.agents as u64
    }

    pub(super) fn connected(&self, took: Duration) {
        let mut inner = lock(&self.inner);
        inner.connects.saturating_record(micros(took));
        inner.connected += 1;
        inner.live += 1;
        inner.last_connect = Instant::now();
    }

    pub(super) fn refused(&self, reason: &str) {
        count(&mut lock(&self.inner).refused, reason);
    }

    /// An agent's session is over, and so many of its events were not acknowledged.
    pub(super) fn ended(&self, unacked: u64, reason: Option<&String>) {
        let mut inner = lock(&self.inner);
        inner.live -= 1;
        inner.unacked += unacked;
        if let Some(reason) = reason {
            count(&mut inner.ended, reason);
        }
    }

    /// Something that is not what an agent waits for.
    pub(super) fn odd(&self, what: &str) {
        count(&mut lock(&self.inner).odd, what);
    }

    pub(super) fn begin(&self, at: Instant) {
        let mut inner = lock(&self.inner);
        inner.sending = Some(at);
        inner.current_from = at;
    }

    /// No more batches are sent.
    pub(super) fn end(&self, at: Instant) {
        lock(&self.inner).sent_until = Some(at);
    }

    pub(super) fn sent(&self, events: u64) {
        lock(&self.inner).sent += events;
    }

    pub(super) fn acked(&self, events: u64, accepted: u64, took: Duration) {
        let mut inner = lock(&self.inner);
        inner.acked += events;
        inner.current_acked += events;
        inner.accepted += accepted.min(events);
        inner.all.saturating_record(micros(took));
        inner.current.saturating_record(micros(took));
        inner.last_ack = Some(Instant::now());
    }

    pub(super) fn heartbeat(&self) {
        lock(&self.inner).heartbeats += 1;
    }

    /// Ends a slice of the curve.
    pub(super) fn close_slice(&self, now: Instant) {
        let mut inner = lock(&self.inner);
        let Some(start) = inner.sending else { return };
        let width = now.saturating_duration_since(inner.current_from).as_secs_f64();
        if width <= 0.0 {
            return;
        }
        let slice = Slice {
            seconds: now.saturating_duration_since(start).as_secs_f64(),
            events_per_second: inner.current_acked as f64 / width,
            agents: inner.live,
            latency: latency(&inner.current),
        };
        inner.slices.push(slice);
        inner.current.reset();
        inner.current_acked = 0;
        inner.current_from = now;
    }

    pub(super) fn now(&self) -> Now {
        let inner = lock(&self.inner);
        let last = inner.slices.last();
        Now {
            agents: self.agents,
            connected: inner.connected,
            refused: inner.refused.values().sum(),
            live: inner.live,
            sending: inner.sending.is_some(),
            elapsed: inner.sending.unwrap_or(inner.began).elapsed(),
            acked: inner.acked,
            events_per_second: last.map_or(0.0, |slice| slice.events_per_second),
            p99_micros: last.and_then(|slice| slice.latency).map_or(0, |latency| latency.p99),
        }
    }

    pub(super) fn report(&self, plan: &Plan, url: String) -> Report {
        let inner = lock(&self.inner);
        let rate = |count: u64, span: Option<Duration>| {
            let seconds = span.unwrap_or_default().as_secs_f64();
            if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
        };
        let connecting = inner.last_connect.saturating_duration_since(inner.began);
        let sending = inner.sending.zip(inner.last_ack.max(inner.sent_until));
        let sending = sending.map(|(from, to)| to.saturating_duration_since(from));
        Report {
            url,
            agents: self.agents as u64,
            wanted_events_per_second: match plan.rate {
                Rate::PerSecond(rate) => Some(rate),
                Rate::Max => None,
            },
            batch: plan.paced_batch() as u64,
            duration_seconds: plan.duration.as_secs_f64(),
            connected: inner.connected,
            connects_per_second: rate(inner.connected, Some(connecting)),
            connect_latency: latency(&inner.connects),
            sent: inner.sent,
            acked: inner.acked,
            accepted: inner.accepted,
            unacked: inner.unacked,
            events_per_second: rate(inner.acked, sending),
            ack_latency: latency(&inner.all),
            heartbeats: inner.heartbeats,
            refused: inner.refused.clone(),
            ended: inner.ended.clone(),
            odd: inner.odd.clone(),
            slices: inner.slices.clone(),
        }
    }
}

/// An empty one.
fn histogram() -> Result<Histogram<u64>, CreationError> {
    Histogram::new_with_bounds(1, MAX_MICROS, 3)
}

fn latency(histogram: &Histogram<u64>) -> Option<Latency> {
    (!histogram.is_empty()).then(|| Latency {
        p50: histogram.value_at_quantile(0.5),
        p90: histogram.value_at_quantile(0.9),
        p99: histogram.value_at_quantile(0.99),
        max: histogram.max(),
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(MAX_MICROS).max(1)
}

fn count(reasons: &mut Reasons, reason: &str) {
    let known = reasons.contains_key(reason) || reasons.len() < MAX_REASONS;
    let reason = if known { reason } else { "other reasons" };
    *reasons.entry(reason.to_owned()).or_default() += 1;
}
