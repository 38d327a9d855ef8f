//! Faults that shape a session's connection.
//!
//! Owns which of them go together: one of each kind. Must not carry them out (`link`).

use tokio::time::Instant;

use crate::fault::table::Site;
use crate::fault::{Fault, Point, Ws};
use crate::gateway::link::Wear;
use crate::gateway::session::Session;

/// One for each kind.
const KINDS: [fn(&Ws) -> bool; 5] = [
    |fault| matches!(fault, Ws::Buffering(_)),
    |fault| matches!(fault, Ws::IdleCut(_)),
    |fault| matches!(fault, Ws::Flap(_)),
    |fault| matches!(fault, Ws::MaxFrame(_)),
    |fault| matches!(fault, Ws::PingDropped),
];

/// Whether a fault shapes a session: it is none of those of which one strikes at a point.
pub(super) fn shapes(fault: &Fault) -> bool {
    matches!(fault, Fault::Ws(fault) if KINDS.iter().any(|is_one| is_one(fault)))
}

impl Session<'_> {
    /// Faults that shape a session: they go together, one of each kind.
    pub(super) fn wear(&mut self) {
        if !self.hub.faults.any() {
            return;
        }
        let mut wear = Wear::default();
        for is_wanted in KINDS {
            let site = Site::new(Point::Upgrade, self.peer.address.ip()).of(self.agent.as_ref());
            let fault = self.hub.faults.take(&site, |fault| match fault {
                Fault::Ws(fault) if is_wanted(fault) => Some(fault.clone()),
                _ => None,
            });
            match fault {
                Some(Ws::Buffering(bytes)) => wear.hold_back = Some(bytes),
                Some(Ws::IdleCut(time)) => wear.idle_cut = Some(time),
                Some(Ws::Flap(time)) => {
                    let part = (self.hub.faults.roll() >> 40) as f64 / f64::from(1_u32 << 24);
                    wear.cut_at = Some(Instant::now() + time.mul_f64(part));
                }
                Some(Ws::MaxFrame(bytes)) => wear.max_message = Some(bytes),
                Some(_) => wear.mutes_pongs = true,
                None => {}
            }
        }
        self.link.wear(wear);
    }
}
