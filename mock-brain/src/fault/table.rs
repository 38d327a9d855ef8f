//! The faults that are set, and how often each has struck.
//!
//! Owns the order and the counts. Must not carry a fault out.

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::{Fault, FaultSpec, Point, Tcp};
use crate::lock::lock;

/// Most faults at a time.
const MAX_FAULTS: usize = 64;

/// A fault that is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveFault {
    /// Its text.
    pub spec: FaultSpec,
    /// How many connections it struck.
    pub struck: u32,
}

impl ActiveFault {
    fn is_spent(&self) -> bool {
        self.spec.first().is_some_and(|first| self.struck >= first.get())
    }
}

/// The faults of one brain, in the order in which they were set. A spent one (`first N` done) is gone.
#[derive(Default)]
pub(crate) struct FaultTable(Mutex<Vec<ActiveFault>>);

impl FaultTable {
    /// Sets a fault. One of the same name and point is replaced, and its count starts anew; beyond the bound
    /// the oldest goes.
    pub(crate) fn set(&self, spec: FaultSpec) {
        let mut faults = lock(&self.0);
        faults.retain(|fault| (fault.spec.name(), fault.spec.at()) != (spec.name(), spec.at()));
        if faults.len() == MAX_FAULTS {
            faults.remove(0);
        }
        faults.push(ActiveFault { spec, struck: 0 });
    }

    /// Takes faults away: those of a name, or all. Tells whether there was one.
    pub(crate) fn clear(&self, name: Option<&str>) -> bool {
        let mut faults = lock(&self.0);
        let before = faults.len();
        faults.retain(|fault| name.is_some_and(|name| fault.spec.name() != name));
        faults.len() < before
    }

    pub(crate) fn list(&self) -> Vec<ActiveFault> {
        lock(&self.0).clone()
    }

    pub(crate) fn refuses_connections(&self) -> bool {
        lock(&self.0).iter().any(|fault| *fault.spec.fault() == Fault::Tcp(Tcp::Refused))
    }

    /// The first fault at this point that `pick` wants, counted as having struck.
    pub(crate) fn take<T>(&self, point: Point, pick: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        let mut faults = lock(&self.0);
        let (index, picked) = faults.iter().enumerate().find_map(|(index, fault)| {
            let here = fault.spec.at() == point;
            Some((index, pick(fault.spec.fault()).filter(|_| here)?))
        })?;
        let fault = &mut faults[index];
        fault.struck = fault.struck.saturating_add(1);
        if fault.is_spent() {
            faults.remove(index);
        }
        Some(picked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(fault: &Fault) -> Option<&'static str> {
        if let Fault::Tls(fault) = fault { Some(fault.name()) } else { None }
    }

    #[test]
    fn counted_faults_end_and_the_order_is_that_of_setting() {
        let table = FaultTable::default();
        for text in ["tls.expired first 2", "tls.self-signed first 1", "tcp.reset"] {
            table.set(text.parse().unwrap());
        }
        let take = || table.take(Point::Handshake, tls);
        assert_eq!(table.take(Point::Hello, tls), None);
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
        let table = FaultTable::default();
        table.set("tls.expired first 2".parse().unwrap());
        assert!(table.take(Point::Handshake, tls).is_some());
        table.set("tls.expired first 1".parse().unwrap());
        assert_eq!(table.list(), [ActiveFault { spec: "tls.expired first 1".parse().unwrap(), struck: 0 }]);
    }
}
