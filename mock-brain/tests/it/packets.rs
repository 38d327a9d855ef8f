//! What a fault puts on the wire, packet by packet: captured in a network namespace of the test's own.
//!
//! Entering one takes root; elsewhere the tests say so and pass by.

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;

use mock_brain::{Brain, Options};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket};
use nix::sys::time::TimeVal;

use crate::support::{start, within};
use crate::visit::visit;

/// Flags of a TCP header (RFC 9293, 3.1).
const FIN: u8 = 0x01;
const RST: u8 = 0x04;

/// One segment that the brain sent.
#[derive(Debug, PartialEq)]
struct Segment {
    flags: u8,
    bytes: usize,
}

/// Every packet of the namespace.
struct Capture(OwnedFd);

impl Capture {
    fn open() -> nix::Result<Self> {
        let (family, all) = (AddressFamily::Packet, SockProtocol::EthAll);
        let fd = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, Some(all))?;
        setsockopt(&fd, ReceiveTimeout, &TimeVal::new(0, 300_000))?;
        Ok(Self(fd))
    }

    /// What the brain sent so far, until nothing comes for a moment.
    fn sent_by(&self, brain: &Brain) -> Vec<Segment> {
        let port = brain.local_addr().port();
        let (mut segments, mut packet) = (Vec::new(), vec![0; 65_536]);
        while let Ok(count) = recv(self.0.as_raw_fd(), &mut packet, MsgFlags::empty()) {
            segments.extend(segment(&packet[..count], port));
        }
        // The loopback shows every packet twice, going out and coming in.
        segments.into_iter().step_by(2).collect()
    }
}

/// Reads Ethernet, IPv4 and TCP (RFC 894, 791, 9293); none if it is not from that port.
fn segment(packet: &[u8], port: u16) -> Option<Segment> {
    let ip = packet.strip_prefix::<[u8]>(&[0; 12])?.strip_prefix::<[u8]>(&[8, 0])?;
    let length = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
    let tcp = ip.get(usize::from(ip[0] & 0xf) * 4..length)?;
    let from = u16::from_be_bytes([*tcp.first()?, *tcp.get(1)?]);
    let header = usize::from(*tcp.get(12)? >> 4) * 4;
    (from == port).then(|| Segment { flags: tcp[13], bytes: tcp.len() - header })
}

/// Runs in a network namespace of its own, whose loopback is up.
fn isolated(test: impl AsyncFnOnce(Capture) + Send + 'static) {
    let run = move || -> Result<(), String> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("no network namespace: {error}"))?;
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        if !up.map_err(|error| format!("ip: {error}"))?.success() {
            return Err("ip link set lo up failed".to_owned());
        }
        let capture = Capture::open().map_err(|error| format!("no packet socket: {error}"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test(capture));
        Ok(())
    };
    if let Err(reason) = std::thread::spawn(run).join().expect("the test itself failed") {
        eprintln!("skipped: {reason} (it takes root)");
    }
}

async fn brain(fault: &str) -> Brain {
    let faults = vec![fault.parse().unwrap()];
    start(Options { tls: false, faults, ..Options::default() }).await
}

fn count(segments: &[Segment], flag: u8) -> usize {
    segments.iter().filter(|segment| segment.flags & flag != 0).count()
}

#[test]
fn a_reset_is_a_rst_and_no_fin() {
    isolated(async |capture| {
        for (fault, bytes) in [("tcp.reset", false), ("tcp.reset at hello", true), ("tcp.reset at ack", true)]
        {
            let brain = brain(fault).await;
            let line = visit(&brain, "/ws/agent").await;
            assert_ne!(line, "good", "{fault}");
            let sent = capture.sent_by(&brain);
            assert!(count(&sent, RST) >= 1, "{fault}: {sent:?}");
            assert_eq!(count(&sent, FIN), 0, "{fault}: {sent:?}");
            assert_eq!(sent.iter().any(|segment| segment.bytes > 0), bytes, "{fault}: {sent:?}");
            within(brain.stop()).await;
        }
    });
}

#[test]
fn a_close_is_a_fin_and_no_rst() {
    isolated(async |capture| {
        let brain = brain("tcp.closed at hello").await;
        assert_ne!(visit(&brain, "/ws/agent").await, "good");
        let sent = capture.sent_by(&brain);
        assert_eq!((count(&sent, RST), count(&sent, FIN)), (0, 1), "{sent:?}");
    });
}

#[test]
fn a_half_open_connection_sends_neither() {
    isolated(async |capture| {
        let brain = brain("tcp.half-open at hello").await;
        let visited = visit(&brain, "/ws/agent");
        let mut visited = std::pin::pin!(visited);
        // While the client still waits.
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(600), visited.as_mut()).await;
        assert!(waiting.is_err(), "{waiting:?}");
        let sent = capture.sent_by(&brain);
        assert_eq!((count(&sent, RST), count(&sent, FIN)), (0, 0), "{sent:?}");
        assert!(sent.iter().any(|segment| segment.bytes > 0), "the 101: {sent:?}");
        assert_eq!(visited.await, "hello: silent");
    });
}

#[test]
fn slices_are_segments_of_that_size() {
    isolated(async |capture| {
        let brain = brain("tcp.sliced(bytes=7, pause=2ms)").await;
        assert_eq!(visit(&brain, "/ws/agent").await, "good");
        let sent = capture.sent_by(&brain);
        let sizes: Vec<_> = sent.iter().map(|segment| segment.bytes).filter(|bytes| *bytes > 0).collect();
        assert!(sizes.len() > 20, "{sizes:?}");
        assert!(sizes.iter().all(|bytes| *bytes <= 7), "{sizes:?}");
    });
}
