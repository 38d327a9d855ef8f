//! What comes round without being asked for: a look at the files, another try of what failed, orphans, old
//! commands.
//!
//! Owns when. Must not decide how a file is mended or an orphan adopted.

use std::time::{Duration, Instant};

use super::store::Durability;
use super::writer::Writer;

/// How often the files are looked at while nothing is written.
const CHECK: Duration = Duration::from_secs(2);
/// How often what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often orphans are looked for.
const SCAN: Duration = Duration::from_secs(10);
/// How often old commands are forgotten.
const PRUNE: Duration = Duration::from_secs(30);

/// When what comes round is due.
#[derive(Debug)]
pub(super) struct Due {
    check: Instant,
    scan: Instant,
    prune: Instant,
}

impl Due {
    pub(super) fn now() -> Self {
        let now = Instant::now();
        Self { check: now + CHECK, scan: now, prune: now + PRUNE }
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Instant {
        self.check.min(self.scan)
    }

    /// Looks for orphans next.
    pub(super) fn look_now(&mut self) {
        self.scan = Instant::now();
    }
}

impl Writer {
    /// What comes round: the files, what failed, orphans, old commands.
    pub(super) fn duties(&mut self) {
        let now = Instant::now();
        if self.store.counters.events == 0
            && let Some(moved) = self.adopter.waits()
        {
            // Everything here is delivered: there is as much room now as there will be.
            self.due.scan = self.due.scan.min(if moved { now } else { now + RETRY });
        }
        if now >= self.due.check {
            let retry = self.refused.is_some() || !self.pending.is_empty();
            if retry || self.watched.missing().is_some() {
                let _ = self.commit(&[]);
            }
            self.due.check = now + if self.refused.is_some() { RETRY } else { CHECK };
        }
        if now >= self.due.prune {
            self.due.prune = now + PRUNE;
            self.prune();
        }
        if now >= self.due.scan || self.adopter.is_busy() {
            self.adopt(now);
        }
    }

    /// Looks for orphans, or takes over the next part of one.
    fn adopt(&mut self, now: Instant) {
        if !self.has_its_name() {
            // What was taken over would go into a file that dies with this process.
            self.adopter.release();
            self.due.scan = now + SCAN;
            return;
        }
        let micros = self.clock.now().unix_micros();
        if !self.adopter.is_busy() {
            self.due.scan = now + SCAN;
            let roots = self.chooser.roots(&self.store.path);
            let whose = (self.chooser.uid(), self.chooser.deployment.as_str());
            self.adopter.look(&mut self.store, &roots, whose, self.bounds, micros);
        }
        if self.adopter.is_busy() {
            if let Err(error) = self.adopter.step(&mut self.store, self.bounds, micros) {
                tracing::debug!("{} takes nothing over now: {error}", self.store.path.display());
                self.adopter.release();
            }
            self.count_results();
        }
    }

    /// Whether the file still bears its name, or another does by now that holds all of it.
    fn has_its_name(&mut self) -> bool {
        self.watched.missing().is_none() || (self.commit(&[]).is_ok() && self.watched.missing().is_none())
    }

    pub(super) fn prune(&mut self) {
        let now = self.clock.now().unix_micros();
        let pruned = self.store.write(Durability::Normal, |store| store.prune_commands(now));
        if let Err(error) = pruned.and_then(|()| self.store.shrink()) {
            tracing::debug!("{}: {error}", self.store.path.display());
        }
    }
}
