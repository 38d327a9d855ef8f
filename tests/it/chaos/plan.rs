//! What happens in a round, drawn from a seed.

use std::fmt;

/// SplitMix64: small, and the same everywhere.
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or_default()
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Something that goes wrong.
#[derive(Clone, Debug)]
pub(super) enum Blow {
    /// kill -9 of the agent, and a new one.
    KillAgent,
    /// The brain is gone without farewell, and back after that many further events.
    KillBrain { back_after: usize },
    /// A fault of the brain, for the next connections.
    Fault(&'static str),
    /// The disk is full until that many groups of events were refused.
    FullDisk { refusals: usize },
    /// SIGHUP.
    Reconnect,
}

/// Faults that end a session, or withhold an ack, at every step of the protocol.
const FAULTS: &[&str] = &[
    "tcp.reset at accept first 1",
    "tcp.reset at after-bytes 300 first 1",
    "tcp.reset at upgrade first 1",
    "tcp.reset at hello first 1",
    "tcp.reset at hello-ack first 1",
    "tcp.reset at frame 4 first 1",
    "tcp.reset at event every 50",
    "tcp.reset at ack first 1",
    "tcp.reset at ack every 5",
    "tcp.half-open at ack first 1",
    "tcp.latency(ms=20) for 1s",
    "ack.drop first 1",
    "ws.bad-signature at ack first 1",
    "ws.error-frame(code=overloaded, fatal=true) at ack first 1",
    "ws.close(code=1012) at hello first 1",
    "ws.close(code=4002) at hello-ack first 1",
    "ws.close(code=1011) at event first 2",
    "ws.upgrade-stripped first 1",
    "http.status(code=503) at post first 2",
    "longpoll.partial(accepted=1) first 2",
];

/// One round.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) round: u64,
    pub(super) transport: &'static str,
    /// How many events are emitted.
    pub(super) events: usize,
    /// What happens once that many of them are durable, in order.
    pub(super) blows: Vec<(usize, Blow)>,
}

impl Plan {
    pub(super) fn draw(round: u64, random: &mut Random) -> Self {
        let events = 100 + random.below(400);
        let mut blows: Vec<(usize, Blow)> =
            (0..1 + random.below(4)).map(|_| (random.below(events), blow(random))).collect();
        blows.sort_by_key(|(after, _)| *after);
        Self { round, transport: random.pick(&["ws", "ws", "auto", "longpoll"]), events, blows }
    }
}

fn blow(random: &mut Random) -> Blow {
    match random.below(8) {
        0..=2 => Blow::KillAgent,
        3 => Blow::KillBrain { back_after: random.below(60) },
        4 => Blow::FullDisk { refusals: 1 + random.below(3) },
        5 => Blow::Reconnect,
        _ => Blow::Fault(random.pick(FAULTS)),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events over {}", self.events, self.transport)?;
        self.blows.iter().try_for_each(|(after, blow)| write!(f, "; after {after}: {blow:?}"))
    }
}
