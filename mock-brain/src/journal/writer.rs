//! The thread that has the file, and the order in which it works.
//!
//! Owns group commit: all that waits goes into one transaction, and what comes meanwhile into the next, so
//! that groups grow with the load and nobody waits for a timer. Questions are answered after that, and see
//! what was noted before them. What cannot be written is tried again, and nobody is told that it is safe; questions
//! are answered meanwhile, from what is.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::disk::{Ask, Shared, Work};
use super::entry::Entry;
use super::event::place;
use super::evict::{self, evict};
use super::file::{Counters, File, save, settle, taken};
use super::things::Things;
use super::{Mark, read};
use crate::lock::lock;
use crate::registry::Agent;
use crate::store::Index;

/// How often what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    pub(super) file: File,
    pub(super) max_bytes: u64,
    pub(super) index: Arc<Index>,
    pub(super) shared: Arc<Shared>,
    /// The numbers of agents, by UUID and name.
    pub(super) agents: HashMap<(Uuid, String), i64>,
    pub(super) things: Things,
}

/// What is taken out of the queue at once.
struct Group {
    work: Vec<Work>,
    asks: Vec<Ask>,
    mark: Mark,
    closed: bool,
}

impl Writer {
    /// Works until the journal is closed and all is written.
    pub(super) fn run(mut self) {
        let begun = Instant::now();
        match read::ids(&self.file.connection, |id, place, agent| self.index.restore(id, place, agent)) {
            Ok(count) => tracing::debug!(count, elapsed = ?begun.elapsed(), "the journal's events are known"),
            Err(error) => tracing::error!(%error, path = ?self.file.path, "the journal cannot be read"),
        }
        self.shared.ready.send_replace(true);
        if self.file.new
            && let Err(error) = settle(&self.file.connection)
        {
            tracing::warn!(%error, path = ?self.file.path, "the new journal is not on the disk yet");
        }
        loop {
            let mut group = self.next();
            // Before it is written: the file does not shrink again.
            let entries: u64 = group.work.iter().map(Work::weight).sum();
            self.bound(entries + self.things.growth(&group.work));
            let written = self.write_or_wait(&mut group);
            if written {
                // A group of questions alone is no news: whoever reads must not wake whoever waits.
                self.shared
                    .committed
                    .send_if_modified(|mark| std::mem::replace(mark, group.mark) != group.mark);
            }
            self.answer(&mut group.asks);
            if group.closed || !written {
                break;
            }
            self.bound(0);
        }
        // Nobody is to wait for an answer that will not come.
        lock(&self.shared.queue).asks.clear();
        let File { connection, path, .. } = self.file;
        if let Err((_, error)) = connection.close() {
            tracing::warn!(%error, ?path, "the journal was not closed");
        }
    }

    /// Waits for something to do, and takes all there is.
    fn next(&self) -> Group {
        let mut queue = lock(&self.shared.queue);
        while queue.work.is_empty() && queue.asks.is_empty() && !queue.closed {
            queue = self.shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.bytes = 0;
        Group {
            work: std::mem::take(&mut queue.work),
            asks: std::mem::take(&mut queue.asks),
            mark: queue.mark,
            closed: queue.closed,
        }
    }

    fn answer(&mut self, asks: &mut Vec<Ask>) {
        for ask in asks.drain(..) {
            ask(&mut self.file);
        }
    }

    /// Writes, however often it takes; `false` if the journal was closed meanwhile.
    fn write_or_wait(&mut self, group: &mut Group) -> bool {
        let mut told = false;
        while let Err(error) = self.write(&group.work) {
            if !told {
                tracing::error!(%error, path = ?self.file.path, "the journal cannot be written; batches wait");
                told = true;
            }
            self.shared.failing.send_replace(Some(error.to_string()));
            let until = Instant::now() + RETRY;
            while Instant::now() < until {
                self.answer(&mut group.asks);
                let mut queue = lock(&self.shared.queue);
                if queue.asks.is_empty() && !queue.closed {
                    let left = until.saturating_duration_since(Instant::now());
                    let waited = self.shared.wake.wait_timeout(queue, left);
                    queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                if queue.closed {
                    return false;
                }
                group.asks = std::mem::take(&mut queue.asks);
            }
        }
        if told {
            self.shared.failing.send_replace(None);
            tracing::info!(path = ?self.file.path, "the journal can be written again");
        }
        true
    }

    /// Writes in one transaction. What fails leaves nothing behind.
    fn write(&mut self, work: &[Work]) -> rusqlite::Result<()> {
        if work.is_empty() {
            return Ok(());
        }
        let mut counters = self.file.counters;
        let connection = &self.file.connection;
        let (agents, things) = (&mut self.agents, &mut self.things);
        let done = transaction(connection, || {
            for one in work {
                match one {
                    Work::Entry(seq, entry) => insert(connection, agents, &mut counters, *seq, entry)?,
                    Work::Reset => {
                        counters = evict::clear(connection, counters)?;
                        things.clear();
                    }
                    Work::Thing(table, serial, json) => {
                        things.put(connection, (*table, *serial), json.as_deref())?;
                    }
                }
            }
            save(connection, &counters)
        });
        match done {
            Ok(()) => self.file.counters = counters,
            Err(_) => {
                // They may have got their numbers in what was undone.
                self.agents.clear();
                if let Err(error) = self.things.load(connection) {
                    tracing::error!(%error, path = ?self.file.path, "the journal cannot be read");
                }
            }
        }
        done
    }

    /// Lets the oldest entries go if there are too many beside those to come, and the index forget their events.
    fn bound(&mut self, coming: u64) {
        match evict(&mut self.file, self.max_bytes, coming + self.things.weight()) {
            Ok(gone) => self.index.forget(&gone),
            Err(error) => tracing::error!(%error, path = ?self.file.path, "the journal cannot be bounded"),
        }
    }
}

/// Does something in one transaction.
pub(super) fn transaction<T>(
    connection: &Connection,
    work: impl FnOnce() -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let done = work().and_then(|value| connection.execute_batch("COMMIT").map(|()| value));
    // SQLite has rolled back already after some errors.
    if done.is_err() && !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    done
}

fn insert(
    connection: &Connection,
    agents: &mut HashMap<(Uuid, String), i64>,
    counters: &mut Counters,
    seq: u64,
    entry: &Entry,
) -> rusqlite::Result<()> {
    let agent = entry.agent.as_deref().map(|agent| number(connection, agents, agent)).transpose()?;
    let raw = (!entry.raw.is_empty()).then_some(&*entry.raw);
    let weight = taken(entry.weight() as u64);
    let sql = "INSERT INTO entries (seq, at, kind, type, session, agent, detail, size, weight, raw)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    connection.prepare_cached(sql)?.execute(params![
        seq,
        entry.at.unix_micros(),
        entry.kind.as_str(),
        entry.type_,
        entry.session.as_deref(),
        agent,
        entry.detail,
        entry.size as u64,
        weight,
        raw,
    ])?;
    counters.last_seq = seq;
    counters.weight += weight;
    let mut accept = connection.prepare_cached("INSERT INTO events (place, at, id) VALUES (?1, ?2, ?3)")?;
    let sql = "INSERT INTO duplicates (place, at, id, original) VALUES (?1, ?2, ?3, ?4)";
    let mut repeat = connection.prepare_cached(sql)?;
    for event in &entry.events {
        let (place, at, id) = (place(seq, event.nth), event.at.unix_micros(), event.id.as_bytes().as_slice());
        match event.original {
            None => {
                accept.execute(params![place, at, id])?;
                counters.events += 1;
                counters.accepted += 1;
            }
            Some(original) => {
                repeat.execute(params![place, at, id, original])?;
                counters.duplicates += 1;
            }
        }
    }
    Ok(())
}

/// The number of an agent, given to it at its first entry.
fn number(
    connection: &Connection,
    agents: &mut HashMap<(Uuid, String), i64>,
    agent: &Agent,
) -> rusqlite::Result<i64> {
    let key = (agent.id, agent.name.clone());
    if let Some(number) = agents.get(&key) {
        return Ok(*number);
    }
    let columns = params![agent.id.as_bytes(), agent.project.id.as_bytes(), agent.name];
    connection
        .prepare_cached("INSERT OR IGNORE INTO agents (agent_id, project_id, name) VALUES (?1, ?2, ?3)")?
        .execute(columns)?;
    let sql = "SELECT number FROM agents WHERE agent_id = ?1 AND project_id = ?2 AND name = ?3";
    let number = connection.prepare_cached(sql)?.query_row(columns, |row| row.get(0))?;
    agents.insert(key, number);
    Ok(number)
}
