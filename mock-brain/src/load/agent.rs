//! One simulated agent: it connects, sends its share, counts what is acknowledged, and says farewell.
//!
//! Owns its pace and its window. A batch is due by the clock and not by the answers, and its acknowledgement
//! is timed from when it was due, so that a brain that stalls shows in the latency of all that waited.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use z4j_protocol::payload::{AgentStatus, Heartbeat};
use z4j_protocol::{CanonicalText, Frame, FrameType, PROTOCOL_VERSION_TEXT, Value};

use super::events::{Events, MAX_EVENT_BYTES};
use super::session::{Reason, Session};
use super::{CONNECT, DRAIN, Phase, Rate, Shared};
use crate::clock;

/// Room in a frame for what is not events.
const HEAD_BYTES: usize = 2 << 10;
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// A batch whose acknowledgement is to come.
struct Waiting {
    id: u64,
    due: Instant,
    events: usize,
}

struct Agent<'s> {
    shared: &'s Shared,
    session: Session,
    events: Events,
    /// Time between batches; none for as fast as they are acknowledged, or for no batches at all.
    period: Option<Duration>,
    batch: usize,
    sent: u64,
    waiting: VecDeque<Waiting>,
    next_batch: Option<Instant>,
    next_heartbeat: Option<Instant>,
    heartbeat: Duration,
}

/// Lives one agent's life.
pub(super) async fn run(shared: Arc<Shared>, index: usize) {
    let Ok(permit) = shared.connecting.acquire().await else { return };
    let identity = &shared.identities[index % shared.identities.len()];
    let worker = format!("load-{}-{index}", shared.run);
    let begun = Instant::now();
    let opened = timeout(CONNECT, Session::open(&shared.target, identity, &worker)).await;
    drop(permit);
    let session = match opened {
        Ok(Ok(session)) => session,
        Ok(Err(reason)) => return shared.stats.refused(&reason),
        Err(_) => return shared.stats.refused("connecting took too long"),
    };
    shared.stats.connected(begun.elapsed());
    let mut agent = Agent::new(&shared, session, index);
    let phase = shared.phase.subscribe();
    let ended = agent.live(phase, index).await;
    shared.stats.ended(agent.waiting.iter().map(|batch| batch.events as u64).sum(), ended.as_ref().err());
    if ended.is_ok() {
        let _ = timeout(FAREWELL, agent.session.close()).await;
    }
}

impl<'s> Agent<'s> {
    fn new(shared: &'s Shared, session: Session, index: usize) -> Self {
        let plan = &shared.plan;
        let room = usize::try_from(session.ack.max_frame_bytes()).unwrap_or(usize::MAX);
        let most = room.saturating_sub(HEAD_BYTES) / MAX_EVENT_BYTES;
        let batch = plan.paced_batch().min(most).max(1);
        let period = match plan.rate {
            Rate::PerSecond(rate) if rate > 0.0 => {
                let period = batch as f64 * plan.agents as f64 / rate;
                Duration::try_from_secs_f64(period).ok()
            }
            _ => None,
        };
        let heartbeat = match plan.heartbeat {
            super::Heartbeat::AsTold => Duration::from_secs(session.ack.heartbeat_seconds()),
            super::Heartbeat::Every(time) => time,
            super::Heartbeat::Never => Duration::MAX,
        };
        Self {
            events: Events::new(&shared.run, index),
            shared,
            session,
            period,
            batch,
            sent: 0,
            waiting: VecDeque::new(),
            next_batch: None,
            next_heartbeat: (heartbeat != Duration::MAX).then(Instant::now),
            heartbeat,
        }
    }

    async fn live(&mut self, mut phase: watch::Receiver<Phase>, index: usize) -> Result<(), Reason> {
        let mut end = None;
        loop {
            match *phase.borrow_and_update() {
                Phase::Connecting => {}
                Phase::Sending(start) if self.next_batch.is_none() => {
                    self.next_batch = self.first(start, index);
                }
                Phase::Sending(_) => {}
                Phase::Ending if self.waiting.is_empty() => return Ok(()),
                Phase::Ending => {
                    self.next_batch = None;
                    end.get_or_insert_with(|| Instant::now() + DRAIN);
                }
            }
            self.send_due().await?;
            let due = self.next_batch.filter(|_| self.waiting.len() < self.shared.plan.window);
            tokio::select! {
                frame = self.session.next() => self.heard(&frame?),
                changed = phase.changed() => if changed.is_err() { return Ok(()) },
                () = until(due) => {}
                () = until(self.next_heartbeat) => self.heartbeat().await?,
                () = until(end) => return Ok(()),
            }
        }
    }

    /// When the first batch is due: once the rate has earned it, one agent after the other.
    fn first(&self, start: Instant, index: usize) -> Option<Instant> {
        match (self.shared.plan.rate, self.period) {
            (Rate::Max, _) => Some(start),
            (_, Some(period)) => {
                let share = (index + 1) as f64 / self.shared.plan.agents as f64;
                start.checked_add(period.mul_f64(share))
            }
            _ => None,
        }
    }

    /// Sends what is due, as far as the window lets it.
    async fn send_due(&mut self) -> Result<(), Reason> {
        while let Some(due) = self.next_batch
            && self.waiting.len() < self.shared.plan.window
        {
            let now = Instant::now();
            if due > now {
                break;
            }
            // Without a pace a batch is due when there is room for it.
            let due = if self.period.is_some() { due } else { now };
            self.next_batch = self.period.map_or(Some(now), |period| due.checked_add(period));
            self.sent += 1;
            let payload = self.events.batch(self.batch, clock::now());
            self.shared.stats.sent(self.batch as u64);
            self.waiting.push_back(Waiting { id: self.sent, due, events: self.batch });
            self.session.send(FrameType::EventBatch, &format!("ev_{}", self.sent), &payload).await?;
        }
        Ok(())
    }

    async fn heartbeat(&mut self) -> Result<(), Reason> {
        self.next_heartbeat = Instant::now().checked_add(self.heartbeat);
        let text = |error: serde_json::Error| error.to_string();
        let buffered = self.waiting.iter().map(|batch| batch.events as u64).sum();
        let heartbeat = Heartbeat { buffer_size: buffered, ..Heartbeat::default() };
        let heartbeat = CanonicalText::from_serialize(&heartbeat).map_err(text)?;
        self.session.send(FrameType::Heartbeat, "hb_load", &heartbeat).await?;
        let status = AgentStatus {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol_version: PROTOCOL_VERSION_TEXT.to_owned(),
            engines: vec!["celery".to_owned()],
            buffer_depth: buffered,
            ..AgentStatus::default()
        };
        let status = CanonicalText::from_serialize(&status).map_err(text)?;
        self.session.send(FrameType::AgentStatus, "st_load", &status).await?;
        self.shared.stats.heartbeat();
        Ok(())
    }

    fn heard(&mut self, frame: &Frame) {
        let text = |key| frame.payload().and_then(|payload| payload.get(key)).and_then(Value::as_str);
        match frame.frame_type() {
            FrameType::EventBatchAck => {
                let id = text("acked_id").and_then(|id| id.strip_prefix("ev_")?.parse().ok());
                let at = self.waiting.iter().position(|batch| Some(batch.id) == id);
                let Some(batch) = at.and_then(|at| self.waiting.remove(at)) else {
                    return self.shared.stats.odd("an acknowledgement of nothing");
                };
                let accepted = frame.payload().and_then(|payload| payload.get("accepted"));
                let accepted = accepted.and_then(Value::as_u64).unwrap_or_default();
                self.shared.stats.acked(batch.events as u64, accepted, batch.due.elapsed());
            }
            FrameType::Error => {
                let code = text("code").unwrap_or("without a code");
                let code: String = code.chars().filter(|c| !c.is_control()).take(60).collect();
                self.shared.stats.odd(&format!("error frame: {code}"));
            }
            FrameType::Command => self.shared.stats.odd("a command, which nobody carries out here"),
            other => self.shared.stats.odd(&format!("a frame of type {other}")),
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
