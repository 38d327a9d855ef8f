//! One group of writes: into one transaction, or refused together.
//!
//! Owns the tries, the room that must stay, and what is said of a full or failing buffer. Must not answer
//! anybody.

use tokio::sync::oneshot;

use super::events::size;
use super::pending::Deed;
use super::refusal::by_errno;
use super::store::{Durability, Store, is_corrupt};
use super::writer::Writer;
use super::{NewEvent, Refused, Remembered, room};

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
pub(super) type Done = Vec<Option<Remembered>>;

impl Writer {
    /// One transaction for all; none of them is stored where it fails.
    pub(super) fn commit(&mut self, writes: &[Write]) -> Result<Done, Refused> {
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
}
