//! The lines that are settled together: one append to the buffer, one reply.
//!
//! Owns what is collected, its bounds, and the numbers of a connection. Must not read, wait or write.

use std::borrow::Cow;

use super::Intake;
use super::event::{Fault, line_too_long, read_event};
use super::lines::Line;
use super::reply::{LineRefusal, Reply, ReplyError};
use crate::buffer::NewEvent;

/// Most events, or refused lines, of a group.
const MAX_LINES: usize = 1_000;
/// Most bytes of events; the last one may go beyond.
const MAX_BYTES: usize = 1 << 20;

/// Lines on their way.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The last line; 0 for none.
    last: u64,
    events: Vec<NewEvent>,
    bytes: usize,
    restamped: u64,
    refused: Vec<LineRefusal>,
}

/// What became of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) restamped: u64,
}

impl Group {
    /// Takes a line; says how many bytes it adds to what waits for the disk.
    pub(super) fn take(&mut self, line: Line<'_>, intake: &Intake) -> usize {
        self.last = line.number;
        let read = match line.text {
            None => Err(line_too_long()),
            Some(text) => read_event(text, &intake.redactor, intake.clock.now()),
        };
        match read {
            Ok(None) => 0,
            Ok(Some(event)) => {
                let bytes = event.text.as_str().len();
                self.bytes += bytes;
                self.restamped += u64::from(event.restamped);
                self.events.push(NewEvent { text: event.text });
                bytes
            }
            Err(Fault { code, reason }) => {
                self.refused.push(LineRefusal { line: line.number, code: Cow::Borrowed(code), reason });
                0
            }
        }
    }

    /// Whether the next line belongs to another group.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= MAX_BYTES || self.events.len() >= MAX_LINES || self.refused.len() >= MAX_LINES
    }

    /// Whether no line was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.last == 0
    }

    /// The refused lines.
    pub(super) fn refused(&self) -> &[LineRefusal] {
        &self.refused
    }

    /// The events; the rest stays, to be reported once they are durable. Takes them out, so that they are not
    /// kept twice.
    pub(super) fn take_events(&mut self) -> (Vec<NewEvent>, Settled) {
        let events = std::mem::take(&mut self.events);
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        let settled = Settled {
            accepted: count(events.len()),
            refused: count(self.refused.len()),
            restamped: self.restamped,
        };
        (events, settled)
    }
}

/// What a connection was told so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    line: u64,
    accepted: u64,
    restamped: u64,
}

impl Tally {
    /// The reply for a group that is settled.
    pub(super) fn settle(&mut self, group: Group, settled: Settled) -> Reply {
        self.line = group.last;
        self.accepted += settled.accepted;
        self.restamped += settled.restamped;
        Reply { refused: group.refused, ..self.reply() }
    }

    /// The reply for an end that the client did not choose.
    pub(super) fn fail(&self, code: &str, reason: &str) -> Reply {
        let error = ReplyError { code: code.to_owned(), reason: reason.to_owned() };
        Reply { error: Some(error), ..self.reply() }
    }

    /// Every line up to this one is settled.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Events that are durable.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    fn reply(&self) -> Reply {
        Reply { line: self.line, accepted: self.accepted, restamped: self.restamped, ..Reply::default() }
    }
}
