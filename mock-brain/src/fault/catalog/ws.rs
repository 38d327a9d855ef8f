//! Faults of the upgrade and of the WebSocket.

use super::super::shape::Shape;
use super::{Entry, MAX_BYTES, MAX_CODE, MAX_REASON, SAID, made, optional, plain, required};
use crate::fault::{BadFrame, Fault, Point, Ws};

/// Where a session can be closed.
const CLOSE: &[Point] =
    &[Point::Hello, Point::Upgrade, Point::HelloAck, Point::Frame, Point::Event, Point::Ack, Point::Command];

const UPGRADE: &[Point] = &[Point::Upgrade];

const fn request(fault: Ws, about: &'static str, example: &'static str) -> Entry {
    plain(Fault::Ws(fault), &[Point::Request], about, example)
}

const fn frame(fault: BadFrame, about: &'static str, example: &'static str) -> Entry {
    plain(Fault::Ws(Ws::Frame(fault)), SAID, about, example)
}

pub(super) const ENTRIES: &[Entry] = &[
    request(
        Ws::UpgradeStripped,
        "The upgrade request is answered as the plain GET that a proxy without the upgrade lines makes of \
         it: 404.",
        "ws.upgrade-stripped",
    ),
    request(
        Ws::ConnectionStripped,
        "Of the upgrade request's lines only `Connection: upgrade` is lost, as by a proxy that keeps what \
         is not hop-by-hop: the brain sees a plain GET, 404.",
        "ws.connection-stripped every 2",
    ),
    made(
        "ws.http-status",
        &[Point::Request],
        &[required("code", "HTTP status, 200..=599", Shape::Status)],
        "Upgrades get that status from something on the way (200, 400, 403, 426, 502 …); plain requests go \
         on.",
        "ws.http-status(code=426)",
        |values| Some(Fault::Ws(Ws::HttpStatus(http::StatusCode::from_u16(values.u16("code")?).ok()?))),
    ),
    made(
        "ws.path",
        &[Point::Request],
        &[required("prefix", "the path, in quotes, as in \"/z4j\"", Shape::Path(MAX_CODE))],
        "The brain is below that path only, and whatever else is asked for gets the proxy's 404.",
        "ws.path(prefix=\"/z4j\")",
        |values| Some(Fault::Ws(Ws::Path(values.text("prefix")?))),
    ),
    request(Ws::BadAccept, "The 101 has a Sec-WebSocket-Accept for another key.", "ws.bad-accept"),
    request(
        Ws::WrongSubprotocol,
        "The 101 names a subprotocol that nobody asked for.",
        "ws.wrong-subprotocol",
    ),
    request(
        Ws::ExtensionForced,
        "The 101 names an extension that nobody offered: permessage-deflate.",
        "ws.extension-forced",
    ),
    made(
        "ws.buffering",
        UPGRADE,
        &[required("bytes", "how many bytes come together", Shape::Number(MAX_BYTES))],
        "A proxy holds back what the brain sends after the 101 until there are so many bytes of it.",
        "ws.buffering(bytes=4096)",
        |values| Some(Fault::Ws(Ws::Buffering(values.u32("bytes")?))),
    ),
    made(
        "ws.idle-cut",
        UPGRADE,
        &[required("after", "a time, such as 60s", Shape::Time)],
        "A proxy cuts a WebSocket over which nothing went for so long, without a close frame; pings count.",
        "ws.idle-cut(after=60s)",
        |values| Some(Fault::Ws(Ws::IdleCut(values.time("after")?))),
    ),
    made(
        "ws.flap",
        UPGRADE,
        &[required("within", "a time, such as 5s", Shape::Time)],
        "Every session is cut, without a close frame, at a random moment within that time.",
        "ws.flap(within=5s)",
        |values| Some(Fault::Ws(Ws::Flap(values.time("within")?))),
    ),
    made(
        "ws.max-frame",
        UPGRADE,
        &[required("bytes", "the largest message that passes", Shape::Number(MAX_BYTES))],
        "A message that is larger closes the session with 1009, as by a proxy with a limit of its own.",
        "ws.max-frame(bytes=65536)",
        |values| Some(Fault::Ws(Ws::MaxFrame(values.u32("bytes")?))),
    ),
    plain(
        Fault::Ws(Ws::PingDropped),
        UPGRADE,
        "The agent's pings are never answered; frames are.",
        "ws.ping-dropped",
    ),
    frame(
        BadFrame::Masked,
        "A masked frame is sent, at ack in place of the acknowledgement; a server's frames never are.",
        "ws.frame-masked at ack first 1",
    ),
    frame(BadFrame::Opcode, "A frame with a reserved opcode is sent.", "ws.frame-opcode at hello-ack"),
    frame(BadFrame::Rsv, "A frame with a reserved bit is sent.", "ws.frame-rsv at frame 2"),
    frame(BadFrame::Utf8, "A text that is no UTF-8 is sent.", "ws.frame-utf8 at hello-ack first 1"),
    frame(
        BadFrame::Oversize,
        "A frame is begun that says it is a terabyte long.",
        "ws.frame-oversize at hello-ack",
    ),
    plain(
        Fault::Ws(Ws::Frame(BadFrame::Fragmented)),
        &[Point::Ack],
        "The acknowledgement comes in two fragments with a ping in between, which is good and rare.",
        "ws.frame-fragmented every 2",
    ),
    plain(
        Fault::Ws(Ws::ProtocolRefused),
        &[Point::Hello],
        "The protocol version is refused: close 4426 after the hello.",
        "ws.protocol-refused first 1",
    ),
    made(
        "ws.close",
        CLOSE,
        &[
            required("code", "close code, 1000..=4999", Shape::CloseCode),
            optional("reason", "reason text, up to 123 bytes", Shape::Text(MAX_REASON)),
        ],
        "The session is closed with a code and reason (1011 internal, 1012 restart, 4002 replaced, 4003 \
         revoked, 4400, 4401, 4403, 4408 idle, 4426, 4427, 4429 …): before the token is looked at (upgrade), \
         after the hello, after the hello_ack, after the so-manieth frame was read, when a batch is stored \
         (event), before its ack or a command is sent.",
        "ws.close(code=4401, reason=\"x\") at frame 5",
        |values| {
            let reason = values.text("reason").unwrap_or_default();
            Some(Fault::Ws(Ws::Close { code: values.u16("code")?, reason }))
        },
    ),
];
