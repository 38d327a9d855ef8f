//! How a buffer is opened: its file, what an earlier process left in it, and the thread that writes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, watch};

use super::adopt::Adopter;
use super::duties::Due;
use super::pending::{Deed, Pending};
use super::place::{Place, PlaceError};
use super::refusal::Inquiry;
use super::store::{Durability, Store, Unusable};
use super::writer::Writer;
use super::{Bounds, Buffer, BufferStatus, QUEUE, damage, rebuild};
use crate::clock::Clock;

/// Why there is no buffer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// SQLite said no.
    #[error("{}: {error}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: rusqlite::Error,
    },
    /// The kernel said no.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// No name beside one that is taken serves.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// Opens the buffer at a place, and starts its writer. A damaged file is set aside, and one that is not for
/// this release is left alone: neither stops the start.
///
/// # Errors
/// No file can be opened there.
pub(crate) fn open(place: Place, bounds: Bounds, clock: Clock) -> Result<Buffer, OpenError> {
    let (writer, status) = writer(place, bounds, clock)?;
    let path = writer.store.path.clone();
    let io_failed = |error| OpenError::Io { path: path.clone(), error };
    let (requests, receiver) = mpsc::channel(QUEUE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(io_failed)?;
    let work = move || writer.run(&runtime, receiver);
    let thread = std::thread::Builder::new().name("buffer".to_owned()).spawn(work).map_err(io_failed)?;
    let thread = Arc::new(Mutex::new(Some(thread)));
    Ok(Buffer { requests, status, largest_event: bounds.bytes, thread })
}

/// The writer, ready to work, and where it says how it is.
pub(super) fn writer(
    place: Place,
    bounds: Bounds,
    clock: Clock,
) -> Result<(Writer, watch::Receiver<BufferStatus>), OpenError> {
    let (place, mut store) = open_store(place)?;
    let failed = |error| OpenError::Sqlite { path: place.path.clone(), error };
    let now = clock.now().unix_micros();
    let mut pending = Pending::default();
    for result in store.interrupted().map_err(failed)? {
        pending.push(Deed::Finish(result));
    }
    // On a full disk they wait; the start does not.
    if !pending.is_empty() && store.write(Durability::Full, |store| pending.apply(store, now)).is_ok() {
        pending.clear();
    }
    let (publish, status) = watch::channel(status(&store).map_err(failed)?);
    let watched = rebuild::watched(&store, &place.lock);
    let writer = Writer {
        store,
        lock: place.lock,
        watched,
        chooser: place.chooser,
        inquiry: Inquiry::default(),
        pending,
        clock,
        publish,
        bounds,
        adopter: Adopter::default(),
        refused: None,
        short_of: 0,
        is_evicting: false,
        due: Due::now(),
    };
    Ok((writer, status))
}

fn open_store(mut place: Place) -> Result<(Place, Store), OpenError> {
    loop {
        match Store::open(&place.path) {
            Ok(store) => return Ok((place, store)),
            Err(Unusable::Corrupt(why)) => {
                damage::set_aside(&place.path, &place.chooser.deployment, &why)
                    .map_err(|error| OpenError::Io { path: place.path.clone(), error })?;
            }
            Err(Unusable::Newer(version)) => {
                let why = format!("a newer z4j wrote it (schema {version})");
                place = beside(&place, &why)?;
            }
            Err(Unusable::Foreign) => place = beside(&place, "another program wrote it")?,
            Err(Unusable::Sqlite(error)) => return Err(OpenError::Sqlite { path: place.path, error }),
            Err(Unusable::Io(error)) => return Err(OpenError::Io { path: place.path, error }),
        }
    }
}

/// The next name. The lock of the one that does not serve is held meanwhile, so it is not found again.
fn beside(place: &Place, why: &str) -> Result<Place, PlaceError> {
    let next = place.chooser.beside(&place.path)?;
    tracing::warn!("{} is left alone, {why}: the buffer is {}", place.path.display(), next.path.display());
    Ok(next)
}

fn status(store: &Store) -> rusqlite::Result<BufferStatus> {
    let counters = store.counters;
    Ok(BufferStatus {
        path: Path::to_owned(&store.path),
        buffer_id: store.buffer_id.clone(),
        events: counters.events,
        bytes: counters.bytes,
        unsettled_results: store.count_unsettled()?,
        oldest_at_micros: store.oldest_at()?,
        emptied_at_micros: counters.emptied_at,
        last_id: counters.last_id,
        loss: counters.loss,
        refused: None,
    })
}
