//! Every fault with its points, parameters and an example: what the parser checks against and
//! `fault list` explains.
//!
//! Owns the words. A fault that is not here does not exist.

mod app;
mod http;
mod tcp;
mod tls;
mod ws;

use super::parse::Values;
use super::shape::Shape;
use super::{Fault, Point};

/// A parameter of a fault.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its key.
    pub name: &'static str,
    /// What it says.
    pub about: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// The points at which something comes of it; all of the fault's if there are none.
    pub only_at: &'static [Point],
    pub(super) shape: Shape,
}

const fn required(name: &'static str, about: &'static str, shape: Shape) -> Parameter {
    Parameter { name, about, required: true, only_at: &[], shape }
}

const fn optional(name: &'static str, about: &'static str, shape: Shape) -> Parameter {
    Parameter { name, about, required: false, only_at: &[], shape }
}

/// One fault.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What happens, in a sentence.
    pub about: &'static str,
    /// Where it can strike; the first one is the default.
    pub points: &'static [Point],
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// Whether there are arrivals to count: selectors but `after T` and `for T` make sense for it.
    pub counted: bool,
    /// A text that sets it.
    pub example: &'static str,
    pub(super) kind: Kind,
}

/// How the parser makes the fault of an entry.
#[derive(Debug)]
pub(super) enum Kind {
    /// It has no parameters.
    Plain(Fault),
    /// It is made of its parameters, which have been checked.
    Made(fn(&Values) -> Option<Fault>),
}

/// Longest reason of a close frame (RFC 6455, 5.5: a control frame has up to 125 bytes, two are the code).
const MAX_REASON: usize = 123;
/// Longest code of a refusal, or path, in bytes.
const MAX_CODE: usize = 64;
/// Most bytes of what is counted in bytes.
const MAX_BYTES: u64 = 1 << 30;

/// Where a connection can be cut.
const CUT: &[Point] = &[
    Point::Accept,
    Point::AfterBytes,
    Point::Handshake,
    Point::Upgrade,
    Point::Hello,
    Point::HelloAck,
    Point::Frame,
    Point::Event,
    Point::Ack,
    Point::Command,
];

/// Where a session's agent can be told something.
const SAID: &[Point] = &[Point::HelloAck, Point::Frame, Point::Event, Point::Ack];

const fn plain(fault: Fault, points: &'static [Point], about: &'static str, example: &'static str) -> Entry {
    let name = fault.name();
    Entry { name, about, points, parameters: &[], counted: true, example, kind: Kind::Plain(fault) }
}

const fn made(
    name: &'static str,
    points: &'static [Point],
    parameters: &'static [Parameter],
    about: &'static str,
    example: &'static str,
    make: fn(&Values) -> Option<Fault>,
) -> Entry {
    Entry { name, about, points, parameters, counted: true, example, kind: Kind::Made(make) }
}

/// A layer with its faults.
#[derive(Debug)]
pub struct Layer {
    /// What it is called.
    pub name: &'static str,
    /// Its faults.
    pub entries: &'static [Entry],
}

/// Every layer, from the lowest one up.
pub const LAYERS: &[Layer] = &[
    Layer { name: "TCP", entries: tcp::ENTRIES },
    Layer { name: "TLS", entries: tls::ENTRIES },
    Layer { name: "HTTP", entries: http::ENTRIES },
    Layer { name: "WebSocket", entries: ws::ENTRIES },
    Layer { name: "Application", entries: app::ENTRIES },
];

/// Every fault, by layer.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    LAYERS.iter().flat_map(|layer| layer.entries)
}

/// The entry of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Entry> {
    entries().find(|entry| entry.name == name)
}

/// Every name, by layer.
#[must_use]
pub fn names() -> String {
    join(entries().map(|entry| entry.name))
}

pub(super) fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().collect::<Vec<_>>().join(", ")
}

/// Who makes a fault that this brain does not, where the taxonomy has one of that name.
pub(super) fn elsewhere(name: &str) -> Option<&'static str> {
    let (layer, fault) = name.split_once('.')?;
    match (layer, fault) {
        ("dns", _) => Some("name resolution is not the brain's: the harness makes dns faults"),
        ("proxy" | "prx", _) => Some("a proxy is not the brain's: the harness makes proxy faults"),
        ("loc" | "buffer" | "config", _) => {
            Some("what lies on the agent's machine is not the brain's: the harness makes such faults")
        }
        (
            "tcp",
            "drop" | "reject" | "unreachable" | "timeout" | "no-route" | "mtu" | "loss" | "v6-broken",
        ) => Some("packets are not the brain's, which sees the stream: the harness makes such faults"),
        _ => None,
    }
}
