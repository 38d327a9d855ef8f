//! Events from a pipe (`z4j run --stdin`): the rules of the socket without its replies.
//!
//! Owns the thread that reads, and the patience: while the buffer refuses, nothing is read, so the pipe fills and
//! whoever writes waits. What is refused is logged by line number.

use std::io::{self, Read};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::Intake;
use super::connection::told_to_stop;
use super::group::{Group, Tally};
use super::lines::Lines;
use crate::buffer::{NewEvent, Refused};
use crate::orders::Orders;

/// Read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks that wait for the event loop.
const CHUNKS: usize = 2;
/// Wait before what the buffer refused is offered again.
const RETRY: Duration = Duration::from_secs(1);

/// What came of a pipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PipeCounts {
    /// Lines that are settled.
    pub(crate) lines: u64,
    /// Events that are durable.
    pub(crate) accepted: u64,
    /// Lines that were refused.
    pub(crate) refused: u64,
}

/// Takes events from this process's stdin until it ends or the agent stops.
///
/// # Errors
/// stdin cannot be read.
pub(crate) async fn read_stdin(intake: Intake, orders: watch::Receiver<Orders>) -> io::Result<PipeCounts> {
    read_pipe(io::stdin(), intake, orders).await
}

pub(super) async fn read_pipe(
    source: impl Read + Send + 'static,
    intake: Intake,
    mut orders: watch::Receiver<Orders>,
) -> io::Result<PipeCounts> {
    let mut chunks = chunks_of(source)?;
    let mut pipe =
        Pipe { intake, lines: Lines::default(), tally: Tally::default(), counts: PipeCounts::default() };
    loop {
        let chunk = tokio::select! {
            chunk = chunks.recv() => chunk,
            () = told_to_stop(&mut orders) => return Ok(pipe.counts),
        };
        let ended = chunk.is_none();
        match chunk {
            Some(chunk) => pipe.lines.feed(&chunk?),
            None => pipe.lines.end(),
        }
        if !pipe.store(&mut orders).await || ended {
            return Ok(pipe.counts);
        }
    }
}

/// A thread that reads, since a read of stdin cannot be called off. It ends with the process.
fn chunks_of(mut source: impl Read + Send + 'static) -> io::Result<mpsc::Receiver<io::Result<Vec<u8>>>> {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let read = move || {
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let item = match source.read(&mut chunk) {
                Ok(0) => return,
                Ok(count) => {
                    chunk.truncate(count);
                    Ok(chunk)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = item.is_err();
            if sender.blocking_send(item).is_err() || failed {
                return;
            }
        }
    };
    std::thread::Builder::new().name("stdin".to_owned()).spawn(read)?;
    Ok(receiver)
}

struct Pipe {
    intake: Intake,
    lines: Lines,
    tally: Tally,
    counts: PipeCounts,
}

impl Pipe {
    /// Stores the lines that are there. `false`: the agent stops, and some of them are not stored.
    async fn store(&mut self, orders: &mut watch::Receiver<Orders>) -> bool {
        loop {
            let mut group = Group::default();
            while !group.is_full() {
                let Some(line) = self.lines.next() else { break };
                group.take(line, &self.intake);
            }
            if group.is_empty() {
                return true;
            }
            for refusal in group.refused() {
                tracing::warn!("stdin, line {}: {}: {}", refusal.line, refusal.code, refusal.reason);
            }
            let (events, settled) = group.take_events();
            if !events.is_empty() && !self.append(events, orders).await {
                return false;
            }
            self.intake.counters.settled(settled);
            self.tally.settle(group, settled);
            self.counts.lines = self.tally.line();
            self.counts.accepted = self.tally.accepted();
            self.counts.refused += settled.refused;
        }
    }

    /// Offers a group until it is taken or the agent stops.
    async fn append(&self, events: Vec<NewEvent>, orders: &mut watch::Receiver<Orders>) -> bool {
        let mut refused_before = false;
        loop {
            let Err(Refused { code, text }) = self.intake.buffer.append(events.clone()).await else {
                return true;
            };
            if !refused_before {
                tracing::warn!("stdin waits behind line {}: {code}: {text}", self.tally.line());
            }
            refused_before = true;
            tokio::select! {
                () = sleep(RETRY) => {}
                () = told_to_stop(orders) => {
                    let (line, count) = (self.tally.line(), events.len());
                    tracing::error!("stdin: {count} events behind line {line} are not stored: {code}: {text}");
                    return false;
                }
            }
        }
    }
}
