//! Every fault with its points, parameters and an example: what the parser checks against and
//! `fault list` explains.
//!
//! Owns the words. A fault that is not here does not exist.

use super::{Fault, Point, Tcp, Tls, Ws};

/// A parameter of a fault.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its key.
    pub name: &'static str,
    /// What it says.
    pub about: &'static str,
    /// Whether it must be there.
    pub required: bool,
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
    /// Whether `first N` makes sense for it.
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
    /// `http.status`.
    Status,
    /// `ws.close`.
    Close,
}

const STATUS_PARAMETERS: &[Parameter] =
    &[Parameter { name: "code", about: "HTTP status, 200..=599", required: true }];

const CLOSE_PARAMETERS: &[Parameter] = &[
    Parameter { name: "code", about: "close code, 1000..=4999", required: true },
    Parameter { name: "reason", about: "reason text, up to 123 bytes", required: false },
];

const fn tls(fault: Tls, about: &'static str, example: &'static str) -> Entry {
    Entry {
        name: fault.name(),
        about,
        points: &[Point::Handshake],
        parameters: &[],
        counted: true,
        example,
        kind: Kind::Plain(Fault::Tls(fault)),
    }
}

/// Every fault, in the order in which a connection meets them.
pub const ENTRIES: &[Entry] = &[
    Entry {
        name: "tcp.refused",
        about: "The brain is down: nothing listens, so that connects get ECONNREFUSED until it is cleared. \
                Sessions that are open go on.",
        points: &[Point::Listen],
        parameters: &[],
        counted: false,
        example: "tcp.refused",
        kind: Kind::Plain(Fault::Tcp(Tcp::Refused)),
    },
    Entry {
        name: "tcp.reset",
        about: "The connection is reset (a real RST): as soon as it is accepted, right after the 101, or \
                after the hello was read.",
        points: &[Point::Accept, Point::Upgrade, Point::Hello],
        parameters: &[],
        counted: true,
        example: "tcp.reset at upgrade first 2",
        kind: Kind::Plain(Fault::Tcp(Tcp::Reset)),
    },
    tls(Tls::Expired, "The certificate's validity ended a day ago.", "tls.expired"),
    tls(Tls::NotYetValid, "The certificate's validity begins in a day.", "tls.not-yet-valid"),
    tls(
        Tls::HostnameMismatch,
        "The certificate is good and names another host only.",
        "tls.hostname-mismatch first 1",
    ),
    tls(Tls::SelfSigned, "The certificate signs itself; there is no CA.", "tls.self-signed"),
    tls(Tls::UntrustedCa, "A full chain of a CA that nobody was told of.", "tls.untrusted-ca"),
    tls(
        Tls::MissingIntermediate,
        "The server shows its own certificate without the intermediate that signed it.",
        "tls.missing-intermediate",
    ),
    Entry {
        name: "http.status",
        about: "Every request, upgrades too, is answered with that status, as by a proxy whose brain is \
                away.",
        points: &[Point::Request],
        parameters: STATUS_PARAMETERS,
        counted: true,
        example: "http.status(code=502)",
        kind: Kind::Status,
    },
    Entry {
        name: "ws.upgrade-stripped",
        about: "The upgrade request is answered as the plain GET that a proxy without the upgrade lines \
                makes of it: 404.",
        points: &[Point::Request],
        parameters: &[],
        counted: true,
        example: "ws.upgrade-stripped",
        kind: Kind::Plain(Fault::Ws(Ws::UpgradeStripped)),
    },
    Entry {
        name: "ws.protocol-refused",
        about: "The protocol version is refused: close 4426 after the hello.",
        points: &[Point::Hello],
        parameters: &[],
        counted: true,
        example: "ws.protocol-refused first 1",
        kind: Kind::Plain(Fault::Ws(Ws::ProtocolRefused)),
    },
    Entry {
        name: "ws.close",
        about: "The session is closed with a code and reason: before the token is looked at (upgrade), \
                after the hello, or after the hello_ack.",
        points: &[Point::Hello, Point::Upgrade, Point::HelloAck],
        parameters: CLOSE_PARAMETERS,
        counted: true,
        example: "ws.close(code=4401, reason=\"x\") at upgrade",
        kind: Kind::Close,
    },
];

/// The entry of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

/// Every name, in the order of [`ENTRIES`].
#[must_use]
pub fn names() -> String {
    join(ENTRIES.iter().map(|entry| entry.name))
}

pub(super) fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().collect::<Vec<_>>().join(", ")
}
