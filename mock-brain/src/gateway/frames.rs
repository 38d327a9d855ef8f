//! An established session: frames in, acknowledgements and commands out.
//!
//! Owns the counts that faults are aimed by, and the acknowledgements that are late. Must not judge a
//! handshake (`session`) or write frames (`reply`).

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout_at};
use z4j_protocol::payload::EventBatchAck;
use z4j_protocol::{Frame, FrameType, Reason, Refusal, Timestamp, Value, close};

use super::bad_frame;
use super::session::{Ending, Never, Session, message, unsendable};
use crate::batch::{self, BatchOutcome};
use crate::clock;
use crate::commands::Delivery;
use crate::fault::{self, Ack, BadFrame, Fault, Point, Ws};
use crate::journal::{Entry, Kind};
use crate::registry::Agent;
use crate::verdict::{self, Closing};
use crate::violation::{Beats, Conduct, Found, Rule};
use crate::voice::{Ear, Pen, with_bad_signature};

/// The id in an acknowledgement that is for nothing.
const WRONG_ID: &str = "nobody-sent-this";
/// Most acknowledgements that are late at a time; more are lost, with what was to become of them.
const MAX_LATE: usize = 10_000;

/// A session after its hello_ack.
pub(super) struct Established<'s, 'h> {
    session: &'s mut Session<'h>,
    agent: Arc<Agent>,
    ear: Ear,
    conduct: Conduct,
    pen: Pen,
    frames: u64,
    events: u64,
    acks: u64,
    commands: u64,
    /// Acknowledgements that are late, in their order.
    late: VecDeque<Late>,
}

/// An acknowledgement that is late.
struct Late {
    /// From when on it may be sent.
    due: Instant,
    ack: EventBatchAck,
    /// What becomes of it then, or of the session.
    struck: Result<Option<Fault>, Ending>,
}

impl<'s, 'h> Established<'s, 'h> {
    pub(super) fn new(session: &'s mut Session<'h>, agent: Arc<Agent>, pen: Pen) -> Self {
        let ear = Ear::new(&agent, &session.id, session.hub.release);
        let hub = session.hub;
        let conduct = Conduct::new(hub.violations.is_strict(), true);
        let interval = session.limits.heartbeat_seconds;
        session.beats = Some(Beats::new(interval, std::time::Instant::now(), clock::now()));
        Self {
            session,
            agent,
            ear,
            conduct,
            pen,
            frames: 0,
            events: 0,
            acks: 0,
            commands: 0,
            late: VecDeque::new(),
        }
    }

    /// Takes frames until the end. What one of them takes is not kept between two: sessions wait most of the time.
    pub(super) async fn run(mut self: Box<Self>) -> Result<Never, Ending> {
        Box::pin(self.strike(Point::HelloAck, 0, 0)).await?;
        if self.may_speak() {
            Box::pin(self.push_commands()).await?;
        }
        let idle = self.session.hub.limits.idle;
        let mut deadline = Instant::now() + idle;
        loop {
            let due = self.late.front().map(|late| late.due);
            tokio::select! {
                arrival = timeout_at(deadline, self.session.link.next()) => {
                    let arrival = arrival.map_err(|_| self.idle())?;
                    deadline = Instant::now() + idle;
                    Box::pin(self.frame(&message(arrival)?)).await?;
                    if self.frames == 1 && !self.session.hub.release.binds_session() {
                        Box::pin(self.push_commands()).await?;
                    }
                }
                () = self.session.signals.commands(), if self.may_speak() => {
                    Box::pin(self.push_commands()).await?;
                }
                () = until(due) => Box::pin(self.send_late()).await?,
            }
        }
    }

    /// An agent of 1.0 tells with its first frame how it signs, and so how it is to be spoken to.
    fn may_speak(&self) -> bool {
        self.session.hub.release.binds_session() || self.frames > 0
    }

    /// The end of a session in which no frame comes.
    fn idle(&self) -> Ending {
        let rule = self.session.link.only_answers().then_some(Rule::WsIdle);
        Closing { rule, ..Closing::new(close::IDLE, "no frame") }.into()
    }

    /// Carries out a fault at this point: an end, or an error frame. Returns one that is the caller's.
    async fn strike(&mut self, point: Point, from: u64, to: u64) -> Result<Option<Fault>, Ending> {
        let fault = self.session.strike(point, from, to)?;
        self.send_fault(fault.as_ref()).await?;
        Ok(fault)
    }

    /// Sends what a fault has sent for itself.
    async fn send_fault(&mut self, fault: Option<&Fault>) -> Result<(), Ending> {
        match fault {
            Some(Fault::Ws(Ws::ErrorFrame { code, fatal })) => {
                let message = "fault ws.error-frame";
                let text = self.pen.error(&self.session.id, code, message, *fatal, self.session.now());
                self.session.send(FrameType::Error, text.map_err(|error| unsendable(&error))?).await?;
            }
            Some(Fault::Ws(Ws::Frame(kind))) => self.session.send_raw(&bad_frame::bytes(*kind)).await?,
            _ => {}
        }
        Ok(())
    }

    /// Sends what waits for this agent, oldest first.
    async fn push_commands(&mut self) -> Result<(), Ending> {
        let hub = self.session.hub;
        while let Some(command) = hub.commands.push(self.agent.id, self.session.serial, clock::now()) {
            // Until it is written: the session may end in the middle of that.
            let command = Arc::new(command);
            self.session.sending = Some(Arc::clone(&command));
            let fault = self.send_command(&command).await?;
            self.session.sending = None;
            if let Some(Fault::Command(fault::Command::Twice)) = fault {
                let text = self.pen.command(&command, self.session.now());
                self.session.send(FrameType::Command, text.map_err(|error| unsendable(&error))?).await?;
            }
            hub.happened();
        }
        Ok(())
    }

    /// Sends one command, unless a fault ends the session before.
    async fn send_command(&mut self, command: &Delivery) -> Result<Option<Fault>, Ending> {
        self.commands += 1;
        let fault = self.strike(Point::Command, self.commands - 1, self.commands).await?;
        let text = self.pen.command(command, self.session.now()).map_err(|error| unsendable(&error))?;
        self.say(FrameType::Command, text, fault.as_ref()).await?;
        Ok(fault)
    }

    /// Sends a frame as the fault leaves it.
    async fn say(
        &mut self,
        frame_type: FrameType,
        text: String,
        fault: Option<&Fault>,
    ) -> Result<(), Ending> {
        match fault {
            Some(Fault::Ws(Ws::BadSignature)) => {
                self.session.send(frame_type, with_bad_signature(&text)).await
            }
            Some(Fault::Ws(Ws::Replayed)) => {
                self.session.send(frame_type, text.clone()).await?;
                self.session.send(frame_type, text).await
            }
            Some(Fault::Ws(Ws::Frame(BadFrame::Fragmented))) => {
                self.session.send_in_parts(frame_type, text).await
            }
            _ => self.session.send(frame_type, text).await,
        }
    }

    async fn frame(&mut self, bytes: &Bytes) -> Result<(), Ending> {
        let now = self.session.now();
        let hub = self.session.hub;
        let frame = match self.judged(bytes, now) {
            Ok(frame) => frame,
            Err((closing, found)) => {
                self.note(&batch::word(bytes), &closing.detail, bytes, now);
                self.session.note(found, Some(bytes));
                return Err(closing.into());
            }
        };
        // A batch is noted with what comes of its events.
        if frame.frame_type() != FrameType::EventBatch {
            self.note(frame.frame_type().as_str(), "ok", bytes, now);
            hub.journal.relieved().await;
        }
        if !frame.frame_type().is_signed() {
            self.session.note(Some(out_of_place(frame.frame_type())), Some(bytes));
            return Ok(());
        }
        self.frames += 1;
        self.session.note_breach();
        hub.sessions.counted(self.session.serial, frame.frame_type());
        let text = || (Rule::WsText, format!("{} in a text message", frame.frame_type()));
        self.session.note(self.session.link.was_text().then(text), Some(bytes));
        self.session.note(self.conduct.judge(&frame, clock::now()), Some(bytes));
        let late = |beats: &mut Beats| beats.heard(&frame, std::time::Instant::now(), clock::now());
        let late = self.session.beats.as_mut().and_then(late);
        self.session.note(late, Some(bytes));
        self.strike(Point::Frame, self.frames - 1, self.frames).await?;
        self.session.note(hub.answered(&self.agent, &frame), Some(bytes));
        if frame.frame_type() == FrameType::EventBatch {
            self.batch(&frame, bytes).await?;
        }
        hub.happened();
        Ok(())
    }

    /// What is decided about a frame.
    fn judged(&mut self, bytes: &Bytes, now: Timestamp) -> Result<Frame, (Closing, Option<Found>)> {
        // What a brain with another secret or time refuses is not the agent's fault.
        let honest = !self.session.misreads;
        let refused = |refusal: Refusal, conduct: &Conduct| {
            (verdict::refused_frame(refusal), conduct.refused(refusal).filter(|_| honest))
        };
        let value = Value::parse(bytes).map_err(|_| refused(Reason::NotJson.into(), &self.conduct))?;
        verdict::handshake_again(&value, bytes).map_err(|closing| {
            let found = closing.rule.map(|rule| (rule, closing.detail.clone()));
            (Closing { rule: None, ..closing }, found)
        })?;
        let frame = Frame::from_value(value).map_err(|refusal| refused(refusal, &self.conduct))?;
        let verified = self.ear.verify(&self.agent, &mut self.pen, &frame, now);
        verified.map_err(|refusal| refused(refusal, &self.conduct))?;
        Ok(frame)
    }

    fn note(&self, word: &str, verdict: &str, bytes: &Bytes, now: Timestamp) {
        let entry = Entry::new(Kind::FrameIn, word, now).saying(verdict).with(bytes);
        self.session.hub.journal.record(entry.of_session(&self.session.id).of_agent(Some(&self.agent)));
    }

    async fn batch(&mut self, frame: &Frame, bytes: &Bytes) -> Result<(), Ending> {
        let hub = self.session.hub;
        hub.journal.ready().await;
        let now = hub.now();
        let (outcome, mark) = batch::apply(hub, Some(&self.session.id), &self.agent, (frame, bytes), now);
        hub.journal.committed(mark).await;
        match outcome {
            BatchOutcome::Settled(ack) => {
                hub.happened();
                let from = self.events;
                self.events += ack.received;
                self.strike(Point::Event, from, self.events).await?;
                self.acknowledge(ack, frame).await
            }
            BatchOutcome::SchedulerUpgrade => {
                let text = self.pen.scheduler_upgrade(frame.id().unwrap_or_default(), now);
                self.session.send(FrameType::Error, text.map_err(|error| unsendable(&error))?).await
            }
        }
    }

    async fn acknowledge(&mut self, ack: EventBatchAck, frame: &Frame) -> Result<(), Ending> {
        self.acks += 1;
        let struck = self.session.strike(Point::Ack, self.acks - 1, self.acks);
        let wait = match &struck {
            Ok(Some(Fault::Ack(Ack::Late(delay)))) => *delay,
            _ => Duration::ZERO,
        };
        if wait.is_zero() && self.late.is_empty() {
            let is_good = matches!(struck, Ok(None));
            self.send_ack(ack, struck?).await?;
            if is_good {
                self.session.proved = true;
                self.conduct.acked(frame, clock::now());
            }
        } else if self.late.len() < MAX_LATE {
            self.late.push_back(Late { due: Instant::now() + wait, ack, struck });
        }
        Ok(())
    }

    /// Sends an acknowledgement as the fault leaves it, or what comes in its place.
    async fn send_ack(&mut self, mut ack: EventBatchAck, fault: Option<Fault>) -> Result<(), Ending> {
        self.send_fault(fault.as_ref()).await?;
        match &fault {
            Some(Fault::Ws(Ws::Frame(BadFrame::Fragmented))) => {}
            Some(Fault::Ack(Ack::Drop) | Fault::Ws(Ws::ErrorFrame { .. } | Ws::Frame(_))) => return Ok(()),
            Some(Fault::Ack(Ack::WrongId)) => WRONG_ID.clone_into(&mut ack.acked_id),
            _ => {}
        }
        let text = self.pen.ack(&ack, self.session.now()).map_err(|error| unsendable(&error))?;
        self.say(FrameType::EventBatchAck, text, fault.as_ref()).await?;
        if let Some(Fault::Ack(Ack::Twice)) = fault {
            let text = self.pen.ack(&ack, self.session.now()).map_err(|error| unsendable(&error))?;
            self.session.send(FrameType::EventBatchAck, text).await?;
        }
        Ok(())
    }

    /// Sends the acknowledgements whose time has come, in their order.
    async fn send_late(&mut self) -> Result<(), Ending> {
        while let Some(late) = self.late.pop_front_if(|late| late.due <= Instant::now()) {
            self.send_ack(late.ack, late.struck?).await?;
        }
        Ok(())
    }
}

/// A frame of the handshake on an established session.
fn out_of_place(frame_type: FrameType) -> Found {
    let rule = if frame_type == FrameType::Hello { Rule::HelloAgain } else { Rule::FrameDirection };
    (rule, format!("{frame_type} on an established session"))
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
