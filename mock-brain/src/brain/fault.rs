//! A running brain's faults: set, list and clear them.
//!
//! Owns no state: the hub's table has the faults. Must not decide where one strikes.

use crate::brain::Brain;
use crate::fault::{FaultError, FaultSpec};

impl Brain {
    /// Sets a fault; it is in effect when this returns. One of the same name and point is replaced.
    ///
    /// # Errors
    /// It is a TLS fault, and this brain runs without TLS.
    pub fn set_fault(&self, spec: FaultSpec) -> Result<(), FaultError> {
        self.hub.set_fault(spec)
    }

    /// Clears the faults of a name. Tells whether there was one.
    pub fn clear_fault(&self, name: &str) -> bool {
        self.hub.clear_faults(Some(name))
    }

    /// Clears all faults.
    pub fn clear_faults(&self) {
        self.hub.clear_faults(None);
    }

    /// The faults that are set and not spent, in the order in which they were set.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultSpec> {
        self.hub.faults.list().into_iter().map(|fault| fault.spec).collect()
    }

    /// How often faults have struck so far, spent ones too.
    #[must_use]
    pub fn fault_strikes(&self) -> u64 {
        self.hub.faults.strikes()
    }
}
