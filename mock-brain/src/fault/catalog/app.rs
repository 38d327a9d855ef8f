//! Faults of the brain itself: who is let in, hello, acknowledgements, commands, long-poll.

use super::super::shape::Shape;
use super::{Entry, MAX_CODE, Parameter, SAID, made, optional, plain, required};
use crate::fault::{Ack, Command, Fault, Hello, LongPoll, Point, Ws};

const DELAY: Parameter = required("delay", "a time, such as 500ms or 10s", Shape::Time);

/// A refusal on both transports.
const fn login(fault: Ws, about: &'static str, example: &'static str) -> Entry {
    plain(Fault::Ws(fault), &[Point::Login], about, example)
}

const fn ack(fault: Ack, about: &'static str, example: &'static str) -> Entry {
    plain(Fault::Ack(fault), &[Point::Ack], about, example)
}

pub(super) const ENTRIES: &[Entry] = &[
    login(
        Ws::TokenRejected,
        "The token is not known, revoked, or of an archived project: close 4401, on long-poll 401.",
        "ws.token-rejected for 30s",
    ),
    login(
        Ws::ProjectMismatch,
        "The token is another project's than the agent means: close 4403 with project_mismatch after the \
         hello, on long-poll 403.",
        "ws.project-mismatch",
    ),
    login(
        Ws::AddressRefused,
        "The address is not on the project's list: close 4403 before the hello, on long-poll 403 ip_denied.",
        "ws.address-refused who=address:127.0.0.1",
    ),
    login(
        Ws::RateLimited,
        "There were too many connects: close 4429, on long-poll 429 with Retry-After.",
        "ws.rate-limited first 3",
    ),
    login(
        Ws::HmacMismatch,
        "The brain's secret of the project is another one: the agent's first signed frame is refused with \
         4403, on long-poll with 409, and what the brain signs does not verify.",
        "ws.hmac-mismatch",
    ),
    made(
        "ws.clock-skew",
        &[Point::Login],
        &[required("seconds", "how far the brain's clock is ahead; behind with a minus", Shape::Offset)],
        "The brain's clock is wrong by so much, on both transports: in what it signs, verifies and dates.",
        "ws.clock-skew(seconds=-300)",
        |values| Some(Fault::Ws(Ws::ClockSkew(values.text("seconds")?.parse().ok()?))),
    ),
    plain(
        Fault::Hello(Hello::NoAck),
        &[Point::Hello],
        "The hello is read and never answered; the session stays open, and pings are answered.",
        "hello.no-ack first 1",
    ),
    made(
        "hello.late",
        &[Point::Hello],
        &[DELAY],
        "The hello_ack comes so much later.",
        "hello.late(delay=15s) first 1",
        |values| Some(Fault::Hello(Hello::Late(values.time("delay")?))),
    ),
    plain(
        Fault::Hello(Hello::OtherVersion),
        &[Point::Hello],
        "The hello_ack is of protocol version 3.",
        "hello.other-version",
    ),
    plain(
        Fault::Hello(Hello::OtherProject),
        &[Point::Hello],
        "The hello_ack names another project, by id and by name.",
        "hello.other-project",
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
        Fault::Ws(Ws::Replayed),
        &[Point::Ack, Point::Command],
        "The acknowledgement or the command comes twice, byte by byte the same: its sequence number and \
         nonce have been used.",
        "ws.replayed at ack every 3",
    ),
    ack(Ack::Drop, "The batch is stored, and its acknowledgement is never sent.", "ack.drop p=0.1"),
    made(
        "ack.late",
        &[Point::Ack],
        &[DELAY],
        "The batch is stored, and its acknowledgement and those behind it come later, and so does what a \
         fault has come in their place.",
        "ack.late(delay=2s) every 5",
        |values| Some(Fault::Ack(Ack::Late(values.time("delay")?))),
    ),
    ack(
        Ack::WrongId,
        "The batch is stored, and the acknowledgement is for one that nobody sent.",
        "ack.wrong-id first 1",
    ),
    ack(Ack::Twice, "The batch is acknowledged twice, each time with a good signature.", "ack.twice"),
    plain(
        Fault::Command(Command::Twice),
        &[Point::Command],
        "The command is delivered twice, each time with a good signature: it is to be carried out once.",
        "command.twice first 1",
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
        Fault::LongPoll(LongPoll::SessionLost),
        &[Point::Post, Point::Poll],
        "The brain has forgotten the session, as another worker of it would: 409, but for a probe, \
         which begins one anew and is not counted.",
        "longpoll.session-lost first 1",
    ),
];
