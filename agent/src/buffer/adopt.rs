//! Orphans: buffers of ours whose process is dead. What they hold is taken over, once.
//!
//! Owns the order of it, which makes kill -9 harmless at any point: the orphan's lock is held throughout;
//! each slice is committed here together with a record of how far it went, and only then removed there; the
//! files go last, and their lock after them. Whoever adopts our own file takes the records along, so rows
//! that it holds are not taken from the orphan again. One gap remains: of an adopter killed between the two
//! commits of a slice, and its orphan, each may be adopted by another process at the same moment; that slice
//! is then sent twice, with the same event ids, and the brain's dedupe drops it (protocol.md, Session).
//!
//! Must not evict: what does not fit waits where it is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::lock::{Blocked, Lock};
use super::records::Record;
use super::results::{MEMORY_MICROS, StoredCommand, interrupted};
use super::share::Share;
use super::store::{Durability, Store, Unusable, is_corrupt};
use super::{Bounds, Limit, Loss, damage, events, files, place};

/// What is read to see whether anything is left.
const ONE: Limit = Limit { events: 1, bytes: 1 };
/// Most orphans that are held at once.
const MAX_HELD: usize = 32;

/// An orphan whose lock is held.
#[derive(Debug)]
struct Orphan {
    store: Store,
    lock: Lock,
    moved: u64,
    /// Bytes that were moved since the logs were copied back.
    logged: u64,
}

/// Looks for orphans and takes them over, slice by slice.
#[derive(Debug, Default)]
pub(super) struct Adopter {
    held: Vec<Orphan>,
    told: BTreeSet<PathBuf>,
    /// Those that do not fit, and that was said.
    waiting: BTreeSet<PathBuf>,
    /// Whether the last search led to anything.
    moved: bool,
}

impl Adopter {
    /// Whether something is left to move.
    pub(super) fn is_busy(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether orphans wait for room, and if so, whether some of them was moved when they were last looked at.
    pub(super) fn waits(&self) -> Option<bool> {
        (!self.waiting.is_empty()).then_some(self.moved)
    }

    /// Lets go of what is held; it stays where it is.
    pub(super) fn release(&mut self) {
        self.held.clear();
    }

    /// Takes the lock of every orphan in these directories, and what they know of others.
    pub(super) fn look(
        &mut self,
        own: &mut Store,
        roots: &[PathBuf],
        whose: (u32, &str),
        bounds: Bounds,
        now: i64,
    ) {
        // Another agent may have had room.
        self.waiting.retain(|path| path.exists());
        self.moved = false;
        for path in roots.iter().flat_map(|root| locked_names(root)) {
            if self.held.len() >= MAX_HELD {
                break;
            }
            self.hold(own, &path, whose, bounds, now);
        }
        // All records first: one orphan may have been taking over another when it died.
        let known: Vec<Record> =
            self.held.iter().filter_map(|orphan| orphan.store.records().ok()).flatten().collect();
        if !known.is_empty() {
            let imported = own.write(Durability::Normal, |own| {
                known.iter().try_for_each(|record| {
                    if record.buffer_id == own.buffer_id {
                        // What an orphan has taken of our own file comes back with it.
                        return own.remove(i64::MIN, record.last_id).map(|_| ());
                    }
                    own.note(record, now)
                })
            });
            if imported.is_err() {
                self.release();
            }
        }
    }

    fn hold(
        &mut self,
        own: &mut Store,
        path: &Path,
        (uid, deployment): (u32, &str),
        bounds: Bounds,
        now: i64,
    ) {
        let lock = match Lock::take(path, uid, deployment) {
            Ok(lock) => lock,
            Err(Blocked::Io(error)) => return tracing::debug!("{}: {error}", path.display()),
            Err(Blocked::Others) => {
                if self.told.insert(path.to_owned()) {
                    let path = path.display();
                    tracing::info!("{path} is of an agent with another signing secret: it is left for that");
                }
                return;
            }
            Err(Blocked::Held | Blocked::Foreign(_) | Blocked::Gone) => return,
        };
        if !place::beside(path, uid).unwrap_or(false) {
            return;
        }
        if !path.exists() && !files::is_log_alone(path) {
            // It died before it made its database, or after it removed it. One of another name may be an
            // application's.
            if is_default_name(path) && files::remove(path).is_ok() {
                let _ = lock.remove();
            }
            return;
        }
        match Store::open(path) {
            Ok(store) => self.held.push(Orphan { store, lock, moved: 0, logged: 0 }),
            Err(Unusable::Corrupt(why)) => {
                if !damage::salvage(own, path, lock, 0, &why, bounds, now) {
                    self.tell_waiting(path, "events that can be read");
                }
            }
            Err(Unusable::Newer(version)) => {
                if self.told.insert(path.to_owned()) {
                    tracing::warn!(
                        "{} was written by a newer z4j (schema {version}): it is left for that",
                        path.display()
                    );
                }
            }
            Err(Unusable::Foreign) => {}
            Err(Unusable::Sqlite(error)) => tracing::debug!("{}: {error}", path.display()),
            Err(Unusable::Io(error)) => tracing::debug!("{}: {error}", path.display()),
        }
    }

    /// Moves one slice.
    ///
    /// # Errors
    /// Our own file cannot be written; nothing was moved.
    pub(super) fn step(&mut self, own: &mut Store, bounds: Bounds, now: i64) -> rusqlite::Result<()> {
        let Some(mut orphan) = self.held.pop() else { return Ok(()) };
        let before = orphan.moved;
        let stepped = orphan.step(own, bounds, now);
        self.moved |= orphan.moved > before;
        match stepped {
            Ok(Step::More) => self.held.push(orphan),
            // It is looked at again with the next search.
            Ok(Step::Full) => self.wait(&orphan),
            Ok(Step::Done) => {
                self.waiting.remove(&orphan.store.path);
                orphan.finish(own, now)?;
            }
            Err(Failure::Own(error)) => return Err(error),
            Err(Failure::Orphan(error)) if is_corrupt(&error) => {
                let path = orphan.store.path.clone();
                let after = own.record(&orphan.store.buffer_id)?.last_id;
                orphan.store.abandon();
                if !damage::salvage(own, &path, orphan.lock, after, &error.to_string(), bounds, now) {
                    self.tell_waiting(&path, "events that can be read");
                }
            }
            Err(Failure::Orphan(error)) => tracing::debug!("{}: {error}", orphan.store.path.display()),
        }
        Ok(())
    }
}

impl Adopter {
    /// Leaves the rest of an orphan where it is, and says so once.
    fn wait(&mut self, orphan: &Orphan) {
        let (path, moved) = (&orphan.store.path, orphan.moved);
        if moved > 0 {
            tracing::debug!("took {moved} events over from {}", path.display());
        }
        self.tell_waiting(path, &format!("{} more events", orphan.store.counters.events));
    }

    fn tell_waiting(&mut self, path: &Path, what: &str) {
        if self.waiting.insert(path.to_owned()) {
            tracing::warn!(
                "{} holds {what} of a process that died, and there is no room for them here now: they stay \
                 there, and are taken over as room comes free",
                path.display()
            );
        }
    }
}

/// What came of a slice.
enum Step {
    More,
    Full,
    Done,
}

enum Failure {
    Own(rusqlite::Error),
    Orphan(rusqlite::Error),
}

impl Orphan {
    fn step(&mut self, own: &mut Store, bounds: Bounds, now: i64) -> Result<Step, Failure> {
        let record = own.record(&self.store.buffer_id).map_err(Failure::Own)?;
        let share = Share::of(own, bounds);
        let slice = share.map_or(ONE, |share| share.slice);
        let rows = self.store.slice(record.last_id, slice).map_err(Failure::Orphan)?;
        if rows.is_empty() {
            return Ok(Step::Done);
        }
        let (fitting, bytes) = share.map_or((0, 0), |share| fitting(&rows, share));
        let Some(last_id) = fitting.checked_sub(1).map(|last| rows[last].id) else { return Ok(Step::Full) };
        own.write(Durability::Full, |own| {
            for row in &rows[..fitting] {
                own.insert(row.at, &row.text)?;
            }
            own.note(&Record { last_id, ..record }, now)
        })
        .map_err(Failure::Own)?;
        self.moved += u64::try_from(fitting).unwrap_or_default();
        // If this fails, the record keeps them from being taken again.
        let _ = self.store.write(Durability::Normal, |orphan| orphan.remove(i64::MIN, last_id));
        self.logged += bytes;
        if fitting < rows.len() {
            self.copy_back(own);
            return Ok(Step::Full);
        }
        if self.logged >= slice.bytes as u64 {
            self.copy_back(own);
        }
        Ok(Step::More)
    }

    /// Copies both logs back: otherwise what is moved would take room in two logs beside two files.
    fn copy_back(&mut self, own: &Store) {
        self.logged = 0;
        // What cannot be copied back now is copied with a later slice, or when the file is closed.
        let _ = own.checkpoint();
        let _ = self.store.checkpoint();
    }

    /// Takes what is not events, then removes the files.
    fn finish(self, own: &mut Store, now: i64) -> rusqlite::Result<()> {
        let Self { store, lock, moved, .. } = self;
        let commands = match store.commands() {
            Ok(commands) => commands,
            Err(error) => {
                tracing::debug!("{}: {error}", store.path.display());
                return Ok(());
            }
        };
        own.write(Durability::Full, |own| {
            own.take_commands(commands, now)?;
            own.take_loss(&store.buffer_id, (store.counters.loss, store.counters.told), now)
        })?;
        let (path, id) = (store.path.clone(), store.buffer_id.clone());
        store.abandon();
        match files::remove(&path).and_then(|()| files::sync_directory(&path)).and_then(|()| lock.remove()) {
            Ok(()) => {
                let path = path.display();
                if moved == 0 {
                    tracing::debug!("{path} of a process that died held no events, and is gone");
                } else {
                    tracing::info!("took {moved} events over from {path}");
                }
                own.write(Durability::Normal, |own| own.forget(&id, now))
            }
            Err(error) => {
                tracing::debug!("{} cannot be removed: {error}", path.display());
                Ok(())
            }
        }
    }
}

/// How many of the first rows fit, and how many bytes they have.
fn fitting(rows: &[events::Stored], share: Share) -> (usize, u64) {
    let (mut count, mut bytes) = (0_u64, 0_u64);
    for row in rows {
        let more = bytes + events::size(&row.text);
        if count >= share.events || more > share.bytes {
            break;
        }
        (count, bytes) = (count + 1, more);
    }
    (usize::try_from(count).unwrap_or(usize::MAX), bytes)
}

impl Store {
    /// Takes commands of a buffer over whose process is dead. Inside a transaction.
    pub(super) fn take_commands(&mut self, commands: Vec<StoredCommand>, now: i64) -> rusqlite::Result<()> {
        for mut command in commands {
            if command.settled_at.is_some_and(|at| now.saturating_sub(at).saturating_abs() > MEMORY_MICROS) {
                continue;
            }
            if command.payload.is_none() {
                command.payload = Some(interrupted(command.claim.take()).into_string());
            }
            self.insert_command(&command)?;
        }
        self.bound_results()
    }
}

impl Loss {
    /// Each counter by itself.
    pub(super) fn map2(self, other: Self, each: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            capacity_evicted: each(self.capacity_evicted, other.capacity_evicted),
            content_rejected: each(self.content_rejected, other.content_rejected),
            events: each(self.events, other.events),
            command_results: each(self.command_results, other.command_results),
        }
    }

    pub(super) fn max(self, other: Self) -> Self {
        self.map2(other, u64::max)
    }

    pub(super) fn plus(self, other: Self) -> Self {
        self.map2(other, u64::saturating_add)
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.map2(other, u64::saturating_sub)
    }
}

/// The buffers in a directory, by their locks, in the order of their names.
fn locked_names(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let mut names: Vec<PathBuf> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some(root.join(name.strip_suffix(".lock").filter(|name| !name.is_empty())?))
        })
        .collect();
    names.sort();
    names
}

/// `buffer-{pid}.sqlite` and its siblings.
fn is_default_name(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '-');
    name.strip_prefix("buffer-").and_then(|rest| rest.strip_suffix(".sqlite")).is_some_and(digits)
}
