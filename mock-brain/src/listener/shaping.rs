//! What faults make of a connection's bytes.
//!
//! Owns the way from faults to shapes. How bytes are held up is the stream's.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::cut;
use crate::fault::table::Site;
use crate::fault::{Direction, Fault, Point, Tcp};
use crate::hub::Hub;
use crate::stream::shape::Way;
use crate::stream::silence::Silence;
use crate::stream::wire::{Cut, Shaping, Watch, Wire};

/// The connection with what faults make of it.
pub(super) fn wire(hub: &Arc<Hub>, socket: TcpStream, peer: SocketAddr) -> Wire {
    let watch = Box::new(Watcher { hub: Arc::clone(hub), peer });
    let mut wire = Wire::new(socket, watch, shaping(hub, peer));
    if let Some(oddities) = &hub.oddities {
        wire.cut_up(oddities.roll());
    }
    wire
}

/// Faults that shape a connection: they go together, one of each kind.
fn shaping(hub: &Hub, peer: SocketAddr) -> Shaping {
    let mut shaping = Shaping::default();
    if !hub.faults.any() {
        return shaping;
    }
    let site = Site::new(Point::Accept, peer.ip());
    let kinds: [fn(&Tcp) -> bool; 5] = [
        |fault| matches!(fault, Tcp::Latency { .. }),
        |fault| matches!(fault, Tcp::Bandwidth { .. }),
        |fault| matches!(fault, Tcp::Sliced { .. }),
        |fault| matches!(fault, Tcp::LimitData(_)),
        |fault| matches!(fault, Tcp::SlowClose(_)),
    ];
    for is_wanted in kinds {
        let fault = hub.faults.take(&site, |fault| match fault {
            Fault::Tcp(fault) if is_wanted(fault) => Some(*fault),
            _ => None,
        });
        if let Some(fault) = fault {
            shape(&mut shaping, fault);
        }
    }
    shaping.seed = hub.faults.roll();
    shaping
}

fn shape(shaping: &mut Shaping, fault: Tcp) {
    let ways = |shaping: &mut Shaping, direction, set: &dyn Fn(&mut Way)| {
        if direction != Direction::Down {
            set(&mut shaping.up);
        }
        if direction != Direction::Up {
            set(&mut shaping.down);
        }
    };
    match fault {
        Tcp::Latency { time, jitter, direction } => {
            ways(shaping, direction, &|way| way.latency = Some((time, jitter)));
        }
        Tcp::Bandwidth { rate, direction } => ways(shaping, direction, &|way| way.rate = Some(rate)),
        Tcp::Sliced { bytes, pause } => shaping.down.slice = Some((bytes, pause)),
        Tcp::LimitData(bytes) => shaping.down.limit = Some(bytes),
        Tcp::SlowClose(time) => shaping.slow_close = Some(time),
        _ => {}
    }
}

/// Counts a connection's bytes for faults.
struct Watcher {
    hub: Arc<Hub>,
    peer: SocketAddr,
}

impl Watch for Watcher {
    fn passed(&mut self, from: u64, to: u64) -> Option<Cut> {
        if !self.hub.faults.any() {
            return None;
        }
        let taken =
            self.hub.faults.take(&Site { from, to, ..Site::new(Point::AfterBytes, self.peer.ip()) }, cut)?;
        tracing::info!(peer = %self.peer, cut = ?taken, bytes = to, "fault in the connection");
        Some(taken)
    }

    fn silence(&mut self, socket: TcpStream, silence: Silence) {
        self.hub.hold(socket, silence);
    }
}
