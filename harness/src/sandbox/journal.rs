//! What was started in a sandbox, and what became of it: log lines, words to the service manager, exits.
//!
//! Owns the record, and waking who waits for it. Must not judge.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::wire::Event;

/// One started command, over all its starts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// Its process; none once it has ended.
    pub(crate) pid: Option<i32>,
    pub(crate) running: bool,
    /// Whether somebody wants it to end.
    pub(crate) may_end: bool,
    /// The last exit status; 128 + N for death by signal N.
    pub(crate) status: Option<i32>,
    /// Every line that it wrote.
    pub(crate) lines: Vec<String>,
    /// Every word to the service manager since it was started last.
    pub(crate) notices: Vec<String>,
    /// When it last said that it lives, or was started.
    pub(crate) alive_at: Option<Instant>,
}

/// Everything that was started, by name.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    records: Mutex<BTreeMap<String, Record>>,
    changed: Condvar,
}

impl Journal {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is about to be started.
    pub(super) fn begin(&self, name: &str) {
        let mut records = self.lock();
        let record = records.entry(name.to_owned()).or_default();
        let lines = std::mem::take(&mut record.lines);
        *record = Record { running: true, alive_at: Some(Instant::now()), lines, ..Record::default() };
    }

    /// It was not started after all.
    pub(super) fn forget(&self, name: &str) {
        self.lock().remove(name);
    }

    pub(super) fn has_pid(&self, name: &str, pid: i32) {
        self.change(name, |record| record.pid = Some(pid).filter(|_| record.running));
    }

    /// Its end is wanted, or not any more.
    pub(crate) fn may_end(&self, name: &str, may_end: bool) {
        self.change(name, |record| record.may_end = may_end);
    }

    pub(super) fn note(&self, event: Event) {
        match event {
            Event::Logged { name, line } => self.change(&name, |record| record.lines.push(line)),
            Event::Notified { name, text } => self.change(&name, |record| {
                record.alive_at = Some(Instant::now());
                record.notices.push(text);
            }),
            Event::Ended { name, status } => self.change(&name, |record| {
                record.running = false;
                record.pid = None;
                record.status = Some(status);
            }),
        }
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.lock().get_mut(name) {
            change(record);
        }
        self.changed.notify_all();
    }

    /// Looks at one record.
    pub(crate) fn look<T>(&self, name: &str, look: impl FnOnce(&Record) -> T) -> Option<T> {
        self.lock().get(name).map(look)
    }

    /// Looks at all records.
    pub(crate) fn look_at_all<T>(&self, look: impl FnOnce(&BTreeMap<String, Record>) -> T) -> T {
        look(&self.lock())
    }

    /// Waits until something is noted, or for a time.
    pub(crate) fn wait(&self, time: Duration) {
        // Woken without a reason, the caller looks once more and waits again.
        drop(self.changed.wait_timeout(self.lock(), time));
    }

    /// Waits until a record is as wanted. Tells whether it came to be so.
    pub(crate) fn wait_until(&self, name: &str, limit: Duration, wanted: impl Fn(&Record) -> bool) -> bool {
        let unlike = |records: &mut BTreeMap<String, Record>| !records.get(name).is_some_and(&wanted);
        let waited = self.changed.wait_timeout_while(self.lock(), limit, unlike);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}
