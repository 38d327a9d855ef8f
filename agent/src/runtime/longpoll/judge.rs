//! What the answers to a session's requests lead to.

use std::time::Duration;

use tokio::time::Instant;
use z4j_protocol::FrameType;
use z4j_protocol::payload::{Command, SCHEDULER_UPGRADE};

use super::super::failure::Failure;
use super::body::{Control, Posted, room};
use super::session::Session;
use super::size::SMALLEST;
use super::suspicion::Advice;
use crate::buffer::Loss;
use crate::commands::shortened;
use crate::net::http::Answer;
use crate::status::FailureClass;
use crate::transport::longpoll::RoundTrip;
use crate::transport::session::{Event, Stage};

/// How often in a row a POST may be answered without everything being accepted.
const MAX_STALLS: u32 = 20;
/// The waits after such answers, in milliseconds; the last one stays.
const STALL_WAITS: [u64; 5] = [500, 1_000, 2_000, 4_000, 5_000];
/// The wait before a refused body is sent again.
const REFUSAL_WAIT: Duration = Duration::from_millis(200);
/// The distance of requests for commands to a brain that does not wait.
const POLL_DISTANCE: Duration = Duration::from_millis(500);
/// Most frames that are looked at in one answer.
const MAX_FRAMES: usize = 500;

impl Session<'_> {
    pub(super) async fn judge_post(&mut self, answer: &Answer, posted: &Posted) -> Result<(), Failure> {
        match answer.status {
            200 => self.accepted(answer, posted).await,
            // Nothing smaller can be sent, and no event is to blame for that.
            413 if posted.bytes <= SMALLEST => Err(self.refused(Some(answer), answer)),
            413 => {
                self.memory.sizes.refused(posted.bytes, Instant::now());
                let smallest = self.memory.sizes.limit() >= posted.bytes;
                let advice = self.suspicion.too_large(posted, smallest);
                self.follow(advice, true).await;
                Ok(())
            }
            415 | 422 => {
                let wanted = self.outbox.controls.front().is_some_and(|control| control.is_stored);
                let advice = self.suspicion.refused(posted, wanted);
                self.follow(advice, false).await;
                Ok(())
            }
            _ => Err(self.refused(Some(answer), answer)),
        }
    }

    /// Everything counted as accepted is settled; anything less settles nothing.
    async fn accepted(&mut self, answer: &Answer, posted: &Posted) -> Result<(), Failure> {
        let body = answer.json().unwrap_or_default();
        if body["error_code"].as_str() == Some(SCHEDULER_UPGRADE) {
            let words = "the brain takes schedule events of a later agent only";
            return Err(Failure::uncoded(FailureClass::Protocol, words));
        }
        if body["accepted"].as_u64() != u64::try_from(posted.frames).ok() {
            return self.stalled(&body["accepted"], posted);
        }
        self.stalls = 0;
        if !self.memory.has_accepted(&self.link.secret) {
            self.memory.accepted = Some(self.link.secret.clone());
        }
        self.memory.sizes.passed(posted.bytes, posted.is_full, Instant::now());
        self.suspicion.passed(posted);
        let controls: Vec<Control> = self.outbox.controls.drain(..posted.controls).collect();
        let has_told = controls.iter().any(|control| control.kind == FrameType::Heartbeat);
        // A later heartbeat that still waits would tell of more.
        if has_told && self.told != Loss::default() && !self.outbox.controls.iter().any(Control::is_passing) {
            self.link.buffer.reported(self.told).await;
        }
        let settled = controls.into_iter().filter(|control| control.is_stored).map(|control| control.id);
        let settled: Vec<String> = settled.collect();
        self.carried.retain(|id| !settled.contains(id));
        if !settled.is_empty() {
            self.link.buffer.settle_results(settled).await;
        }
        let rows: Vec<i64> = self.outbox.rows.drain(..posted.events).map(|row| row.id).collect();
        if let (Some(first), Some(last)) = (rows.first(), rows.last()) {
            self.link.buffer.settle(*first, *last).await;
            self.progress.settled(rows.len() as u64);
        }
        self.progress.proved();
        Ok(())
    }

    fn stalled(&mut self, accepted: &serde_json::Value, posted: &Posted) -> Result<(), Failure> {
        let words = format!("the brain accepts {accepted} of {} frames", posted.frames);
        self.stalls += 1;
        if self.stalls >= MAX_STALLS {
            let words = format!("{words}, {MAX_STALLS} times in a row");
            return Err(Failure::uncoded(FailureClass::Connection, words));
        }
        tracing::debug!("{words}; they are sent again");
        let index = usize::try_from(self.stalls - 1).unwrap_or(usize::MAX).min(STALL_WAITS.len() - 1);
        self.post_after = Some(Instant::now() + Duration::from_millis(STALL_WAITS[index]));
        Ok(())
    }

    async fn follow(&mut self, advice: Advice, for_size: bool) {
        match advice {
            Advice::Less => {}
            Advice::Again => self.post_after = Some(Instant::now() + REFUSAL_WAIT),
            Advice::DropFrame => self.drop_frame(for_size).await,
            Advice::DropEvent => {
                if let Some(row) = self.outbox.rows.pop_front() {
                    tracing::warn!(
                        "an event of {} bytes is dropped: the brain refuses it",
                        row.text.as_str().len()
                    );
                    self.link.buffer.reject(row.id).await;
                }
            }
        }
    }

    /// Gives the first frame up. A result that is too large is cut first, until there is nothing left to cut.
    async fn drop_frame(&mut self, for_size: bool) {
        let Some(mut control) = self.outbox.controls.pop_front() else { return };
        if control.kind != FrameType::CommandResult {
            tracing::debug!("the brain refuses a frame of type {}; it is dropped", control.kind);
            return;
        }
        let smaller = shortened(control.payload.clone(), room(self.memory.sizes.limit()));
        if for_size && smaller.as_str().len() < control.payload.as_str().len() {
            control.payload = smaller;
            self.outbox.controls.push_front(control);
            return;
        }
        tracing::warn!("the brain refuses the result of command {}; it is dropped", control.id);
        self.carried.remove(&control.id);
        if control.is_stored {
            self.link.buffer.reject_result(control.id).await;
        }
    }

    pub(super) async fn judge_poll(&mut self, answer: &Answer) -> Result<(), Failure> {
        let frames = answer.json().and_then(|body| body.get("frames")?.as_array().cloned());
        match (answer.status, frames) {
            (200, Some(frames)) => {
                if frames.is_empty() && self.polled_at.elapsed() < POLL_DISTANCE {
                    self.poll_after = Some(Instant::now() + POLL_DISTANCE);
                }
                self.memory.waited(Instant::now());
                for frame in frames.iter().take(MAX_FRAMES) {
                    self.frame(frame.as_str().unwrap_or_default()).await?;
                }
                Ok(())
            }
            // A proxy waits for less long than we do.
            (504 | 408, _) if self.memory.wait > 1 => {
                self.memory.was_hurried(Instant::now());
                tracing::debug!("{} to a waiting request: {} s from now on", answer.status, self.memory.wait);
                Ok(())
            }
            _ => Err(self.refused(None, answer)),
        }
    }

    pub(super) async fn frame(&mut self, text: &str) -> Result<(), Failure> {
        match self.signed.read(text.as_bytes()) {
            Ok(Event::Command { id, command }) => {
                if !self.stopping {
                    self.command(&id, command).await;
                }
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(end) => {
                let stage = if self.progress.is_proved() { Stage::Online } else { Stage::Batch };
                let diagnosis = self.link.patient().ended(&self.journey, None, stage, end);
                Err(Failure::connection(diagnosis))
            }
        }
    }

    async fn command(&mut self, id: &str, command: Command) {
        self.outbox.controls.push_back(Control::new(FrameType::CommandAck, id.to_owned(), command.ack()));
        if let Some(known) = self.link.dispatcher.take(id, command).await {
            self.outbox.controls.push_back(Control::result(known, false, self.memory.sizes.limit()));
        }
    }

    /// A status that ends the session, by the words of the doctor.
    fn refused(&mut self, batch: Option<&Answer>, answer: &Answer) -> Failure {
        // Whose frames were taken is forgotten at most; if the next session is refused too, something is wrong.
        let is_forgotten = answer.status == 409 && self.memory.has_accepted(&self.link.secret);
        if is_forgotten {
            self.memory.accepted = None;
        }
        let round_trip = match batch {
            Some(batch) => {
                // Its time is not now's.
                let mut probe = self.probe.clone();
                probe.headers.retain(|(name, _)| name != "date");
                RoundTrip { probe: Ok(probe), batch: Some(Ok(batch.clone())) }
            }
            None => RoundTrip { probe: Ok(answer.clone()), batch: None },
        };
        let diagnosis = self.link.patient().failed_longpoll(&self.journey, round_trip);
        if is_forgotten && diagnosis.code != Some("ws.clock-skew") {
            let words = "the brain has forgotten the session (409)";
            return Failure::uncoded(FailureClass::Connection, words);
        }
        Failure::answered(answer, diagnosis)
    }
}
