//! A WebSocket session: everything that travels after hello_ack.
//!
//! One loop. Owns the deadlines (acks, pings, silence) and the order of what is sent. Must not connect.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use z4j_protocol::payload::{Command, EventBatchAck};
use z4j_protocol::{CanonicalText, FrameType, MAX_EVENTS_PER_BATCH, Timestamp};

use super::super::Link;
use super::super::ended::Ended;
use super::super::failure::{Failure, class_of_complaint, class_of_end};
use super::super::flow::{Flow, MAX_EVENTS};
use super::super::heartbeat::Reporter;
use super::super::instructions::{Instructions, Order};
use super::super::progress::Progress;
use super::super::reader::Reader;
use super::super::results::Results;
use super::super::window::Window;
use super::{FAREWELL, Memory, Opened, within};
use crate::buffer::{Loss, Row, StoredResult};
use crate::commands::{Room, shortened};
use crate::doctor::diagnosis::Journey;
use crate::net::budget::Budget;
use crate::status::FailureClass;
use crate::transport::frame_id;
use crate::transport::session::{End, Event, Signed, Stage, Welcome};
use crate::transport::websocket::{Incoming, Socket};
use crate::words::printable;

const _: () = assert!(MAX_EVENTS <= MAX_EVENTS_PER_BATCH);
/// Everything of a signed frame but its payload, in bytes, at most.
const ENVELOPE_BYTES: usize = 256;
/// A frame limit below this is not believed: every event would be thrown away for a brain's mistake.
const SMALLEST_FRAME: u64 = 4 * 1024;
/// The largest frame that is built of several events, in bytes.
const LARGEST_FRAME: usize = 1 << 20;
/// How long a batch may wait for its ack.
const ACK_DEADLINE: Duration = Duration::from_secs(90);
/// After what silence the peer is dead.
const SILENCE: Duration = Duration::from_secs(60);
/// How long one frame may take to be written.
const WRITE: Duration = Duration::from_secs(60);
/// How long a close frame is waited for after a write failed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How the loop ends.
enum Exit {
    /// The connection is gone.
    Gone(Failure),
    /// This side ends it.
    Left(Failure),
    /// By order.
    Ordered(Order),
}

struct Session<'a> {
    link: &'a Link,
    reporter: &'a Reporter,
    progress: &'a mut Progress,
    socket: Socket,
    signed: Signed,
    welcome: Welcome,
    journey: Journey,
    max_frame: usize,
    memory: &'a mut Memory,
    reader: Reader,
    window: Window,
    results: Results,
    finished: watch::Receiver<u64>,
    beat_at: Instant,
    ping_at: Instant,
    stopping: bool,
    /// Losses that a heartbeat told of, and how many batches had been sent before it.
    told: Option<(Loss, u64)>,
}

/// Runs a session to its end.
pub(in crate::runtime) async fn run(
    link: &Link,
    reporter: &Reporter,
    progress: &mut Progress,
    orders: &mut Instructions,
    memory: &mut Memory,
    opened: Opened,
) -> Ended {
    let Opened { socket, welcome, journey } = opened;
    progress.online("websocket", Some(&welcome.ack.brain_version), &welcome.binding());
    let max_frame = usize::try_from(welcome.ack.max_frame_bytes().max(SMALLEST_FRAME)).unwrap_or(usize::MAX);
    memory.flow.begin(max_frame.min(LARGEST_FRAME) - ENVELOPE_BYTES);
    let now = Instant::now();
    let mut session = Session {
        signed: Signed::new(&link.secret, welcome.binding(), link.clock()),
        reader: Reader::new(&link.buffer, memory.flow.limit()),
        window: Window::default(),
        results: Results::default(),
        finished: link.dispatcher.finished(),
        beat_at: now,
        ping_at: now + memory.pings.every(),
        told: None,
        stopping: orders.stop_at().is_some(),
        link,
        reporter,
        progress,
        socket,
        welcome,
        journey,
        max_frame,
        memory,
    };
    let exit = match session.converse(orders).await {
        Ok(never) => match never {},
        Err(exit) => exit,
    };
    if !matches!(exit, Exit::Gone(_)) {
        session.socket.close(&within(FAREWELL)).await;
    }
    match exit {
        Exit::Gone(failure) | Exit::Left(failure) => Ended::Failed(failure),
        Exit::Ordered(Order::Reconnect) => Ended::Reconnect,
        Exit::Ordered(Order::Stop) => Ended::Stopped,
    }
}

/// A conversation does not end well: every end is an [`Exit`].
enum Never {}

impl Session<'_> {
    async fn converse(&mut self, orders: &mut Instructions) -> Result<Never, Exit> {
        self.send_results().await?;
        loop {
            self.fill().await?;
            if self.stopping && self.is_flushed() {
                return Err(Exit::Ordered(Order::Stop));
            }
            let wake = self.next_deadline(orders);
            tokio::select! {
                incoming = self.socket.next() => self.take(incoming).await?,
                () = self.reader.ready(), if !self.reader.has_rows() => {}
                Ok(()) = self.finished.changed() => self.send_results().await?,
                () = sleep_until(wake) => self.tick(orders).await?,
                order = orders.next() => match order {
                    Order::Reconnect => return Err(Exit::Ordered(order)),
                    Order::Stop => {
                        self.stopping = true;
                        self.progress.stopping();
                        // What finished meanwhile may not have been heard of yet.
                        self.send_results().await?;
                    }
                },
            }
        }
    }

    /// Sends batches while there are events and room.
    async fn fill(&mut self) -> Result<(), Exit> {
        while self.reader.has_rows() {
            let (events, bytes) = self.reader.size();
            if !self.memory.flow.has_room(self.window.load(), events, bytes) {
                break;
            }
            let rows = self.reader.take();
            self.send_events(rows).await?;
        }
        self.reader.set_limit(self.memory.flow.limit());
        if Flow::has_place(self.window.load()) && self.results.lack_a_batch(self.window.sent()) {
            // Results that nothing follows are proved by a batch without events.
            self.send_batch(&CanonicalText::event_batch([]), None, (0, 0)).await?;
        }
        Ok(())
    }

    async fn send_events(&mut self, rows: Vec<Row>) -> Result<(), Exit> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        let (places, only) = ((first.id, last.id), rows.len() == 1);
        let payload = CanonicalText::event_batch(rows.iter().map(|row| row.text.as_str()));
        if only && payload.as_str().len() + ENVELOPE_BYTES > self.max_frame {
            let size = payload.as_str().len();
            tracing::warn!(
                "an event of {size} bytes is dropped: the brain takes frames of {} bytes at most",
                self.max_frame
            );
            self.link.buffer.reject(places.0).await;
            return Ok(());
        }
        self.send_batch(&payload, Some(places), (rows.len(), payload.as_str().len())).await
    }

    async fn send_batch(
        &mut self,
        payload: &CanonicalText,
        rows: Option<(i64, i64)>,
        size: (usize, usize),
    ) -> Result<(), Exit> {
        let id = frame_id("batch");
        let frame = self.signed.text(FrameType::EventBatch, &id, payload);
        self.window.push(id, rows, size, Instant::now());
        if rows.is_some() {
            self.memory.flow.sent();
        }
        self.progress.unacked(self.window.load().batches);
        self.send(frame).await
    }

    /// Sends the results that this connection has not carried yet.
    async fn send_results(&mut self) -> Result<(), Exit> {
        let stored = self.link.buffer.unsettled_results().await;
        for result in self.results.unsent(stored) {
            let id = result.command_id.clone();
            self.send_result(result).await?;
            self.results.sent(id, self.window.sent());
        }
        Ok(())
    }

    async fn send_result(&mut self, result: StoredResult) -> Result<(), Exit> {
        let payload = shortened(result.payload, Room::Plain(self.max_frame - ENVELOPE_BYTES));
        let frame = self.signed.text(FrameType::CommandResult, &result.command_id, &payload);
        self.send(frame).await
    }

    async fn send(&mut self, frame: String) -> Result<(), Exit> {
        let Err(broken) = self.socket.send(frame, &within(WRITE)).await else { return Ok(()) };
        // A brain that closes may do so before it reads; its close frame says more than the failed write.
        // All of them together: one that goes on talking is not to hold this up.
        let patience = Budget::new(LAST_WORDS, LAST_WORDS);
        let words = loop {
            match self.socket.receive(&patience).await {
                Incoming::Message(_) => {}
                Incoming::Closed { code, reason } => break End::Closed { code, reason },
                Incoming::Broken(_) => break End::Broken(broken),
            }
        };
        Err(Exit::Gone(self.ended(words)))
    }

    fn ended(&self, end: End) -> Failure {
        let class = class_of_end(&end);
        let stage = if self.progress.is_proved() { Stage::Online } else { Stage::Batch };
        // A clock that was set since then: when the brain told its time, by this clock as it is now.
        let age = i64::try_from(self.progress.online_at().elapsed().as_micros()).unwrap_or(i64::MAX);
        let then = self.link.clock().now().unix_micros().saturating_sub(age);
        let welcome = Welcome { received_at: Timestamp::from_unix_micros(then), ..self.welcome.clone() };
        let diagnosis = self.link.patient().ended(&self.journey, Some(&welcome), stage, end);
        Failure::of(class, diagnosis)
    }

    async fn take(&mut self, incoming: Incoming) -> Result<(), Exit> {
        let bytes = match incoming {
            Incoming::Message(bytes) => bytes,
            Incoming::Closed { code, reason } => {
                return Err(Exit::Gone(self.ended(End::Closed { code, reason })));
            }
            Incoming::Broken(broken) => {
                self.memory.pings.cut(&broken, self.socket.heard_at().elapsed());
                return Err(Exit::Gone(self.ended(End::Broken(broken))));
            }
        };
        match self.signed.read(&bytes).map_err(|end| Exit::Left(self.ended(end)))? {
            Event::BatchAck(ack) => self.settle(&ack).await,
            Event::Command { id, command } => self.command(&id, command).await?,
            Event::Error(complaint) => {
                let words = format!(
                    "the brain complains of {}: {}",
                    printable(complaint.code.as_bytes(), 80),
                    printable(complaint.message.as_bytes(), 200)
                );
                if complaint.fatal {
                    return Err(Exit::Left(Failure::uncoded(class_of_complaint(&complaint.code), words)));
                }
                tracing::debug!("{words}");
            }
            Event::Other => {}
        }
        Ok(())
    }

    /// Any ack settles its batch, whatever the counts say.
    async fn settle(&mut self, ack: &EventBatchAck) {
        let waiting = self.window.load();
        let Some(batch) = self.window.ack(&ack.acked_id) else { return };
        if let Some((first, last)) = batch.rows {
            self.memory.flow.acked(batch.ordinal, batch.sent_at.elapsed(), waiting, self.window.sent());
            self.link.buffer.settle(first, last).await;
        }
        self.progress.settled(batch.events as u64);
        self.progress.unacked(self.window.load().batches);
        let results = self.results.acked(batch.ordinal);
        if !results.is_empty() {
            self.link.buffer.settle_results(results).await;
        }
        // As with results: what was sent before an acked batch has arrived.
        if let Some((loss, _)) = self.told.take_if(|(_, before)| *before < batch.ordinal)
            && loss != Loss::default()
        {
            self.link.buffer.reported(loss).await;
        }
        self.progress.proved();
    }

    async fn command(&mut self, id: &str, command: Command) -> Result<(), Exit> {
        if self.stopping {
            // It could not be finished; the brain gives it to another worker, or lets it time out.
            return Ok(());
        }
        let frame = self.signed.text(FrameType::CommandAck, id, &command.ack());
        self.send(frame).await?;
        match self.link.dispatcher.take(id, command).await {
            Some(known) => self.send_result(known).await,
            None => Ok(()),
        }
    }

    fn is_flushed(&self) -> bool {
        self.reader.is_dry() && self.window.load().batches == 0 && self.results.is_empty()
    }

    fn next_deadline(&self, orders: &Instructions) -> Instant {
        let ack = self.window.oldest_sent_at().map(|sent| sent + ACK_DEADLINE);
        let heard = self.socket.heard_at() + SILENCE;
        let others = [ack, self.progress.proof_due(), orders.stop_at()];
        others.into_iter().flatten().fold(self.beat_at.min(self.ping_at).min(heard), Instant::min)
    }

    /// Does what is due.
    async fn tick(&mut self, orders: &Instructions) -> Result<(), Exit> {
        let now = Instant::now();
        if orders.stop_at().is_some_and(|at| at <= now) {
            return Err(Exit::Ordered(Order::Stop));
        }
        let lost = |words: String| Err(Exit::Left(Failure::uncoded(FailureClass::Connection, words)));
        if self.socket.heard_at() + SILENCE <= now {
            return lost(format!("the brain has sent nothing for {} s, no pong either", SILENCE.as_secs()));
        }
        if self.window.oldest_sent_at().is_some_and(|sent| sent + ACK_DEADLINE <= now) {
            return lost(format!("a batch has had no ack for {} s", ACK_DEADLINE.as_secs()));
        }
        if self.progress.proof_due().is_some_and(|due| due <= now) {
            self.progress.proved();
        }
        if self.ping_at <= now {
            self.ping_at = now + self.memory.pings.every();
            if let Err(broken) = self.socket.ping(&within(WRITE)).await {
                return Err(Exit::Gone(self.ended(End::Broken(broken))));
            }
        }
        if self.beat_at <= now {
            self.beat_at = now + Duration::from_secs(self.welcome.ack.heartbeat_seconds());
            self.beat().await?;
        }
        Ok(())
    }

    /// heartbeat and agent_status.
    async fn beat(&mut self) -> Result<(), Exit> {
        let buffer = self.link.buffer.status().borrow().clone();
        let (health, status) = (self.link.dispatcher.health(), self.progress.status());
        let times = (self.progress.online_at(), self.link.clock().now());
        for (kind, word, payload) in self.reporter.frames(&buffer, health, &status, times) {
            let frame = self.signed.text(kind, &frame_id(word), &payload);
            self.send(frame).await?;
        }
        if self.reporter.reports() {
            self.told = Some((buffer.loss, self.window.sent()));
        }
        if !self.reporter.reports() && self.window.load().batches == 0 {
            // A brain ends a session in which nothing is said, and pings are nothing (reference-brain.md, 1.3).
            self.send_batch(&CanonicalText::event_batch([]), None, (0, 0)).await?;
        }
        Ok(())
    }
}
