//! Every fault with its points, parameters and an example: what the parser checks against and
//! `fault list` explains.
//!
//! Owns the words. A fault that is not here does not exist.

use std::time::Duration;

use super::parse::Values;
use super::shape::Shape;
use super::{Ack, Fault, Hello, Http, LongPoll, Point, Tcp, Tls, Ws};
use crate::pki::Word;

/// A parameter of a fault.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its key.
    pub name: &'static str,
    /// What it says.
    pub about: &'static str,
    /// Whether it must be there.
    pub required: bool,
    pub(super) shape: Shape,
}

const fn required(name: &'static str, about: &'static str, shape: Shape) -> Parameter {
    Parameter { name, about, required: true, shape }
}

const fn optional(name: &'static str, about: &'static str, shape: Shape) -> Parameter {
    Parameter { name, about, required: false, shape }
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
/// Longest code of a refusal, in bytes.
const MAX_CODE: usize = 64;

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

/// Where a session can be closed.
const CLOSE: &[Point] =
    &[Point::Hello, Point::Upgrade, Point::HelloAck, Point::Frame, Point::Event, Point::Ack, Point::Command];

/// Where a session's agent can be told something.
const SAID: &[Point] = &[Point::HelloAck, Point::Frame, Point::Event, Point::Ack];

const fn plain(fault: Fault, points: &'static [Point], about: &'static str, example: &'static str) -> Entry {
    Entry {
        name: fault.name(),
        about,
        points,
        parameters: &[],
        counted: true,
        example,
        kind: Kind::Plain(fault),
    }
}

/// A fault that shows what the profile of a word shows.
const fn shows(word: Word, example: &'static str) -> Entry {
    plain(Fault::Tls(Tls::Shows(word)), &[Point::Handshake], word.about(), example)
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

/// Every fault, in the order in which a connection meets them.
pub const ENTRIES: &[Entry] = &[
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
        "tcp.latency",
        &[Point::Accept],
        &[required("ms", "milliseconds, 1..=60000", Shape::Millis)],
        "What the client sends arrives so much later: every round trip takes that longer.",
        "tcp.latency(ms=200)",
        |values| Some(Fault::Tcp(Tcp::Latency(values.time("ms")?))),
    ),
    made(
        "tcp.bandwidth",
        &[Point::Accept],
        &[required("bytes_per_s", "bytes a second in each direction", Shape::Number(u32::MAX as u64))],
        "Only so many bytes a second pass, in each direction of each connection.",
        "tcp.bandwidth(bytes_per_s=10000)",
        |values| Some(Fault::Tcp(Tcp::Bandwidth(values.u32("bytes_per_s")?))),
    ),
    shows(Word::Expired, "tls.expired"),
    shows(Word::NotYetValid, "tls.not-yet-valid"),
    made(
        "tls.expires-in",
        &[Point::Handshake],
        &[required("t", "a time of a second or more, such as 20s", Shape::Seconds)],
        Word::ExpiresIn(Duration::ZERO).about(),
        "tls.expires-in(t=20s)",
        |values| Some(Fault::Tls(Tls::Shows(Word::ExpiresIn(values.time("t")?)))),
    ),
    shows(Word::HostnameMismatch, "tls.hostname-mismatch first 1"),
    shows(Word::NoCn, "tls.no-cn"),
    shows(Word::CnOnly, "tls.cn-only"),
    shows(Word::Wildcard, "tls.wildcard"),
    shows(Word::SelfSigned, "tls.self-signed"),
    shows(Word::UntrustedCa, "tls.untrusted-ca"),
    shows(Word::Intercepted, "tls.intercepted for 10m"),
    shows(Word::MissingIntermediate, "tls.missing-intermediate"),
    shows(Word::WrongOrder, "tls.wrong-order"),
    shows(Word::ExtraCertificate, "tls.extra-certificate"),
    shows(Word::CrossSignedExpired, "tls.cross-signed-expired"),
    shows(Word::HugeChain, "tls.huge-chain"),
    shows(Word::H2Only, "tls.h2-only every 2"),
    shows(Word::ClientCertRequired, "tls.client-cert-required"),
    made(
        "http.status",
        &[Point::Request, Point::Poll, Point::Post],
        &[
            required("code", "HTTP status, 200..=599", Shape::Status),
            optional("retry_after", "seconds of a Retry-After header", Shape::Number(86_400)),
            optional("error", "the brain's code, such as project_inactive", Shape::Text(MAX_CODE)),
        ],
        "Every request, upgrades too, is answered with that status, as by a proxy whose brain is away; at \
         poll and post the brain itself says so to long-poll agents.",
        "http.status(code=429, retry_after=5) at post first 2",
        |values| {
            Some(Fault::Http(Http::Status {
                code: http::StatusCode::from_u16(values.u16("code")?).ok()?,
                retry_after: values.u32("retry_after"),
                error: values.text("error"),
            }))
        },
    ),
    plain(
        Fault::Ws(Ws::UpgradeStripped),
        &[Point::Request],
        "The upgrade request is answered as the plain GET that a proxy without the upgrade lines makes of \
         it: 404.",
        "ws.upgrade-stripped",
    ),
    plain(
        Fault::LongPoll(LongPoll::Only),
        &[Point::Request],
        "Upgrades are refused on the way with 403, by a proxy that lets no WebSocket through; everything \
         else goes on.",
        "longpoll.only for 30s",
    ),
    made(
        "longpoll.partial",
        &[Point::Post],
        &[required("accepted", "how many frames are taken, 1..=500", Shape::Number(500))],
        "Of the frames of a request only the first ones are taken; the others are counted as rejected, and \
         are to be sent again.",
        "longpoll.partial(accepted=1) first 3",
        |values| Some(Fault::LongPoll(LongPoll::Partial(values.u32("accepted")?))),
    ),
    plain(
        Fault::Ws(Ws::ProtocolRefused),
        &[Point::Hello],
        "The protocol version is refused: close 4426 after the hello.",
        "ws.protocol-refused first 1",
    ),
    plain(
        Fault::Hello(Hello::NoAck),
        &[Point::Hello],
        "The hello is read and never answered; the session stays open, and pings are answered.",
        "hello.no-ack first 1",
    ),
    made(
        "ws.close",
        CLOSE,
        &[
            required("code", "close code, 1000..=4999", Shape::CloseCode),
            optional("reason", "reason text, up to 123 bytes", Shape::Text(MAX_REASON)),
        ],
        "The session is closed with a code and reason: before the token is looked at (upgrade), after the \
         hello, after the hello_ack, after the so-manieth frame was read, when a batch is stored (event), \
         before its ack or a command is sent.",
        "ws.close(code=4401, reason=\"x\") at frame 5",
        |values| {
            let reason = values.text("reason").unwrap_or_default();
            Some(Fault::Ws(Ws::Close { code: values.u16("code")?, reason }))
        },
    ),
    made(
        "ws.error-frame",
        SAID,
        &[
            required("code", "the error's code", Shape::Text(MAX_CODE)),
            optional("fatal", "true: the session cannot go on", Shape::Flag),
        ],
        "A signed error frame is sent, at ack in place of the acknowledgement.",
        "ws.error-frame(code=overloaded, fatal=true) at ack first 1",
        |values| {
            let fatal = values.text("fatal").is_some_and(|text| text == "true");
            Some(Fault::Ws(Ws::ErrorFrame { code: values.text("code")?, fatal }))
        },
    ),
    plain(
        Fault::Ws(Ws::BadSignature),
        &[Point::Ack, Point::Command],
        "The acknowledgement or the command bears a signature that is not its own.",
        "ws.bad-signature at ack 3",
    ),
    plain(
        Fault::Ack(Ack::Drop),
        &[Point::Ack],
        "The batch is stored, and its acknowledgement is never sent.",
        "ack.drop p=0.1",
    ),
    made(
        "ack.late",
        &[Point::Ack],
        &[required("delay", "a time, such as 500ms or 10s", Shape::Time)],
        "The batch is stored, and its acknowledgement and those behind it come later.",
        "ack.late(delay=2s) every 5",
        |values| Some(Fault::Ack(Ack::Late(values.time("delay")?))),
    ),
    plain(
        Fault::Ack(Ack::WrongId),
        &[Point::Ack],
        "The batch is stored, and the acknowledgement is for one that nobody sent.",
        "ack.wrong-id first 1",
    ),
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
