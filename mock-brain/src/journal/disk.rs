//! The journal on disk, as the rest of the brain sees it: a queue to one thread.
//!
//! Owns the queue, its bound, and the marks by which others learn that something is safe. The thread
//! (`writer`) has the file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::JoinHandle;

use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::entry::Entry;
use super::event::Place;
use super::file::{File, JournalError, taken};
use super::line::{Page, Wanted};
use super::read::{self, Thing};
use super::things::Things;
use super::writer::Writer;
use super::{Mark, Table};
use crate::lock::lock;
use crate::store::{Index, StoredEvent};

/// With more than this waiting, in bytes, peers wait too.
const PRESSED: usize = 32 << 20;

/// Something to be written.
pub(super) enum Work {
    Entry(u64, Entry),
    /// A thing as it is now, or that it went.
    Thing(Table, u64, Option<String>),
    /// All that was written before is forgotten.
    Reset,
}

impl Work {
    /// What it will count for in the bound, but for things.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Entry(_, entry) => taken(entry.weight() as u64),
            Self::Thing(..) | Self::Reset => 0,
        }
    }
}

/// A question to whoever has the file.
pub(super) type Ask = Box<dyn FnOnce(&mut File) + Send>;

#[derive(Default)]
pub(super) struct Queue {
    pub(super) work: Vec<Work>,
    pub(super) bytes: usize,
    pub(super) asks: Vec<Ask>,
    /// How much was ever put in.
    pub(super) mark: Mark,
    pub(super) last_seq: u64,
    pub(super) closed: bool,
}

/// What the thread and the others share.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) queue: Mutex<Queue>,
    pub(super) wake: Condvar,
    pub(super) committed: watch::Sender<Mark>,
    pub(super) ready: watch::Sender<bool>,
    /// Why nothing can be written, as long as that is so.
    pub(super) failing: watch::Sender<Option<String>>,
}

/// The journal on disk.
pub(super) struct Disk {
    path: PathBuf,
    shared: Arc<Shared>,
    /// The things of earlier runs, until they are asked for.
    kept: Mutex<Vec<Thing>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Disk {
    pub(super) fn open(dir: &Path, max_bytes: u64, index: &Arc<Index>) -> Result<Self, JournalError> {
        let file = File::open(dir, max_bytes)?;
        index.restore_counts(file.counters.accepted, file.counters.duplicates);
        let path = file.path.clone();
        let shared = Arc::new(Shared::default());
        lock(&shared.queue).last_seq = file.counters.last_seq;
        let kept = read::things(&file.connection).map_err(|error| JournalError::sqlite(&path, &error))?;
        let things =
            Things::of(&file.connection, max_bytes).map_err(|error| JournalError::sqlite(&path, &error))?;
        let (index, agents) = (Arc::clone(index), Default::default());
        let writer = Writer { file, max_bytes, index, shared: Arc::clone(&shared), agents, things };
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(|error| JournalError::system(&path, &error))?;
        Ok(Self { path, shared, kept: Mutex::new(kept), thread: Mutex::new(Some(thread)) })
    }

    pub(super) async fn ready(&self) {
        // An error would mean that the sender is gone, and it lives in `self`.
        let _ = self.shared.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Notes an entry. Entries get their numbers in the order in which they are written.
    pub(super) fn push(&self, make: impl FnOnce(u64) -> Entry) -> Mark {
        let mut queue = lock(&self.shared.queue);
        let seq = queue.last_seq + 1;
        let entry = make(seq);
        queue.last_seq = seq;
        queue.bytes += entry.weight();
        self.enqueue(queue, Work::Entry(seq, entry))
    }

    pub(super) fn put(&self, table: Table, serial: u64, json: Option<String>) {
        let mut queue = lock(&self.shared.queue);
        queue.bytes += json.as_ref().map_or(0, String::len);
        self.enqueue(queue, Work::Thing(table, serial, json));
    }

    pub(super) fn reset(&self, forget: impl FnOnce()) {
        let queue = lock(&self.shared.queue);
        forget();
        self.enqueue(queue, Work::Reset);
    }

    fn enqueue(&self, mut queue: std::sync::MutexGuard<'_, Queue>, work: Work) -> Mark {
        queue.work.push(work);
        queue.mark += 1;
        let mark = queue.mark;
        drop(queue);
        self.shared.wake.notify_one();
        mark
    }

    pub(super) fn mark(&self) -> Mark {
        lock(&self.shared.queue).mark
    }

    /// The mark to wait for, if too much waits.
    pub(super) fn pressed(&self) -> Option<Mark> {
        let queue = lock(&self.shared.queue);
        (queue.bytes > PRESSED).then_some(queue.mark)
    }

    pub(super) async fn committed(&self, mark: Mark) {
        let _ = self.shared.committed.subscribe().wait_for(|committed| *committed >= mark).await;
    }

    /// Why nothing can be written now.
    pub(super) fn failure(&self) -> Option<JournalError> {
        let failing = self.shared.failing.borrow();
        failing.as_deref().map(|reason| JournalError::unwritten(&self.path, reason))
    }

    /// Returns once everything up to a mark is safe, or with why that cannot be.
    pub(super) async fn written(&self, mark: Mark) -> Result<(), JournalError> {
        let mut failing = self.shared.failing.subscribe();
        tokio::select! {
            biased;
            () = self.committed(mark) => Ok(()),
            _ = failing.wait_for(Option::is_some) => self.failure().map_or(Ok(()), Err),
        }
    }

    pub(super) fn changes(&self) -> watch::Receiver<Mark> {
        self.shared.committed.subscribe()
    }

    /// Asks the thread something. It writes first what was noted before, if it can.
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut File) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let ask: Ask = Box::new(move |file| {
            // Whoever asked may be gone.
            let _ = answer.send(question(file));
        });
        let mut queue = lock(&self.shared.queue);
        if queue.closed {
            return Err(JournalError::system(&self.path, &mpsc::RecvError));
        }
        queue.asks.push(ask);
        drop(queue);
        self.shared.wake.notify_one();
        match answered.recv() {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(JournalError::sqlite(&self.path, &error)),
            Err(closed) => Err(JournalError::system(&self.path, &closed)),
        }
    }

    #[cfg(test)]
    pub(super) fn stalled(&self) -> mpsc::Sender<()> {
        let (until, ended) = mpsc::channel();
        let ask: Ask = Box::new(move |_| {
            // An error is what is waited for.
            let _ = ended.recv();
        });
        lock(&self.shared.queue).asks.push(ask);
        self.shared.wake.notify_one();
        until
    }

    /// The things of a table, once.
    pub(super) fn kept<T: DeserializeOwned>(&self, table: Table) -> Result<Vec<(u64, T)>, JournalError> {
        let parse = |thing: Thing| match serde_json::from_str(&thing.json) {
            Ok(parsed) => Ok((thing.serial, parsed)),
            Err(error) => {
                let what = format!("{} {}: {error}", table.as_str(), thing.serial);
                Err(JournalError::foreign(&self.path, &what))
            }
        };
        lock(&self.kept).extract_if(.., |thing| thing.table == table).map(parse).collect()
    }

    /// All events, a slice at a time, so that the thread comes to write in between.
    pub(super) fn events(&self) -> Result<Vec<StoredEvent>, JournalError> {
        let counts = self.ask(|file| read::duplicate_counts(&file.connection))?;
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let slice = self.events_behind(after)?;
            let Some((last, _)) = slice.last() else { break };
            after = *last;
            all.extend(slice.into_iter().map(|(place, event)| StoredEvent {
                duplicates: counts.get(&place).copied().unwrap_or_default(),
                ..event
            }));
        }
        Ok(all)
    }

    pub(super) fn events_behind(&self, place: Place) -> Result<Vec<(Place, StoredEvent)>, JournalError> {
        self.ask(move |file| read::events(&file.connection, place))
    }

    pub(super) fn newest_events(&self, most: usize) -> Result<Vec<StoredEvent>, JournalError> {
        let events = self.ask(move |file| read::newest_events(&file.connection, most))?;
        Ok(events.into_iter().map(|(_, event)| event).collect())
    }

    pub(super) fn page(&self, wanted: &Wanted) -> Result<Page, JournalError> {
        let wanted = wanted.clone();
        self.ask(move |file| read::page(&file.connection, file.counters.last_seq, &wanted))
    }

    pub(super) fn close(&self) {
        lock(&self.shared.queue).closed = true;
        self.shared.wake.notify_one();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread failed");
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;
    use crate::clock;

    fn forbid(disk: &Disk, writing: bool) {
        let pragma = format!("PRAGMA query_only = {}", u8::from(writing));
        disk.ask(move |file| file.connection.execute_batch(&pragma)).unwrap();
    }

    #[tokio::test]
    async fn what_cannot_be_written_keeps_nobody_from_reading_or_ending() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), 1 << 30, &Arc::default()).unwrap();
        let note = || disk.push(|_| Entry::new(Kind::Handshake, "hello", clock::now()));
        let seen = || disk.page(&Wanted { limit: 9, ..Wanted::default() }).map(|page| page.items.len());
        assert!(disk.written(note()).await.is_ok());
        forbid(&disk, true);
        let mark = note();
        let error = disk.written(mark).await.unwrap_err().to_string();
        assert!(error.contains("it cannot be written: ") && error.contains("make room"), "{error}");
        assert!(disk.failure().is_some());
        assert_eq!(seen().unwrap(), 1, "what is there can be read");
        forbid(&disk, false);
        disk.committed(mark).await;
        assert!(disk.failure().is_none());
        assert_eq!(seen().unwrap(), 2);
        forbid(&disk, true);
        assert!(disk.written(note()).await.is_err());
        disk.close();
        assert!(seen().is_err());
    }
}
