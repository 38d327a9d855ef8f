//! The accepted events, wherever they are: in memory, or on the disk with the journal.
//!
//! Owns the choice between the two. Must not accept events (`store`).

use crate::hub::Hub;
use crate::journal::JournalError;
use crate::store::StoredEvent;

impl Hub {
    /// Every accepted event that is kept, oldest first. Waits for the disk, if the journal is there.
    pub(crate) fn events(&self) -> Result<Vec<StoredEvent>, JournalError> {
        if self.journal.is_on_disk() { self.journal.events() } else { Ok(self.store.list()) }
    }

    /// The newest accepted events, oldest first. Waits for the disk, if the journal is there.
    pub(crate) fn newest_events(&self, most: usize) -> Result<Vec<StoredEvent>, JournalError> {
        if self.journal.is_on_disk() { self.journal.newest_events(most) } else { Ok(self.store.newest(most)) }
    }

    /// Shows each accepted event that is kept to somebody, oldest first, some at a time.
    pub(crate) fn each_event(&self, mut show: impl FnMut(&StoredEvent)) -> Result<(), JournalError> {
        let mut after = 0;
        loop {
            let on_disk = self.journal.is_on_disk();
            let slice = if on_disk { self.journal.events_behind(after)? } else { self.store.behind(after) };
            let Some((last, _)) = slice.last() else { return Ok(()) };
            after = *last;
            slice.iter().for_each(|(_, event)| show(event));
        }
    }
}
