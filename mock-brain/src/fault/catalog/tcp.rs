//! Faults of the TCP stream.

use std::time::Duration;

use super::super::parse::Values;
use super::super::shape::Shape;
use super::{CUT, Entry, Kind, MAX_BYTES, Parameter, made, optional, plain, required};
use crate::fault::{Direction, Fault, Point, Tcp};

const DIRECTION: &[&str] = &["up", "down", "both"];

const fn direction(about: &'static str) -> Parameter {
    optional("direction", about, Shape::OneOf(DIRECTION))
}

fn way(values: &Values, usual: Direction) -> Direction {
    match values.text("direction").as_deref() {
        Some("up") => Direction::Up,
        Some("down") => Direction::Down,
        Some("both") => Direction::Both,
        _ => usual,
    }
}

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "tcp.refused",
        about: "The brain is down: nothing listens, so that connects get ECONNREFUSED until it is cleared or \
                its time is over. Sessions that are open go on.",
        points: &[Point::Listen],
        parameters: &[],
        counted: false,
        example: "tcp.refused for 10s",
        kind: Kind::Plain(Fault::Tcp(Tcp::Refused)),
    },
    plain(
        Fault::Tcp(Tcp::Reset),
        CUT,
        "The connection is reset (a real RST): as soon as it is accepted, after so many bytes, after the \
         TLS client hello, right after the 101, after hello, hello_ack or the so-manieth frame was read, \
         when a batch is stored (event), before its ack or a command is sent.",
        "tcp.reset at ack every 10",
    ),
    plain(
        Fault::Tcp(Tcp::Closed),
        CUT,
        "The connection is closed (a FIN), without a word of TLS, HTTP or WebSocket, as by a process that \
         was killed.",
        "tcp.closed at frame 3 p=0.2",
    ),
    plain(
        Fault::Tcp(Tcp::HalfOpen),
        CUT,
        "The connection stays open and nothing comes any more; what the client sends is taken and lost.",
        "tcp.half-open at frame 3 first 1",
    ),
    plain(
        Fault::Tcp(Tcp::Stall),
        CUT,
        "The connection stays open, nothing comes any more, and nothing is read: the client's window fills.",
        "tcp.stall at after-bytes 2000",
    ),
    made(
        "tcp.hang-up",
        CUT,
        &[required("delay", "a time, such as 500ms or 10s", Shape::Time)],
        "Nothing comes any more, and after that time the connection is closed.",
        "tcp.hang-up(delay=5s) at hello-ack",
        |values| Some(Fault::Tcp(Tcp::HangUp(values.time("delay")?))),
    ),
    made(
        "tcp.latency",
        &[Point::Accept],
        &[
            required("ms", "milliseconds, 1..=60000", Shape::Millis),
            optional("jitter", "milliseconds more at random, up to this", Shape::Millis),
            direction("up (the usual), down or both"),
        ],
        "What the client sends arrives so much later: every round trip takes that longer. With down, each \
         write of the brain does.",
        "tcp.latency(ms=200, jitter=50)",
        |values| {
            Some(Fault::Tcp(Tcp::Latency {
                time: values.time("ms")?,
                jitter: values.time("jitter").unwrap_or(Duration::ZERO),
                direction: way(values, Direction::Up),
            }))
        },
    ),
    made(
        "tcp.bandwidth",
        &[Point::Accept],
        &[
            required("bytes_per_s", "bytes a second", Shape::Number(u32::MAX as u64)),
            direction("up, down or both (the usual)"),
        ],
        "Only so many bytes a second pass, in each direction of each connection.",
        "tcp.bandwidth(bytes_per_s=10000, direction=down)",
        |values| {
            let (rate, direction) = (values.u32("bytes_per_s")?, way(values, Direction::Both));
            Some(Fault::Tcp(Tcp::Bandwidth { rate, direction }))
        },
    ),
    made(
        "tcp.sliced",
        &[Point::Accept],
        &[
            required("bytes", "bytes of a segment", Shape::Number(65_535)),
            optional("pause", "the time between two", Shape::Time),
        ],
        "What the brain sends comes in segments of so many bytes, whatever they cut apart.",
        "tcp.sliced(bytes=1, pause=5ms)",
        |values| {
            let pause = values.time("pause").unwrap_or(Duration::ZERO);
            Some(Fault::Tcp(Tcp::Sliced { bytes: values.u32("bytes")?, pause }))
        },
    ),
    made(
        "tcp.limit-data",
        &[Point::Accept],
        &[required("bytes", "how many bytes the brain sends", Shape::Number(MAX_BYTES))],
        "After so many bytes that the brain sent, TLS included, the connection is closed.",
        "tcp.limit-data(bytes=5000) every 2",
        |values| Some(Fault::Tcp(Tcp::LimitData(values.u32("bytes")?))),
    ),
    made(
        "tcp.slow-close",
        &[Point::Accept],
        &[required("delay", "a time, such as 500ms or 10s", Shape::Time)],
        "Where the brain ends a connection, the FIN comes so much later.",
        "tcp.slow-close(delay=10s)",
        |values| Some(Fault::Tcp(Tcp::SlowClose(values.time("delay")?))),
    ),
];
