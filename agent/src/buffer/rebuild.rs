//! A new file under a running agent: the old one was unlinked or replaced, or is damaged.
//!
//! Owns the move. While an unlinked file is open its rows can still be read, and they keep their places; what
//! is damaged becomes an orphan, and is read as one.

use std::path::Path;

use super::files::{self, Watched};
use super::lock::Lock;
use super::place::{Place, PlaceError};
use super::refusal::by_errno;
use super::store::{Durability, Store, Unusable};
use super::writer::Writer;
use super::{Refused, damage, salvage};

/// The files to watch: the database, its log, and the lock.
pub(super) fn watched(store: &Store, lock: &Lock) -> Watched {
    let [database, log, ..] = files::of(&store.path);
    Watched::new([database, log, lock.path().to_owned()])
}

impl Writer {
    /// Moves to a new file if the old one lost its name. Fails as long as that fails: what was written into
    /// the old one would die with this process.
    pub(super) fn mend(&mut self) -> Result<(), Refused> {
        let Some(missing) = self.watched.missing().map(Path::to_owned) else { return Ok(()) };
        let (store, lock) = self.moved().map_err(|failure| self.explain(failure))?;
        tracing::warn!(
            "{} was removed or replaced under the running agent, as cleaners of temporary files do: its {} \
             events were moved to {}",
            missing.display(),
            store.counters.events,
            store.path.display()
        );
        // What is left of the old files is ours, and would be taken for an orphan.
        self.watched.remove();
        self.watched = watched(&store, &lock);
        std::mem::replace(&mut self.store, store).abandon();
        self.lock = lock;
        Ok(())
    }

    fn moved(&self) -> Result<(Store, Lock), Failure> {
        let place = self.chooser.again(&self.store.path).map_err(Failure::Place)?;
        let Place { path, lock, .. } = place;
        let undo = |failure, lock: Lock| {
            let _ = files::remove(&path);
            let _ = lock.remove();
            Err(failure)
        };
        let mut store = match Store::open(&path) {
            Ok(store) => store,
            Err(unusable) => return undo(Failure::Open(unusable), lock),
        };
        match copy(&self.store, &mut store) {
            Ok(()) => Ok((store, lock)),
            Err(error) => {
                store.abandon();
                undo(Failure::Open(Unusable::Sqlite(error)), lock)
            }
        }
    }

    fn explain(&mut self, failure: Failure) -> Refused {
        let path = &self.store.path;
        match failure {
            Failure::Open(Unusable::Sqlite(error)) => self.inquiry.ask(path, &error),
            Failure::Open(Unusable::Io(error)) | Failure::Place(PlaceError::Lock { error, .. }) => {
                let dir = path.parent().unwrap_or(Path::new("/"));
                by_errno(dir, error.raw_os_error().unwrap_or(nix::libc::EIO))
            }
            Failure::Place(error) => Refused { code: "no-place".to_owned(), text: error.to_string() },
            Failure::Open(unusable) => {
                Refused { code: "no-place".to_owned(), text: format!("{}: {unusable:?}", path.display()) }
            }
        }
    }

    /// Puts a damaged file aside and goes on with a new one of the same name. Places go on behind those that
    /// were in use, so that an ack under way cannot mean another event.
    pub(super) fn replace_damaged(&mut self, error: &rusqlite::Error) -> Result<(), Refused> {
        let path = self.store.path.clone();
        let counters = self.store.counters;
        damage::set_aside(&path, &self.chooser.deployment, &error.to_string()).map_err(|error| {
            by_errno(path.parent().unwrap_or(Path::new("/")), error.raw_os_error().unwrap_or(nix::libc::EIO))
        })?;
        let mut store = Store::open(&path).map_err(|unusable| self.explain(Failure::Open(unusable)))?;
        let numbered = store.write(Durability::Full, |store| {
            store.counters.last_id = counters.last_id;
            Ok(())
        });
        self.watched = watched(&store, &self.lock);
        std::mem::replace(&mut self.store, store).abandon();
        self.due.look_now();
        numbered.map_err(|error| self.inquiry.ask(&path, &error))
    }
}

enum Failure {
    Place(PlaceError),
    Open(Unusable),
}

/// Copies everything, in one transaction, places and identity included.
fn copy(from: &Store, into: &mut Store) -> rusqlite::Result<()> {
    into.write(Durability::Full, |into| {
        salvage::events(&from.connection, i64::MIN, |row| into.insert_at(row.id, row.at, &row.text))?;
        salvage::commands(&from.connection).iter().try_for_each(|command| into.insert_command(command))?;
        for record in from.records().unwrap_or_default() {
            into.note(&record, 0)?;
        }
        into.connection.execute("UPDATE state SET buffer_id = ?1", [&from.buffer_id])?;
        let counters = from.counters;
        into.counters.last_id = counters.last_id;
        into.counters.emptied_at = counters.emptied_at;
        into.counters.loss = counters.loss;
        into.counters.told = counters.told;
        Ok(())
    })?;
    into.buffer_id.clone_from(&from.buffer_id);
    Ok(())
}
