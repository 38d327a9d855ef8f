//! The thread that holds the SQLite connection, and the order in which it works.
//!
//! Owns group commit: everything that waits goes into one transaction, and is answered when that is durable.
//! Reads come after it, so nothing is ever handed out that could still be undone. What a write could not
//! store is refused, and what has happened all the same waits in [`Pending`].

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};

use super::adopt::Adopter;
use super::events::size;
use super::files::Watched;
use super::lock::Lock;
use super::pending::{Deed, Pending};
use super::place::Chooser;
use super::refusal::{Inquiry, by_errno};
use super::store::{Durability, Store, is_corrupt};
use super::{Bounds, BufferStatus, NewEvent, QUEUE, Refused, Remembered, Request, room};
use crate::clock::Clock;

/// How often the files are looked at while nothing is written.
const CHECK: Duration = Duration::from_secs(2);
/// How often what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often orphans are looked for.
const SCAN: Duration = Duration::from_secs(10);
/// How often old commands are forgotten.
const PRUNE: Duration = Duration::from_secs(30);

/// A request that changes the file.
#[derive(Debug)]
pub(super) enum Write {
    Append(Vec<NewEvent>, Answer<()>),
    Begin { id: String, claim: Option<String>, answer: Answer<Remembered> },
    Deed(Deed, Option<Answer<()>>),
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, Refused>>;

impl Write {
    fn durability(&self) -> Durability {
        match self {
            Self::Append(..) | Self::Begin { .. } => Durability::Full,
            Self::Deed(deed, _) if deed.is_durable() => Durability::Full,
            Self::Deed(..) => Durability::Normal,
        }
    }

    fn apply(&self, store: &mut Store, now: i64) -> rusqlite::Result<Option<Remembered>> {
        match self {
            Self::Append(events, _) => {
                events.iter().try_for_each(|event| store.insert(now, event.text.as_str()))?;
                Ok(None)
            }
            Self::Begin { id, claim, .. } => store.begin(id, claim.as_deref(), now).map(Some),
            Self::Deed(deed, _) => deed.apply(store, now).map(|()| None),
        }
    }
}

/// What came of a group: for each request that begins a command, what was known of it.
type Done = Vec<Option<Remembered>>;

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

/// When what comes round is due.
#[derive(Debug)]
pub(super) struct Due {
    check: Instant,
    scan: Instant,
    prune: Instant,
}

impl Due {
    pub(super) fn now() -> Self {
        let now = Instant::now();
        Self { check: now + CHECK, scan: now, prune: now + PRUNE }
    }

    /// Looks for orphans next.
    pub(super) fn look_now(&mut self) {
        self.scan = Instant::now();
    }
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
        let now = Instant::now();
        let until = |due: Instant| due.saturating_duration_since(now);
        if self.adopter.is_busy() { Duration::ZERO } else { until(self.due.check).min(until(self.due.scan)) }
    }

    /// Serves what has come in, and says whether that is the end.
    fn serve(&mut self, group: &mut Vec<Request>) -> Option<oneshot::Sender<()>> {
        let (mut writes, mut reads, mut closing) = (Vec::new(), Vec::new(), None);
        for request in group.drain(..) {
            match request {
                Request::Write(write) => writes.push(write),
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
                Write::Begin { answer, .. } => _ = answer.send(Err(refused.clone())),
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

    /// One transaction for all; none of them is stored where it fails.
    fn commit(&mut self, writes: &[Write]) -> Result<Done, Refused> {
        let done = match self.mend().and_then(|()| self.make_room(writes)) {
            Ok(()) => self.attempt_twice(writes),
            Err(refused) => Err(refused),
        };
        let refused = done.as_ref().err().cloned().or_else(|| self.still_short());
        self.note_refusal(refused);
        done
    }

    /// Why what was refused for lack of room would be refused again: that a write without events succeeds
    /// says nothing about it.
    fn still_short(&self) -> Option<Refused> {
        if self.short_of == 0 {
            return None;
        }
        let path = &self.store.path;
        let errno = room::lacking(path, self.short_of, self.store.unused().unwrap_or_default())?;
        Some(by_errno(path.parent().unwrap_or(path), errno))
    }

    fn attempt_twice(&mut self, writes: &[Write]) -> Result<Done, Refused> {
        match self.attempt(writes) {
            Ok(done) => return Ok(done),
            Err(error) if is_corrupt(&error) => self.replace_damaged(&error)?,
            Err(_) => self.drain(),
        }
        self.attempt(writes).map_err(|error| self.inquiry.ask(&self.store.path, &error))
    }

    /// Refuses events that would take the room without which nothing could be settled.
    fn make_room(&mut self, writes: &[Write]) -> Result<(), Refused> {
        let sizes = writes.iter().map(|write| match write {
            Write::Append(events, _) => events.iter().map(|event| size(event.text.as_str())).sum(),
            Write::Begin { .. } | Write::Deed(..) => 0,
        });
        let bytes = sizes.sum();
        if bytes == 0 {
            return Ok(());
        }
        self.short_of = bytes;
        if room::lacking(&self.store.path, bytes, 0).is_some() {
            // The log may hold the room that is missing.
            let _ = self.store.checkpoint();
            if let Some(refused) = self.still_short() {
                return Err(refused);
            }
        }
        self.short_of = 0;
        Ok(())
    }

    /// Writes what waits in small pieces, each copied back from the log, as far as that goes.
    fn drain(&mut self) {
        let now = self.clock.now().unix_micros();
        let _ = self.store.checkpoint();
        while let Some(deed) = self.pending.first().cloned() {
            if self.store.write(Durability::Full, |store| deed.apply(store, now)).is_err() {
                return;
            }
            self.pending.pop();
            let _ = self.store.checkpoint();
        }
    }

    fn attempt(&mut self, writes: &[Write]) -> rusqlite::Result<Done> {
        let now = self.clock.now().unix_micros();
        let (bounds, pending) = (self.bounds, &self.pending);
        let full = writes.iter().any(|write| write.durability() == Durability::Full) || pending.is_durable();
        let durability = if full { Durability::Full } else { Durability::Normal };
        let (done, evicted) = self.store.write(durability, |store| {
            pending.apply(store, now)?;
            let done = writes.iter().map(|write| write.apply(store, now)).collect::<rusqlite::Result<_>>()?;
            Ok((done, store.evict(bounds)?))
        })?;
        self.pending.clear();
        self.note_eviction(evicted);
        Ok(done)
    }

    fn note_eviction(&mut self, evicted: u64) {
        let counters = &self.store.counters;
        if evicted > 0 && !self.is_evicting {
            self.is_evicting = true;
            tracing::warn!(
                "the buffer is full ({} events, {} bytes): the oldest events are dropped and counted",
                counters.events,
                counters.bytes
            );
        }
        // At the bound itself every ack would end a streak.
        let roomy = |used: u64, most: u64| used < most - most / 10;
        if roomy(counters.events, self.bounds.events) && roomy(counters.bytes, self.bounds.bytes) {
            self.is_evicting = false;
        }
    }

    /// Says once that writing fails, and once that it works again.
    pub(super) fn note_refusal(&mut self, refused: Option<Refused>) {
        match (&self.refused, &refused) {
            (None, Some(refused)) => {
                tracing::warn!("nothing can be stored: {refused}; events are refused until this is over");
            }
            (Some(_), None) => tracing::info!("events can be stored again"),
            _ => {}
        }
        self.refused = refused;
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
            Request::Write(_) | Request::Close(_) => {}
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

    /// What comes round: the files, what failed, orphans, old commands.
    pub(super) fn duties(&mut self) {
        let now = Instant::now();
        if self.store.counters.events == 0
            && let Some(moved) = self.adopter.waits()
        {
            // Everything here is delivered: there is as much room now as there will be.
            self.due.scan = self.due.scan.min(if moved { now } else { now + RETRY });
        }
        if now >= self.due.check {
            let retry = self.refused.is_some() || !self.pending.is_empty();
            if retry || self.watched.missing().is_some() {
                let _ = self.commit(&[]);
            }
            self.due.check = now + if self.refused.is_some() { RETRY } else { CHECK };
        }
        if now >= self.due.prune {
            self.due.prune = now + PRUNE;
            self.prune();
        }
        if (now >= self.due.scan || self.adopter.is_busy()) && !self.has_its_name() {
            // What was taken over would go into a file that dies with this process.
            self.adopter.release();
            self.due.scan = now + SCAN;
            return;
        }
        if now >= self.due.scan && !self.adopter.is_busy() {
            self.due.scan = now + SCAN;
            let roots = self.chooser.roots(&self.store.path);
            let micros = self.clock.now().unix_micros();
            let whose = (self.chooser.uid(), self.chooser.deployment.as_str());
            self.adopter.look(&mut self.store, &roots, whose, self.bounds, micros);
        }
        if self.adopter.is_busy() {
            let micros = self.clock.now().unix_micros();
            if let Err(error) = self.adopter.step(&mut self.store, self.bounds, micros) {
                tracing::debug!("{} takes nothing over now: {error}", self.store.path.display());
                self.adopter.release();
            }
            self.count_results();
        }
    }

    /// Whether the file still bears its name, or another does by now that holds all of it.
    fn has_its_name(&mut self) -> bool {
        self.watched.missing().is_none() || (self.commit(&[]).is_ok() && self.watched.missing().is_none())
    }

    fn prune(&mut self) {
        let now = self.clock.now().unix_micros();
        let pruned = self.store.write(Durability::Normal, |store| store.prune_commands(now));
        if let Err(error) = pruned.and_then(|()| self.store.shrink()) {
            tracing::debug!("{}: {error}", self.store.path.display());
        }
    }
}

impl Writer {
    fn count_results(&mut self) {
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
