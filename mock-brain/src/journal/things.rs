//! What the things beside the entries take in the file, and which of them are not kept there.
//!
//! Owns their share of the bound: the newest sessions and the first violations, as their lists have it. Commands
//! are bounded by their number alone, since one that waits must be there after a restart. What is not kept here
//! is listed all the same until the brain ends.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::Table;
use super::disk::Work;
use super::read::{self, put};

/// Sessions, and violations, take this part of the bound at most.
const PART: u64 = 4;

/// What each thing in the file counts for.
#[derive(Default)]
pub(super) struct Things {
    weights: BTreeMap<(Table, u64), u64>,
    /// What those of each table count for together.
    taken: [u64; Table::ALL.len()],
    share: u64,
}

impl Things {
    /// Those of a file that is to hold so many bytes.
    pub(super) fn of(connection: &Connection, max_bytes: u64) -> rusqlite::Result<Self> {
        let mut things = Self { share: max_bytes / PART, ..Self::default() };
        things.load(connection)?;
        Ok(things)
    }

    /// Forgets what was undone.
    pub(super) fn load(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let lengths = read::lengths(connection)?;
        self.clear();
        lengths.into_iter().for_each(|(thing, length)| self.insert(thing, weight(length)));
        Ok(())
    }

    /// All that they take.
    pub(super) fn weight(&self) -> u64 {
        self.taken.iter().sum()
    }

    /// How much more they will take with what is to be written, at most.
    pub(super) fn growth(&self, work: &[Work]) -> u64 {
        let of = |table: Table| {
            let new = work.iter().filter_map(|one| match one {
                Work::Thing(of, serial, Some(json)) if *of == table => {
                    let before = self.weights.get(&(table, *serial)).copied().unwrap_or_default();
                    Some(weight(json.len() as u64).saturating_sub(before))
                }
                _ => None,
            });
            let new: u64 = new.sum();
            if table == Table::Commands { new } else { new.min(self.share.saturating_sub(self.taken(table))) }
        };
        Table::ALL.into_iter().map(of).sum()
    }

    const fn taken(&self, table: Table) -> u64 {
        self.taken[table as usize]
    }

    fn insert(&mut self, thing: (Table, u64), weight: u64) {
        self.remove(thing);
        self.weights.insert(thing, weight);
        self.taken[thing.0 as usize] += weight;
    }

    fn remove(&mut self, thing: (Table, u64)) {
        self.taken[thing.0 as usize] -= self.weights.remove(&thing).unwrap_or_default();
    }

    /// Writes a thing as it is now, or lets go of it, within the share.
    pub(super) fn put(
        &mut self,
        connection: &Connection,
        thing: (Table, u64),
        json: Option<&str>,
    ) -> rusqlite::Result<()> {
        self.remove(thing);
        let coming = json.map_or(0, |json| weight(json.len() as u64));
        self.make_room(connection, thing.0, coming)?;
        let json = json.filter(|_| thing.0 != Table::Violations || self.has_room(thing, coming));
        if json.is_some() {
            self.insert(thing, coming);
        }
        put(connection, thing.0, thing.1, json)
    }

    /// Whether a violation is kept. Their numbers are their places: behind one that is not, none is.
    fn has_room(&self, (table, serial): (Table, u64), coming: u64) -> bool {
        let is_next = serial.checked_sub(1).is_none_or(|before| self.weights.contains_key(&(table, before)));
        is_next && self.taken(table) + coming <= self.share
    }

    /// Lets the oldest sessions go for those that come, and the last violations if there is less room than before.
    fn make_room(&mut self, connection: &Connection, table: Table, coming: u64) -> rusqlite::Result<()> {
        let (first, coming) = match table {
            Table::Commands => return Ok(()),
            Table::Sessions => (true, coming),
            Table::Violations => (false, 0),
        };
        while self.taken(table) + coming > self.share {
            let mut of_table = self.weights.range((table, 0)..=(table, u64::MAX)).map(|(thing, _)| *thing);
            let gone = if first { of_table.next() } else { of_table.next_back() };
            let Some(gone) = gone else { break };
            self.remove(gone);
            put(connection, gone.0, gone.1, None)?;
        }
        Ok(())
    }

    /// All of them went.
    pub(super) fn clear(&mut self) {
        self.weights.clear();
        self.taken = Default::default();
    }
}

/// What a thing of so many bytes takes: its row, in pages that are two thirds full, and what of it goes to pages
/// of its own (SQLite's file format, 1.6: index b-trees, of pages of 8 KiB).
fn weight(length: u64) -> u64 {
    const ROW: u64 = 32;
    const MAX_LOCAL: u64 = 2_030;
    const MIN_LOCAL: u64 = 1_003;
    const PAGE: u64 = 8_192;
    let row = length + ROW;
    let pages = if row > MAX_LOCAL { (row - MIN_LOCAL).div_ceil(PAGE - 4) } else { 0 };
    row.min(MAX_LOCAL) * 3 / 2 + pages * PAGE
}
