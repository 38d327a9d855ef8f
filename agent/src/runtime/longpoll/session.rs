//! A long-poll session: requests for commands beside requests with frames.
//!
//! One loop, at most one request of each kind under way. Owns what their answers lead to. Must not connect,
//! except for the WebSocket that `auto` tries meanwhile.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::super::Link;
use super::super::ended::Ended;
use super::super::failure::Failure;
use super::super::heartbeat::Reporter;
use super::super::instructions::{Instructions, Order};
use super::super::progress::Progress;
use super::super::reader::Reader;
use super::super::supervisor::WEBSOCKET_AGAIN;
use super::super::websocket::{self, Unopened};
use super::body::{Control, MAX_EVENTS, Measure, Outbox, Posted};
use super::line::{Line, LineFailure};
use super::pace::Pace;
use super::suspicion::Suspicion;
use super::{Memory, Opened, unanswered};
use crate::buffer::{Limit, Loss};
use crate::doctor::diagnosis::Journey;
use crate::net::http::{Answer, Request};
use crate::transport::frame_id;
use crate::transport::longpoll::frames;
use crate::transport::session::Signed;

/// Largest amount of events that is read at once, in bytes.
const READ_BYTES: usize = 1 << 20;
/// The interval of heartbeats; long-poll has no hello_ack that would say another.
const BEAT_EVERY: Duration = Duration::from_secs(10);
/// How long a POST may take.
const POST: Duration = Duration::from_secs(15);
/// How much longer than it asks for a request for commands may take.
const POLL_MORE: Duration = Duration::from_secs(10);
/// Most commands of one answer.
const MAX_COMMANDS: usize = 50;

type Answered = (Line, Result<Answer, LineFailure>);
type Pending<'a, T> = Option<Pin<Box<dyn Future<Output = T> + Send + 'a>>>;

/// How the loop ends.
pub(super) enum Exit {
    /// It failed.
    Failed(Failure),
    /// By order.
    Ordered(Order),
    /// A WebSocket takes over.
    Switched(Box<websocket::Opened>),
}

impl From<Failure> for Exit {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

pub(super) struct Session<'a> {
    pub(super) link: &'a Link,
    pub(super) progress: &'a mut Progress,
    pub(super) memory: &'a mut Memory,
    pub(super) signed: Signed,
    pub(super) outbox: Outbox,
    pub(super) probe: Answer,
    pub(super) journey: Journey,
    pub(super) suspicion: Suspicion,
    /// Results that are in the outbox.
    pub(super) carried: HashSet<String>,
    /// No POST before this.
    pub(super) post_after: Option<Instant>,
    /// No request for commands before this.
    pub(super) poll_after: Option<Instant>,
    /// POSTs in a row of which not everything was accepted.
    pub(super) stalls: u32,
    pub(super) stopping: bool,
    /// Losses that the last heartbeat told of.
    pub(super) told: Loss,
    pub(super) polled_at: Instant,
    reporter: &'a Reporter,
    headers: Vec<(&'static str, String)>,
    prefix: String,
    reader: Reader,
    finished: watch::Receiver<u64>,
    post: Pending<'static, Answered>,
    posted: Posted,
    post_line: Option<Line>,
    poll: Pending<'static, Answered>,
    poll_line: Option<Line>,
    pace: Pace,
    beat_at: Instant,
    trial: Pending<'a, Result<websocket::Opened, Box<Unopened>>>,
    /// When a WebSocket was tried last; none if that is not to be done.
    tried_at: Option<Instant>,
    better: Option<Box<websocket::Opened>>,
}

/// Runs a session to its end. With `tried_at`, the time of the last trial, a WebSocket is tried again now and
/// then; when that was last comes back.
pub(in crate::runtime) async fn run(
    link: &Link,
    reporter: &Reporter,
    progress: &mut Progress,
    orders: &mut Instructions,
    memory: &mut Memory,
    opened: Opened,
    tried_at: Option<Instant>,
) -> (Ended, Option<Instant>) {
    progress.online("long-poll", None, &opened.binding);
    let now = Instant::now();
    let mut session = Session {
        signed: Signed::new(&link.secret, opened.binding, link.clock()),
        outbox: Outbox::default(),
        probe: opened.probe,
        journey: opened.journey,
        suspicion: Suspicion::default(),
        carried: HashSet::new(),
        post_after: None,
        poll_after: None,
        stalls: 0,
        stopping: orders.stop_at().is_some(),
        told: Loss::default(),
        polled_at: now,
        headers: opened.headers,
        prefix: opened.prefix,
        reader: Reader::new(&link.buffer, Limit { events: MAX_EVENTS, bytes: READ_BYTES }),
        finished: link.dispatcher.finished(),
        post: None,
        posted: Posted::default(),
        post_line: Some(opened.line),
        poll: None,
        poll_line: Some(Line::new(link)),
        pace: Pace::default(),
        beat_at: now,
        trial: None,
        tried_at,
        better: None,
        link,
        reporter,
        progress,
        memory,
    };
    let ended = match session.converse(orders).await {
        Ok(never) => match never {},
        Err(Exit::Failed(failure)) => Ended::Failed(failure),
        Err(Exit::Ordered(Order::Reconnect)) => Ended::Reconnect,
        Err(Exit::Ordered(Order::Stop)) => Ended::Stopped,
        Err(Exit::Switched(opened)) => Ended::Switched(opened),
    };
    (ended, session.tried_at)
}

/// A conversation does not end well: every end is an [`Exit`].
enum Never {}

impl Session<'_> {
    async fn converse(&mut self, orders: &mut Instructions) -> Result<Never, Exit> {
        self.queue_results().await;
        // A brain of old answers the probe with a command, if it has one.
        for frame in frames(&self.probe).unwrap_or_default().iter().take(MAX_COMMANDS) {
            self.frame(frame).await?;
        }
        loop {
            self.start();
            if self.post.is_none() {
                if let Some(opened) = self.better.take() {
                    return Err(Exit::Switched(opened));
                }
                if self.stopping && self.outbox.is_empty() && self.reader.is_dry() {
                    return Err(Exit::Ordered(Order::Stop));
                }
            }
            let wake = self.next_deadline(orders);
            let has_space = self.outbox.rows.len() < MAX_EVENTS && !self.reader.has_rows();
            tokio::select! {
                answered = done(&mut self.post) => self.posted(answered).await?,
                answered = done(&mut self.poll) => self.polled(answered).await?,
                opened = done(&mut self.trial) => self.tried(opened),
                () = self.reader.ready(), if has_space => self.outbox.rows.extend(self.reader.take()),
                Ok(()) = self.finished.changed() => self.queue_results().await,
                () = sleep_until(wake) => self.tick(orders)?,
                order = orders.next() => match order {
                    Order::Reconnect => return Err(Exit::Ordered(order)),
                    Order::Stop => {
                        self.stopping = true;
                        self.poll = None;
                        self.progress.stopping();
                        // What finished meanwhile may not have been heard of yet.
                        self.queue_results().await;
                    }
                },
            }
        }
    }

    /// Starts the requests that may begin.
    fn start(&mut self) {
        let now = Instant::now();
        let may = |after: Option<Instant>| after.is_none_or(|after| after <= now);
        let is_leaving = self.better.is_some();
        if !is_leaving && self.post.is_none() && !self.outbox.is_empty() && may(self.post_due()) {
            self.start_post(now);
        }
        // What a request for commands brings must not be lost when a WebSocket takes over: one at a time.
        let due = self.trial.is_none() && self.tried_at.is_some_and(|at| at + WEBSOCKET_AGAIN <= now);
        let is_free = self.poll.is_none() && self.trial.is_none() && !is_leaving && !self.stopping;
        if is_free && !due && may(self.poll_after) {
            self.start_poll(now);
        }
        if is_free && due {
            self.tried_at = Some(now);
            self.trial = Some(Box::pin(websocket::open(self.link)));
        }
    }

    fn post_due(&self) -> Option<Instant> {
        self.post_after.max(self.pace.next())
    }

    fn start_post(&mut self, now: Instant) {
        let Some(line) = self.post_line.take() else { return };
        self.pace.took(now);
        let measure = Measure {
            bytes: self.memory.sizes.limit(),
            frames: self.suspicion.frames(),
            events: self.suspicion.events(),
        };
        let (body, posted) = self.outbox.compose(&mut self.signed, measure);
        self.progress.unacked(usize::from(posted.events > 0));
        self.posted = posted;
        let target = format!("{}/api/v1/agent/events", self.prefix);
        self.post = Some(send(line, self.request("POST", target, Some(body)), POST));
    }

    fn start_poll(&mut self, now: Instant) {
        let Some(line) = self.poll_line.take() else { return };
        self.polled_at = now;
        // The brain counts all requests; those for commands need not wait for their turn, they are few.
        self.pace.took(now);
        let wait = self.memory.wait;
        let target = format!("{}/api/v1/agent/commands?wait={wait}&max_frames={MAX_COMMANDS}", self.prefix);
        let limit = Duration::from_secs(wait) + POLL_MORE;
        self.poll = Some(send(line, self.request("GET", target, None), limit));
    }

    fn request(&self, method: &'static str, target: String, body: Option<String>) -> Request {
        Request { method, target, headers: self.headers.clone(), body }
    }

    async fn posted(&mut self, (line, answered): Answered) -> Result<(), Exit> {
        self.post = None;
        self.post_line = Some(line);
        self.progress.unacked(0);
        let posted = std::mem::take(&mut self.posted);
        match answered {
            Ok(answer) => Ok(self.judge_post(&answer, &posted).await?),
            // The content is signed anew; see `line`.
            Err(LineFailure::Stale) => Ok(()),
            Err(failed) if failed.is_timeout() => {
                self.memory.sizes.slow();
                Err(unanswered(self.link, Some(&self.journey), failed, Some(&self.probe)).into())
            }
            Err(failed) => Err(unanswered(self.link, Some(&self.journey), failed, Some(&self.probe)).into()),
        }
    }

    async fn polled(&mut self, (line, answered): Answered) -> Result<(), Exit> {
        self.poll = None;
        self.poll_line = Some(line);
        match answered {
            Ok(answer) => Ok(self.judge_poll(&answer).await?),
            Err(failed) if self.memory.cut(&failed, self.polled_at.elapsed()) => Ok(()),
            Err(failed) => Err(unanswered(self.link, Some(&self.journey), failed, None).into()),
        }
    }

    fn tried(&mut self, opened: Result<websocket::Opened, Box<Unopened>>) {
        self.trial = None;
        match opened {
            Ok(opened) => {
                tracing::info!("a WebSocket works again, and takes over from long-poll");
                self.better = Some(Box::new(opened));
            }
            Err(unopened) => {
                tracing::debug!("still no WebSocket: {}", unopened.failure.diagnosis.sentence);
            }
        }
    }

    /// Puts the results that wait into the outbox, once.
    async fn queue_results(&mut self) {
        for result in self.link.buffer.unsettled_results().await {
            if self.carried.insert(result.command_id.clone()) {
                let limit = self.memory.sizes.limit();
                self.outbox.controls.push_back(Control::result(result, true, limit));
            }
        }
    }

    fn next_deadline(&self, orders: &Instructions) -> Instant {
        let may_post = self.post.is_none() && self.better.is_none() && !self.outbox.is_empty();
        let post = self.post_due().filter(|_| may_post);
        // What is not begun while stopping must not be woken up for either.
        let is_free = self.poll.is_none() && self.trial.is_none() && self.better.is_none() && !self.stopping;
        let poll = self.poll_after.filter(|_| is_free);
        // A request for commands that is under way is waited for first.
        let trial = self.tried_at.filter(|_| is_free).map(|at| at + WEBSOCKET_AGAIN);
        let others = [post, poll, trial, self.progress.proof_due(), orders.stop_at()];
        others.into_iter().flatten().fold(self.beat_at, Instant::min)
    }

    fn tick(&mut self, orders: &Instructions) -> Result<(), Exit> {
        let now = Instant::now();
        if orders.stop_at().is_some_and(|at| at <= now) {
            return Err(Exit::Ordered(Order::Stop));
        }
        if self.progress.proof_due().is_some_and(|due| due <= now) {
            self.progress.proved();
        }
        if self.beat_at <= now {
            self.beat_at = now + BEAT_EVERY;
            self.beat();
        }
        Ok(())
    }

    /// Queues heartbeat and agent_status, in place of earlier ones that did not go.
    fn beat(&mut self) {
        if self.post.is_none() {
            self.outbox.controls.retain(|control| !control.is_passing());
        }
        let buffer = self.link.buffer.status().borrow().clone();
        self.told = buffer.loss;
        let (status, times) = (self.progress.status(), (self.progress.online_at(), self.link.clock().now()));
        let health = self.link.dispatcher.health();
        let room = self.memory.sizes.limit() / 2;
        // What adapters say must not keep the rest from going.
        let fits = health.iter().map(|(name, text)| name.len() + text.len() + 8).sum::<usize>() < room / 2;
        let health = if fits { health } else { std::collections::BTreeMap::new() };
        for (kind, word, payload) in self.reporter.frames(&buffer, health, &status, times) {
            self.outbox.controls.push_back(Control::new(kind, frame_id(word), payload));
        }
    }
}

fn send(mut line: Line, request: Request, wait: Duration) -> Pin<Box<dyn Future<Output = Answered> + Send>> {
    Box::pin(async move {
        let answered = line.request(&request, wait).await;
        (line, answered)
    })
}

/// Waits for what is under way; without anything, for ever.
async fn done<T>(pending: &mut Pending<'_, T>) -> T {
    match pending {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
