//! The journal: what happened on this brain, in its order, in memory or in `journal.sqlite`.
//!
//! Owns entries, their numbers, what is kept of them, and when an entry is safe. Must not judge anything,
//! and nobody else knows how it is stored: it is told what happened, and asked for it again.
//!
//! On disk, what was committed outlives the process however it ends; a power cut may take the last moments
//! (SQLite's WAL, `synchronous=NORMAL`). Whoever acknowledges an event waits for its commit first.

mod disk;
mod entry;
mod event;
mod evict;
mod file;
mod line;
mod read;
mod ring;
mod things;
mod writer;

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::store::{Index, StoredEvent};
use disk::Disk;
pub(crate) use entry::{Entry, Kind};
pub(crate) use event::{Place, ROOM, Sighted, place};
pub use file::JournalError;
pub(crate) use line::{Line, Page, Wanted};
use ring::Ring;

/// How much of a journal is kept where nothing is said, in bytes: of everything that was received and sent.
pub const DEFAULT_JOURNAL_BYTES: u64 = 4 << 30;

/// Fewest bytes that `serve` takes for a journal: below that, the file without entries is what counts.
pub(crate) const MIN_JOURNAL_BYTES: u64 = 1 << 20;

/// How far the journal was, as [`Journal::committed`] takes it.
pub(crate) type Mark = u64;

/// What is kept by its number beside the entries, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    Commands,
    Sessions,
    Violations,
}

impl Table {
    const ALL: [Self; 3] = [Self::Commands, Self::Sessions, Self::Violations];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Commands => "command",
            Self::Sessions => "session",
            Self::Violations => "violation",
        }
    }
}

enum Backing {
    Memory(Ring),
    Disk(Disk),
}

/// The journal of one brain.
pub(crate) struct Journal(Backing);

impl Journal {
    /// One that is gone with the process.
    pub(crate) fn in_memory() -> Self {
        Self(Backing::Memory(Ring::default()))
    }

    /// The one of a directory, made if there is none. `index` learns of the events that it holds, in a while;
    /// see [`Journal::ready`].
    pub(crate) fn open(dir: &Path, max_bytes: u64, index: &Arc<Index>) -> Result<Self, JournalError> {
        Ok(Self(Backing::Disk(Disk::open(dir, max_bytes, index)?)))
    }

    /// Whether it is on disk: then events are read from here.
    pub(crate) const fn is_on_disk(&self) -> bool {
        matches!(self.0, Backing::Disk(_))
    }

    /// Returns once the index knows the events of earlier runs. Until then no event must be taken.
    pub(crate) async fn ready(&self) {
        if let Backing::Disk(disk) = &self.0 {
            disk.ready().await;
        }
    }

    /// Notes an entry.
    pub(crate) fn record(&self, entry: Entry) {
        self.record_as(|_| entry);
    }

    /// Notes the entry that is made for a number. Nothing else is noted meanwhile.
    pub(crate) fn record_as(&self, make: impl FnOnce(u64) -> Entry) -> Mark {
        match &self.0 {
            Backing::Memory(ring) => {
                ring.push(make);
                0
            }
            Backing::Disk(disk) => disk.push(make),
        }
    }

    /// Returns once everything up to a mark is safe.
    pub(crate) async fn committed(&self, mark: Mark) {
        if let Backing::Disk(disk) = &self.0 {
            disk.committed(mark).await;
        }
    }

    /// Returns once everything is safe that was noted before.
    pub(crate) async fn flushed(&self) {
        if let Backing::Disk(disk) = &self.0 {
            disk.committed(disk.mark()).await;
        }
    }

    /// Returns once everything is safe that was noted before.
    ///
    /// # Errors
    /// Nothing can be written now; what was noted is written as soon as that works.
    pub(crate) async fn written(&self) -> Result<(), JournalError> {
        match &self.0 {
            Backing::Memory(_) => Ok(()),
            Backing::Disk(disk) => disk.written(disk.mark()).await,
        }
    }

    /// Whether things can be written, as far as is known.
    ///
    /// # Errors
    /// Why they cannot.
    pub(crate) fn check(&self) -> Result<(), JournalError> {
        match &self.0 {
            Backing::Memory(_) => Ok(()),
            Backing::Disk(disk) => disk.failure().map_or(Ok(()), Err),
        }
    }

    /// Returns at once, unless the disk is slower than the peers: then once it has caught up.
    pub(crate) async fn relieved(&self) {
        if let Backing::Disk(disk) = &self.0
            && let Some(mark) = disk.pressed()
        {
            disk.committed(mark).await;
        }
    }

    /// Nothing is written until what is returned is dropped.
    #[cfg(test)]
    pub(crate) fn stalled(&self) -> Option<std::sync::mpsc::Sender<()>> {
        match &self.0 {
            Backing::Memory(_) => None,
            Backing::Disk(disk) => Some(disk.stalled()),
        }
    }

    /// Keeps a thing as it is now.
    pub(crate) fn put(&self, table: Table, serial: u64, thing: &impl Serialize) {
        if let Backing::Disk(disk) = &self.0 {
            match serde_json::to_string(thing) {
                Ok(json) => disk.put(table, serial, Some(json)),
                Err(error) => tracing::error!(%error, "something cannot be journaled"),
            }
        }
    }

    /// Lets go of a thing.
    pub(crate) fn forget(&self, table: Table, serial: u64) {
        if let Backing::Disk(disk) = &self.0 {
            disk.put(table, serial, None);
        }
    }

    /// What earlier runs kept, in the order of the numbers.
    pub(crate) fn kept<T: DeserializeOwned>(&self, table: Table) -> Result<Vec<(u64, T)>, JournalError> {
        match &self.0 {
            Backing::Memory(_) => Ok(Vec::new()),
            Backing::Disk(disk) => disk.kept(table),
        }
    }

    /// The events on disk, oldest first; none in memory, where the store has them. Waits for the disk.
    pub(crate) fn events(&self) -> Result<Vec<StoredEvent>, JournalError> {
        match &self.0 {
            Backing::Memory(_) => Ok(Vec::new()),
            Backing::Disk(disk) => disk.events(),
        }
    }

    /// Some of the events on disk behind a place, oldest first; none once there are no more.
    pub(crate) fn events_behind(&self, place: Place) -> Result<Vec<(Place, StoredEvent)>, JournalError> {
        match &self.0 {
            Backing::Memory(_) => Ok(Vec::new()),
            Backing::Disk(disk) => disk.events_behind(place),
        }
    }

    /// The newest events on disk, oldest first; none in memory, where the store has them. How often each came
    /// again is not told. Waits for the disk.
    pub(crate) fn newest_events(&self, most: usize) -> Result<Vec<StoredEvent>, JournalError> {
        match &self.0 {
            Backing::Memory(_) => Ok(Vec::new()),
            Backing::Disk(disk) => disk.newest_events(most),
        }
    }

    /// What was noted behind a number, oldest first, a page at a time. Waits for the disk.
    pub(crate) fn page(&self, wanted: &Wanted) -> Result<Page, JournalError> {
        match &self.0 {
            Backing::Memory(ring) => Ok(ring.page(wanted)),
            Backing::Disk(disk) => disk.page(wanted),
        }
    }

    /// Changes whenever there is more to read.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        match &self.0 {
            Backing::Memory(ring) => ring.changes(),
            Backing::Disk(disk) => disk.changes(),
        }
    }

    /// Forgets everything. Nothing is noted while `forget` lets others forget it too.
    pub(crate) fn reset(&self, forget: impl FnOnce()) {
        match &self.0 {
            Backing::Memory(ring) => ring.reset(forget),
            Backing::Disk(disk) => disk.reset(forget),
        }
    }

    /// Writes what is left, and closes the file. What is noted afterwards is lost.
    pub(crate) fn close(&self) {
        if let Backing::Disk(disk) = &self.0 {
            disk.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[tokio::test]
    async fn reading_is_no_news_for_those_who_wait() {
        let dir = tempfile::tempdir().unwrap();
        let on_disk = Journal::open(dir.path(), DEFAULT_JOURNAL_BYTES, &Arc::default()).unwrap();
        for journal in [on_disk, Journal::in_memory()] {
            let mut changes = journal.changes();
            journal.record(Entry::new(Kind::Handshake, "hello", clock::now()));
            journal.flushed().await;
            assert!(changes.has_changed().unwrap());
            changes.mark_unchanged();
            let wanted = Wanted { limit: 9, ..Wanted::default() };
            for _ in 0..3 {
                assert_eq!(journal.page(&wanted).unwrap().items.len(), 1);
            }
            assert!(!changes.has_changed().unwrap());
        }
    }

    #[tokio::test]
    async fn sessions_and_violations_keep_within_the_bound_too() {
        const BOUND: u64 = 1 << 20;
        let dir = tempfile::tempdir().unwrap();
        let open = |bytes| Journal::open(dir.path(), bytes, &Arc::default()).unwrap();
        let journal = open(BOUND);
        let raw = bytes::Bytes::from(vec![b'x'; 4_200]);
        let thing = |length: usize| "x".repeat(length);
        for number in 0..10_000 {
            let serial = number as u64;
            journal.put(Table::Sessions, serial, &thing(500 + number % 300));
            // As long as a session lives it is written again and again.
            journal.put(Table::Sessions, serial.saturating_sub(50), &thing(700));
            journal.put(Table::Violations, serial, &thing(300 + number * 7 % 2_500));
            let length = 4_200 * usize::from(number % 2 == 0);
            journal.record(Entry::new(Kind::FrameIn, "x", clock::now()).with(&raw.slice(..length)));
            if number % 50 == 0 {
                journal.flushed().await;
            }
        }
        journal.flushed().await;
        let entries = journal.page(&Wanted { limit: 1_000, ..Wanted::default() }).unwrap().items.len();
        assert!((50..500).contains(&entries), "{entries}");
        journal.close();
        let size = dir.path().join("journal.sqlite").metadata().unwrap().len();
        assert!(size <= BOUND, "{size}");
        let journal = open(BOUND / 4);
        let serials = |table| -> Vec<_> {
            journal.kept::<String>(table).unwrap().into_iter().map(|(serial, _)| serial).collect()
        };
        let (sessions, violations) = (serials(Table::Sessions), serials(Table::Violations));
        assert_eq!(
            (sessions.last(), violations.first()),
            (Some(&9_999), Some(&0)),
            "new ones, the first ones"
        );
        assert!(sessions.len() > 200 && violations.len() > 20, "{} {}", sessions.len(), violations.len());
        assert!(violations.windows(2).all(|pair| pair[0] + 1 == pair[1]), "without gaps");
        journal.put(Table::Sessions, 10_000, &thing(500));
        journal.put(Table::Violations, 10_000, &thing(500));
        journal.flushed().await;
        journal.close();
        let things = open(BOUND);
        let count = things.kept::<String>(Table::Sessions).unwrap().len();
        assert!(count < sessions.len() / 2, "there was less room: {count}");
    }
}
