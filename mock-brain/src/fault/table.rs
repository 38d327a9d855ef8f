//! The faults that are set, and how often each has struck.
//!
//! Owns the order, the counts, the times and the dice. Must not carry a fault out.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Fault, FaultSpec, Lasts, Point, Tcp, When, Who};
use crate::clock;
use crate::journal::{Entry as JournalEntry, Journal, Kind};
use crate::lock::lock;
use crate::registry::Agent;

/// Most faults at a time.
const MAX_FAULTS: usize = 64;

/// A fault that is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActiveFault {
    /// Its text.
    #[schema(value_type = String)]
    pub spec: FaultSpec,
    /// How often it struck.
    pub struck: u32,
}

/// An arrival at a point.
pub(crate) struct Site<'s> {
    pub(crate) point: Point,
    /// Which ones of a session's frames, events or acks, or of a connection's bytes: those after `from` up
    /// to `to`.
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) address: IpAddr,
    /// The agent, once it is known.
    pub(crate) agent: Option<&'s Arc<Agent>>,
    /// The worker id, once it is known.
    pub(crate) worker: Option<&'s str>,
}

impl<'s> Site<'s> {
    /// An arrival at a point that has no numbers, of somebody who is not known yet.
    pub(crate) const fn new(point: Point, address: IpAddr) -> Self {
        Self { point, from: 0, to: 0, address, agent: None, worker: None }
    }

    /// Of a known agent.
    pub(crate) const fn of(self, agent: Option<&'s Arc<Agent>>) -> Self {
        Self { agent, ..self }
    }

    fn is_at(&self, spec: &FaultSpec) -> bool {
        let who = match &spec.who {
            None => true,
            Some(Who::Agent(name)) => self.agent.is_some_and(|agent| agent.is_called(name)),
            Some(Who::Token(digits)) => {
                self.agent.is_some_and(|agent| agent.token_fingerprint().starts_with(digits.as_str()))
            }
            Some(Who::Project(slug)) => self.agent.is_some_and(|agent| agent.project.slug == *slug),
            Some(Who::Worker(id)) => self.worker == Some(id),
            Some(Who::Address(address)) => self.address.to_canonical() == address.to_canonical(),
        };
        let here = spec.at == self.point;
        who && here && spec.number.is_none_or(|number| (self.from + 1..=self.to).contains(&number.get()))
    }
}

struct Entry {
    active: ActiveFault,
    /// How often somebody arrived at its point.
    seen: u32,
    set_at: Instant,
}

impl Entry {
    fn begins(&self) -> Instant {
        match self.active.spec.when {
            When::After(time) => self.set_at + time,
            _ => self.set_at,
        }
    }

    fn ends(&self) -> Option<Instant> {
        match self.active.spec.lasts {
            Some(Lasts::Time(time)) => Some(self.begins() + time),
            _ => None,
        }
    }

    fn is_spent(&self, now: Instant) -> bool {
        let counted = self.active.spec.first().is_some_and(|first| self.seen >= first.get());
        let struck = match self.active.spec.lasts {
            Some(Lasts::Times(times)) => self.active.struck >= times.get(),
            _ => false,
        };
        counted || struck || self.ends().is_some_and(|end| now >= end)
    }

    /// Counts an arrival, and tells whether it is struck.
    fn strikes(&mut self, now: Instant, dice: &mut Dice) -> bool {
        if self.is_spent(now) || now < self.begins() {
            return false;
        }
        self.seen = self.seen.saturating_add(1);
        let chosen = match self.active.spec.when {
            When::Every(count) => self.seen.is_multiple_of(count.get()),
            _ => true,
        };
        let strikes = chosen && self.active.spec.chance.is_none_or(|chance| chance.comes_true(dice.roll()));
        self.active.struck = self.active.struck.saturating_add(u32::from(strikes));
        strikes
    }
}

/// A random number generator with a seed (SplitMix64), so that a run can be had again.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

struct Inner {
    entries: Vec<Entry>,
    dice: Dice,
    /// How often one of them struck.
    strikes: u64,
}

impl Inner {
    fn forget_spent(&mut self, now: Instant) {
        self.entries.retain(|entry| !entry.is_spent(now));
    }
}

/// The faults of one brain, in the order in which they were set. A spent one is gone.
pub(crate) struct FaultTable {
    /// Whether there may be one: most frames of most brains meet none, and need no lock to know.
    any: AtomicBool,
    inner: Mutex<Inner>,
    journal: Arc<Journal>,
}

impl FaultTable {
    /// No faults, and the seed of the dice.
    pub(crate) fn new(seed: u64, journal: &Arc<Journal>) -> Self {
        let inner = Inner { entries: Vec::new(), dice: Dice(seed), strikes: 0 };
        Self { any: AtomicBool::new(false), inner: Mutex::new(inner), journal: Arc::clone(journal) }
    }

    /// Sets a fault. One of the same name, place and victims is replaced, and its count starts anew; beyond
    /// the bound the oldest goes.
    pub(crate) fn set(&self, spec: FaultSpec) {
        let mut inner = lock(&self.inner);
        let now = Instant::now();
        inner.forget_spent(now);
        let same = |old: &FaultSpec| {
            (old.name(), old.at, old.number, &old.who) == (spec.name(), spec.at, spec.number, &spec.who)
        };
        inner.entries.retain(|entry| !same(&entry.active.spec));
        if inner.entries.len() == MAX_FAULTS {
            inner.entries.remove(0);
        }
        inner.entries.push(Entry { active: ActiveFault { spec, struck: 0 }, seen: 0, set_at: now });
        self.any.store(true, Ordering::Release);
    }

    /// Takes faults away: those of a name, or all. Tells whether there was one.
    pub(crate) fn clear(&self, name: Option<&str>) -> bool {
        let mut inner = lock(&self.inner);
        inner.forget_spent(Instant::now());
        let before = inner.entries.len();
        inner.entries.retain(|entry| name.is_some_and(|name| entry.active.spec.name() != name));
        self.any.store(!inner.entries.is_empty(), Ordering::Release);
        inner.entries.len() < before
    }

    pub(crate) fn list(&self) -> Vec<ActiveFault> {
        let mut inner = lock(&self.inner);
        inner.forget_spent(Instant::now());
        inner.entries.iter().map(|entry| entry.active.clone()).collect()
    }

    /// Whether connects are refused now.
    pub(crate) fn refuses_connections(&self) -> bool {
        let now = Instant::now();
        lock(&self.inner).entries.iter().any(|entry| {
            let refuses = *entry.active.spec.fault() == Fault::Tcp(Tcp::Refused);
            refuses && now >= entry.begins() && !entry.is_spent(now)
        })
    }

    pub(crate) fn strikes(&self) -> u64 {
        lock(&self.inner).strikes
    }

    /// A random number, for a fault that is one of chance in itself.
    pub(crate) fn roll(&self) -> u64 {
        lock(&self.inner).dice.roll()
    }

    /// Whether there may be a fault: who arrives is worth finding out.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// The first fault that strikes this arrival, of those that `pick` wants.
    pub(crate) fn take<T>(&self, site: &Site<'_>, pick: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        if !self.any() {
            return None;
        }
        let mut inner = lock(&self.inner);
        let Inner { entries, dice, strikes } = &mut *inner;
        let now = Instant::now();
        let taken = entries.iter_mut().find_map(|entry| {
            let picked = pick(entry.active.spec.fault()).filter(|_| site.is_at(&entry.active.spec))?;
            entry
                .strikes(now, dice)
                .then(|| (picked, entry.active.spec.to_string(), entry.active.spec.name()))
        });
        *strikes += u64::from(taken.is_some());
        inner.forget_spent(now);
        drop(inner);
        let (picked, spec, name) = taken?;
        let detail = format!("{spec}, at {}, {}", site.point.as_str(), site.address);
        self.journal
            .record(JournalEntry::new(Kind::Fault, name, clock::now()).saying(detail).of_agent(site.agent));
        Some(picked)
    }
}

/// After which times the state of listening may change because of a fault.
pub(crate) fn turns(spec: &FaultSpec) -> Vec<Duration> {
    let begin = if let When::After(time) = spec.when { time } else { Duration::ZERO };
    let end = if let Some(Lasts::Time(time)) = spec.lasts { Some(begin + time) } else { None };
    [Some(begin), end].into_iter().flatten().filter(|turn| !turn.is_zero()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn tls(fault: &Fault) -> Option<&'static str> {
        if let Fault::Tls(fault) = fault { Some(fault.name()) } else { None }
    }

    fn any(fault: &Fault) -> Option<&'static str> {
        Some(fault.name())
    }

    fn table(texts: &[&str]) -> FaultTable {
        let table = FaultTable::new(7, &Arc::new(Journal::in_memory()));
        for text in texts {
            table.set(text.parse().unwrap());
        }
        table
    }

    #[test]
    fn counted_faults_end_and_the_order_is_that_of_setting() {
        let table = table(&["tls.expired first 2", "tls.self-signed first 1", "tcp.reset"]);
        let take = || table.take(&Site::new(Point::Handshake, HERE), tls);
        assert_eq!(table.take(&Site::new(Point::Hello, HERE), tls), None);
        assert_eq!(
            [take(), take(), take(), take()],
            [Some("tls.expired"), Some("tls.expired"), Some("tls.self-signed"), None]
        );
        assert_eq!(table.list().len(), 1);
        assert!(table.clear(Some("tcp.reset")));
        assert!(!table.clear(Some("tcp.reset")));
        assert!(!table.clear(None));
    }

    #[test]
    fn setting_again_replaces_and_counts_anew() {
        let table = table(&["tls.expired first 2"]);
        assert!(table.take(&Site::new(Point::Handshake, HERE), tls).is_some());
        table.set("tls.expired first 1".parse().unwrap());
        assert_eq!(table.list(), [ActiveFault { spec: "tls.expired first 1".parse().unwrap(), struck: 0 }]);
    }

    /// Which of the first arrivals at `accept` are struck, counted from 1.
    fn struck(text: &str, arrivals: u32) -> Vec<u32> {
        let table = table(&[text]);
        let site = Site::new(Point::Accept, HERE);
        (1..=arrivals).filter(|_| table.take(&site, any).is_some()).collect()
    }

    #[test]
    fn selectors_choose() {
        assert_eq!(struck("tcp.reset every 3", 8), [3, 6]);
        assert_eq!(struck("tcp.reset every 2 for 2", 8), [2, 4]);
        assert_eq!(struck("tcp.reset for 2", 8), [1, 2]);
        assert_eq!(struck("tcp.reset first 3 for 1", 8), [1]);
        assert!(struck("tcp.reset after 1h", 8).is_empty());
        assert_eq!(struck("tcp.reset p=1", 2), [1, 2]);
        assert_eq!(struck("tcp.reset who=address:127.0.0.1", 1), [1]);
        assert!(struck("tcp.reset who=address:127.0.0.2", 1).is_empty());
        let half = struck("tcp.reset p=0.5", 1_000);
        assert!((400..600).contains(&half.len()), "{}", half.len());
        assert_eq!(half, struck("tcp.reset p=0.5", 1_000), "the seed decides");
    }

    #[test]
    fn numbers_choose_among_a_sessions_frames() {
        let table = table(&["tcp.reset at event 100", "tcp.reset at frame 2"]);
        let at = |point, from, to| table.take(&Site { from, to, ..Site::new(point, HERE) }, any).is_some();
        assert_eq!(
            [(0, 99), (99, 100), (100, 150), (50, 200)].map(|(from, to)| at(Point::Event, from, to)),
            [false, true, false, true]
        );
        assert_eq!([1, 2, 3].map(|n| at(Point::Frame, n - 1, n)), [false, true, false]);
    }
}
