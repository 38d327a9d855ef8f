//! One client of the ingest socket, from its first line to the last reply.
//!
//! Owns reading, storing and answering side by side: lines that arrive while a group is being stored make up the
//! next one, and a client that does not read its replies holds up only itself. Must not know other connections,
//! except through what they share.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::Intake;
use super::budget::{Budget, Share};
use super::group::{Group, Settled, Tally};
use super::lines::Lines;
use crate::buffer::Refused;
use crate::orders::Orders;

/// Read at once.
const CHUNK_BYTES: usize = 32 * 1024;
/// A line that grows beyond this needs one of the few places for long lines.
const SHORT_LINE_BYTES: usize = 16 * 1024;
/// Reading stops, and so does settling, while more of the replies is unread.
const MAX_UNREAD_REPLIES: usize = 64 * 1024;
/// How long a client may leave replies unread, or a long line unfinished.
const STALL: Duration = Duration::from_secs(30);
/// How long the end may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// What connections have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) intake: Intake,
    pub(super) budget: Budget,
    /// Places for lines that are long and not complete.
    pub(super) long_lines: Arc<Semaphore>,
}

/// A group on its way to the disk.
type Commit = Pin<Box<dyn Future<Output = (Group, Result<Settled, Refused>)> + Send>>;

/// Why a conversation ends before the client ends it.
enum End {
    Refused(Refused),
    Stopping,
    Stalled,
}

/// What happens next.
enum Step {
    Committed(Group, Result<Settled, Refused>),
    Writable,
    Readable,
    Long(Option<OwnedSemaphorePermit>),
    Stop,
    Stalled,
}

pub(super) struct Connection {
    stream: UnixStream,
    common: Common,
    lines: Lines,
    /// What was read and is not on its way yet, and its part of the budget.
    group: Group,
    share: Share,
    commit: Option<Commit>,
    tally: Tally,
    /// Replies that the client has not taken.
    out: Vec<u8>,
    /// The place of a long line that is not complete, and since when it is taken.
    long_line: Option<(OwnedSemaphorePermit, Instant)>,
    /// Nothing more will be read.
    ended: bool,
    stopping: bool,
    /// The client takes no replies; what it said before may still have to be read.
    deaf: bool,
    written_at: Instant,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, common: Common) -> Self {
        let now = Instant::now();
        Self {
            stream,
            lines: Lines::default(),
            group: Group::default(),
            share: common.budget.share(),
            commit: None,
            tally: Tally::default(),
            out: Vec::new(),
            long_line: None,
            ended: false,
            stopping: false,
            deaf: false,
            written_at: now,
            common,
        }
    }

    pub(super) async fn run(mut self, mut orders: watch::Receiver<Orders>) {
        let end = self.converse(&mut orders).await;
        let error = match &end {
            Ok(()) => None,
            Err(End::Refused(refused)) => Some((refused.code.as_str(), refused.text.as_str())),
            Err(End::Stopping) => Some(("stopping", "the agent stops")),
            Err(End::Stalled) => {
                Some(("stalled", "the replies were not read, or a long line was not finished, for 30 s"))
            }
        };
        if let Some((code, reason)) = error {
            self.out.extend(self.tally.fail(code, reason).to_line());
        }
        let _ = timeout(FAREWELL, self.farewell(error.is_some())).await;
    }

    async fn converse(&mut self, orders: &mut watch::Receiver<Orders>) -> Result<(), End> {
        loop {
            self.advance();
            // At a stop, what is left has too many unread replies before it: it was not answered for.
            if self.ended && self.commit.is_none() && (self.stopping || self.group.is_empty()) {
                return if self.stopping { Err(End::Stopping) } else { Ok(()) };
            }
            match self.step(orders).await {
                Step::Committed(group, Ok(settled)) => self.settle(group, settled),
                Step::Committed(_, Err(refused)) => return Err(End::Refused(refused)),
                Step::Writable => self.write(),
                Step::Readable => self.read(),
                // Its time runs from here: waiting for the place is not the client's doing.
                Step::Long(permit) => self.long_line = permit.map(|permit| (permit, Instant::now())),
                Step::Stop => {
                    self.stopping = true;
                    self.ended = true;
                }
                Step::Stalled => return Err(End::Stalled),
            }
        }
    }

    /// Takes the lines that are there, and sets a group on its way when there is none, unless too many replies
    /// wait: refusals alone could be many times what was read.
    fn advance(&mut self) {
        self.take_lines();
        while self.commit.is_none() && !self.group.is_empty() && self.out.len() < MAX_UNREAD_REPLIES {
            let mut group = std::mem::take(&mut self.group);
            let share = std::mem::replace(&mut self.share, self.common.budget.share());
            let (events, settled) = group.take_events();
            if events.is_empty() {
                self.settle(group, settled);
            } else {
                let buffer = self.common.intake.buffer.clone();
                self.commit = Some(Box::pin(async move {
                    let done = buffer.append(events).await;
                    drop(share);
                    (group, done.map(|()| settled))
                }));
            }
            self.take_lines();
        }
        if self.lines.partial_bytes() <= SHORT_LINE_BYTES {
            self.long_line = None;
        }
    }

    fn take_lines(&mut self) {
        while !self.group.is_full() {
            let Some(line) = self.lines.next() else { return };
            let bytes = self.group.take(line, &self.common.intake);
            self.share.add(bytes);
        }
    }

    fn settle(&mut self, group: Group, settled: Settled) {
        self.common.intake.counters.settled(settled);
        // The disk was what was waited for.
        if let Some((_, since)) = &mut self.long_line {
            *since = Instant::now();
        }
        if self.out.is_empty() {
            self.written_at = Instant::now();
        }
        let reply = self.tally.settle(group, settled);
        if !self.deaf {
            self.out.extend(reply.to_line());
        }
    }

    async fn step(&mut self, orders: &mut watch::Receiver<Orders>) -> Step {
        let may_read = !self.ended && !self.group.is_full() && self.out.len() < MAX_UNREAD_REPLIES;
        let long = self.long_line.is_none() && self.lines.partial_bytes() > SHORT_LINE_BYTES;
        let stalled_at = self.stalled_at();
        tokio::select! {
            (group, done) = committed(&mut self.commit), if self.commit.is_some() => Step::Committed(group, done),
            _ = self.stream.writable(), if !self.out.is_empty() => Step::Writable,
            permit = Arc::clone(&self.common.long_lines).acquire_owned(), if may_read && long => {
                Step::Long(permit.ok())
            }
            () = readable(&self.stream, &self.common), if may_read && !long => Step::Readable,
            () = told_to_stop(orders), if !self.ended => Step::Stop,
            () = sleep_until(stalled_at.unwrap_or_else(Instant::now)), if stalled_at.is_some() => Step::Stalled,
        }
    }

    /// When patience ends; never while the disk is what is waited for.
    fn stalled_at(&self) -> Option<Instant> {
        if self.commit.is_some() {
            None
        } else if !self.out.is_empty() {
            Some(self.written_at + STALL)
        } else {
            self.long_line.as_ref().map(|(_, since)| *since + STALL)
        }
    }

    fn read(&mut self) {
        let mut chunk = [0; CHUNK_BYTES];
        match self.stream.try_read(&mut chunk) {
            Ok(0) => {
                self.lines.end();
                self.ended = true;
            }
            Ok(count) => self.lines.feed(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.ended = true,
        }
    }

    fn write(&mut self) {
        match self.stream.try_write(&self.out) {
            Ok(count) => {
                self.out.drain(..count);
                self.written_at = Instant::now();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => {
                self.deaf = true;
                self.out.clear();
            }
        }
    }

    /// Sends what is left. After an error it also reads on: a client that writes all it has before it reads would
    /// otherwise never see why nobody listens.
    async fn farewell(&mut self, failed: bool) {
        while !self.out.is_empty() {
            if self.stream.writable().await.is_err() {
                return;
            }
            self.write();
        }
        if !failed {
            return;
        }
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut self.stream).await;
        let mut chunk = [0; 4096];
        while let Ok(1..) = tokio::io::AsyncReadExt::read(&mut self.stream, &mut chunk).await {}
    }
}

/// Waits for the group that is on its way.
async fn committed(commit: &mut Option<Commit>) -> (Group, Result<Settled, Refused>) {
    let Some(running) = commit else { return std::future::pending().await };
    let done = running.await;
    *commit = None;
    done
}

/// Waits until something can be read and may be.
async fn readable(stream: &UnixStream, common: &Common) {
    common.budget.room().await;
    let _ = stream.readable().await;
}

/// Returns when the agent is to stop.
pub(super) async fn told_to_stop(orders: &mut watch::Receiver<Orders>) {
    let _ = orders.wait_for(|orders| orders.stop).await;
}
