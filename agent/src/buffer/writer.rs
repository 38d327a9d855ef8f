//! The thread that holds the SQLite connection, and the order in which it works.
//!
//! Owns that order: everything that waits goes into one group, and is answered when that is durable. Reads come
//! after it, so nothing is ever handed out that could still be undone. What a write could not store is refused,
//! and what has happened all the same waits in [`Pending`].

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};

use super::adopt::Adopter;
use super::duties::Due;
use super::files::Watched;
use super::group::{Done, Write};
use super::lock::Lock;
use super::pending::Pending;
use super::place::Chooser;
use super::refusal::Inquiry;
use super::store::{Store, is_corrupt};
use super::{Bounds, BufferStatus, QUEUE, Refused, Remembered, Request};
use crate::clock::Clock;

pub(super) struct Writer {
    pub(super) store: Store,
    pub(super) lock: Lock,
    pub(super) watched: Watched,
    pub(super) chooser: Chooser,
    pub(super) inquiry: Inquiry,
    pub(super) pending: Pending,
    pub(super) clock: Clock,
    pub(super) publish: watch::Sender<BufferStatus>,
    pub(super) bounds: Bounds,
    pub(super) adopter: Adopter,
    pub(super) refused: Option<Refused>,
    /// Bytes of the events that were refused for lack of room, until some are stored.
    pub(super) short_of: u64,
    pub(super) is_evicting: bool,
    pub(super) due: Due,
}

impl Writer {
    /// Works until it is told to close, or nobody is left who could.
    pub(super) fn run(mut self, runtime: &Runtime, mut receiver: mpsc::Receiver<Request>) {
        let mut group = Vec::with_capacity(QUEUE);
        let closing = loop {
            self.duties();
            self.publish();
            let patience = self.patience();
            let received = runtime.block_on(async {
                tokio::time::timeout(patience, receiver.recv_many(&mut group, QUEUE)).await
            });
            match received {
                Ok(0) => break None,
                Ok(_) => {}
                Err(_) => continue,
            }
            if let Some(closing) = self.serve(&mut group) {
                break Some(closing);
            }
        };
        self.finish();
        if let Some(closing) = closing {
            let _ = closing.send(());
        }
    }

    fn patience(&self) -> Duration {
        let until = self.due.next().saturating_duration_since(Instant::now());
        if self.adopter.is_busy() { Duration::ZERO } else { until }
    }

    /// The events are another deployment's from now on, these and those that come.
    fn remark(&mut self, deployment: String) {
        if let Err(error) = self.lock.mark(&deployment) {
            let lock = self.lock.path().display();
            tracing::warn!(
                "{lock} keeps the mark of the former signing secret: {error}; what is left in it at the end waits for an agent with that"
            );
        }
        self.chooser.deployment = deployment;
    }

    /// Serves what has come in, and says whether that is the end.
    fn serve(&mut self, group: &mut Vec<Request>) -> Option<oneshot::Sender<()>> {
        let (mut writes, mut reads, mut closing) = (Vec::new(), Vec::new(), None);
        for request in group.drain(..) {
            match request {
                Request::Write(write) => writes.push(write),
                Request::Mark(deployment) => self.remark(deployment),
                Request::Close(done) => closing = Some(done),
                read => reads.push(read),
            }
        }
        if !writes.is_empty() {
            let committed = self.commit(&writes);
            // Who gets an answer sees what came of it.
            self.publish();
            match committed {
                Ok(done) => self.answer(writes, done),
                Err(refused) => self.refuse(writes, &refused),
            }
        }
        for read in reads {
            self.read(read);
        }
        closing
    }

    fn answer(&mut self, writes: Vec<Write>, done: Done) {
        for (write, known) in writes.into_iter().zip(done) {
            match write {
                Write::Append(_, answer) => _ = answer.send(Ok(())),
                Write::Begin { answer, .. } => _ = answer.send(Ok(known.unwrap_or(Remembered::New))),
                Write::Deed(deed, answer) => {
                    if deed.is_of_commands() {
                        self.count_results();
                    }
                    _ = answer.map(|answer| answer.send(Ok(())));
                }
            }
        }
    }

    fn refuse(&mut self, writes: Vec<Write>, refused: &Refused) {
        for write in writes {
            match write {
                Write::Append(_, answer) => _ = answer.send(Err(refused.clone())),
                Write::Begin { id, answer, .. } => {
                    _ = answer.send(self.known(&id).ok_or_else(|| refused.clone()));
                }
                Write::Deed(deed, answer) => {
                    let of_commands = deed.is_of_commands();
                    self.pending.push(deed);
                    if of_commands {
                        self.count_results();
                    }
                    _ = answer.map(|answer| answer.send(Err(refused.clone())));
                }
            }
        }
    }

    /// What is known of a command that cannot be begun now: it may have been carried out already.
    fn known(&self, id: &str) -> Option<Remembered> {
        let known = self.pending.result(id).cloned().map(Remembered::Done);
        known.or_else(|| self.store.known(id).ok().filter(|known| *known != Remembered::New))
    }

    fn read(&mut self, request: Request) {
        match request {
            Request::Read(after, limit, answer) => {
                let read = |writer: &Self| {
                    let pending = &writer.pending;
                    let gone = |id| !pending.is_empty() && pending.is_gone(id);
                    writer.store.read(after, limit, gone)
                };
                let rows = self.readable(read);
                let _ = answer.send(rows);
            }
            Request::Unsettled(answer) => {
                let mut results = self.readable(|writer| writer.store.unsettled());
                self.pending.amend(&mut results);
                let _ = answer.send(results);
            }
            Request::Write(_) | Request::Mark(_) | Request::Close(_) => {}
        }
    }

    /// Reads; a damaged file is replaced, and then read anew.
    fn readable<T: Default>(&mut self, read: impl Fn(&Self) -> rusqlite::Result<T>) -> T {
        match read(self) {
            Ok(value) => value,
            Err(error) => {
                tracing::debug!("{} cannot be read: {error}", self.store.path.display());
                let again = is_corrupt(&error) && self.replace_damaged(&error).is_ok();
                if again { read(self).unwrap_or_default() } else { T::default() }
            }
        }
    }

    pub(super) fn count_results(&mut self) {
        let count = if self.pending.is_empty() {
            self.store.count_unsettled()
        } else {
            self.store.unsettled().map(|mut results| {
                self.pending.amend(&mut results);
                results.len().try_into().unwrap_or(u64::MAX)
            })
        };
        if let Ok(count) = count {
            self.publish.send_if_modified(|status| {
                let changed = status.unsettled_results != count;
                status.unsettled_results = count;
                changed
            });
        }
    }

    fn publish(&self) {
        let counters = &self.store.counters;
        let oldest = if counters.events == 0 { Ok(None) } else { self.store.oldest_at() };
        self.publish.send_if_modified(|status| {
            let mut new = status.clone();
            new.path.clone_from(&self.store.path);
            new.buffer_id.clone_from(&self.store.buffer_id);
            new.events = counters.events;
            new.bytes = counters.bytes;
            new.oldest_at_micros = oldest.unwrap_or(status.oldest_at_micros);
            new.emptied_at_micros = counters.emptied_at;
            new.last_id = counters.last_id;
            new.loss = counters.loss;
            new.refused.clone_from(&self.refused);
            let changed = new != *status;
            *status = new;
            changed
        });
    }

    /// The end: what nobody needs any more is removed, and the rest is left to whoever adopts it.
    fn finish(mut self) {
        self.adopter.release();
        if !self.pending.is_empty() {
            let _ = self.commit(&[]);
        }
        self.prune();
        let nothing_left = self.pending.is_empty() && self.is_empty().unwrap_or(false);
        let Self { store, lock, watched, .. } = self;
        if nothing_left {
            store.abandon();
            watched.remove();
            let _ = lock.remove();
        }
        // Otherwise SQLite copies its log back as the store is dropped, before the lock.
    }

    fn is_empty(&self) -> rusqlite::Result<bool> {
        let counters = &self.store.counters;
        Ok(counters.events == 0
            && counters.loss == counters.told
            && !self.store.remembers_commands()?
            && self.store.records()?.is_empty())
    }
}
