//! Faults as text: the shortest that parses to the same.

use std::fmt;
use std::time::Duration;

use super::{
    Ack, BadFrame, Command, Direction, Fault, FaultSpec, Hello, Http, LongPoll, Tcp, Tls, Ws, catalog,
    duration,
};
use crate::pki::Word;

impl Tcp {
    const fn name(self) -> &'static str {
        match self {
            Self::Refused => "tcp.refused",
            Self::Reset => "tcp.reset",
            Self::Closed => "tcp.closed",
            Self::HalfOpen => "tcp.half-open",
            Self::Stall => "tcp.stall",
            Self::HangUp(_) => "tcp.hang-up",
            Self::Latency { .. } => "tcp.latency",
            Self::Bandwidth { .. } => "tcp.bandwidth",
            Self::Sliced { .. } => "tcp.sliced",
            Self::LimitData(_) => "tcp.limit-data",
            Self::SlowClose(_) => "tcp.slow-close",
        }
    }
}

impl Tls {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Shows(Word::Tls12 | Word::Tls13) | Self::OldVersion => "tls.version",
            Self::Shows(word) => word.fault_name(),
            Self::Alert(_) => "tls.alert",
            Self::UnrecognizedName => "tls.unrecognized-name",
            Self::NotTls => "tls.not-tls",
            Self::Aborted => "tls.aborted",
        }
    }
}

impl Http {
    const fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "http.status",
            Self::Captive => "http.captive",
            Self::WafPage => "http.waf-page",
            Self::WrongService => "http.wrong-service",
            Self::Empty => "http.empty",
            Self::Garbage => "http.garbage",
            Self::BadChunk => "http.bad-chunk",
            Self::Dribble(_) => "http.dribble",
            Self::HugeHead => "http.huge-head",
            Self::Http10 => "http.http10",
            Self::HttpsOnly => "http.https-only",
            Self::Late(_) => "http.late",
        }
    }
}

impl Ws {
    const fn name(&self) -> &'static str {
        match self {
            Self::UpgradeStripped => "ws.upgrade-stripped",
            Self::ConnectionStripped => "ws.connection-stripped",
            Self::HttpStatus(_) => "ws.http-status",
            Self::Path(_) => "ws.path",
            Self::BadAccept => "ws.bad-accept",
            Self::WrongSubprotocol => "ws.wrong-subprotocol",
            Self::ExtensionForced => "ws.extension-forced",
            Self::Buffering(_) => "ws.buffering",
            Self::IdleCut(_) => "ws.idle-cut",
            Self::Flap(_) => "ws.flap",
            Self::MaxFrame(_) => "ws.max-frame",
            Self::PingDropped => "ws.ping-dropped",
            Self::Frame(BadFrame::Masked) => "ws.frame-masked",
            Self::Frame(BadFrame::Opcode) => "ws.frame-opcode",
            Self::Frame(BadFrame::Rsv) => "ws.frame-rsv",
            Self::Frame(BadFrame::Utf8) => "ws.frame-utf8",
            Self::Frame(BadFrame::Oversize) => "ws.frame-oversize",
            Self::Frame(BadFrame::Fragmented) => "ws.frame-fragmented",
            Self::TokenRejected => "ws.token-rejected",
            Self::ProjectMismatch => "ws.project-mismatch",
            Self::AddressRefused => "ws.address-refused",
            Self::RateLimited => "ws.rate-limited",
            Self::HmacMismatch => "ws.hmac-mismatch",
            Self::ClockSkew(_) => "ws.clock-skew",
            Self::ProtocolRefused => "ws.protocol-refused",
            Self::Close { .. } => "ws.close",
            Self::ErrorFrame { .. } => "ws.error-frame",
            Self::BadSignature => "ws.bad-signature",
            Self::Replayed => "ws.replayed",
        }
    }
}

impl Direction {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Both => "both",
        }
    }
}

impl Fault {
    /// The fault's name: the doctor's code for it, where there is one.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Tcp(fault) => fault.name(),
            Self::Tls(fault) => fault.name(),
            Self::Http(fault) => fault.name(),
            Self::Ws(fault) => fault.name(),
            Self::Hello(Hello::NoAck) => "hello.no-ack",
            Self::Hello(Hello::Late(_)) => "hello.late",
            Self::Hello(Hello::OtherVersion) => "hello.other-version",
            Self::Hello(Hello::OtherProject) => "hello.other-project",
            Self::Ack(Ack::Drop) => "ack.drop",
            Self::Ack(Ack::Late(_)) => "ack.late",
            Self::Ack(Ack::WrongId) => "ack.wrong-id",
            Self::Ack(Ack::Twice) => "ack.twice",
            Self::Command(Command::Twice) => "command.twice",
            Self::LongPoll(LongPoll::Partial(_)) => "longpoll.partial",
            Self::LongPoll(LongPoll::Only) => "longpoll.only",
            Self::LongPoll(LongPoll::SessionLost) => "longpoll.session-lost",
        }
    }

    /// Its parameters as they are written.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let time = |key, time: Duration| vec![(key, duration::text(time))];
        let number = |key, number: u32| vec![(key, number.to_string())];
        match self {
            Self::Tcp(fault) => of_tcp(*fault),
            Self::Tls(Tls::Shows(Word::ExpiresIn(span))) => time("t", *span),
            Self::Tls(Tls::OldVersion) => vec![("only", "1.1".to_owned())],
            Self::Tls(Tls::Shows(Word::Tls12)) => vec![("only", "1.2".to_owned())],
            Self::Tls(Tls::Shows(Word::Tls13)) => vec![("only", "1.3".to_owned())],
            Self::Tls(Tls::Alert(code)) => number("code", (*code).into()),
            Self::Http(Http::Status { code, retry_after, location, error }) => {
                let mut out = number("code", code.as_u16().into());
                out.extend(retry_after.map(|seconds| ("retry_after", seconds.to_string())));
                out.extend(location.as_deref().map(|location| ("location", quoted(location))));
                out.extend(error.as_deref().map(|error| ("error", quoted(error))));
                out
            }
            Self::Http(Http::Dribble(span) | Http::Late(span)) => time("delay", *span),
            Self::Ws(fault) => of_ws(fault),
            Self::Ack(Ack::Late(span)) | Self::Hello(Hello::Late(span)) => time("delay", *span),
            Self::LongPoll(LongPoll::Partial(count)) => number("accepted", *count),
            _ => Vec::new(),
        }
    }
}

fn of_tcp(fault: Tcp) -> Vec<(&'static str, String)> {
    let millis = |time: Duration| time.as_millis().to_string();
    let one_way = |direction: Direction, usual| {
        (direction != usual).then(|| ("direction", direction.as_str().to_owned()))
    };
    match fault {
        Tcp::Latency { time, jitter, direction } => {
            let mut out = vec![("ms", millis(time))];
            out.extend((!jitter.is_zero()).then(|| ("jitter", millis(jitter))));
            out.extend(one_way(direction, Direction::Up));
            out
        }
        Tcp::Bandwidth { rate, direction } => {
            let mut out = vec![("bytes_per_s", rate.to_string())];
            out.extend(one_way(direction, Direction::Both));
            out
        }
        Tcp::Sliced { bytes, pause } => {
            let mut out = vec![("bytes", bytes.to_string())];
            out.extend((!pause.is_zero()).then(|| ("pause", duration::text(pause))));
            out
        }
        Tcp::LimitData(bytes) => vec![("bytes", bytes.to_string())],
        Tcp::SlowClose(time) | Tcp::HangUp(time) => vec![("delay", duration::text(time))],
        _ => Vec::new(),
    }
}

fn of_ws(fault: &Ws) -> Vec<(&'static str, String)> {
    match fault {
        Ws::HttpStatus(code) => vec![("code", code.as_u16().to_string())],
        Ws::Path(prefix) => vec![("prefix", quoted(prefix))],
        Ws::Buffering(bytes) | Ws::MaxFrame(bytes) => vec![("bytes", bytes.to_string())],
        Ws::IdleCut(time) => vec![("after", duration::text(*time))],
        Ws::Flap(time) => vec![("within", duration::text(*time))],
        Ws::ClockSkew(seconds) => vec![("seconds", seconds.to_string())],
        Ws::Close { code, reason } => {
            let mut out = vec![("code", code.to_string())];
            out.extend((!reason.is_empty()).then(|| ("reason", quoted(reason))));
            out
        }
        Ws::ErrorFrame { code, fatal } => {
            let mut out = vec![("code", quoted(code))];
            out.extend(fatal.then(|| ("fatal", "true".to_owned())));
            out
        }
        _ => Vec::new(),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl fmt::Display for FaultSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let parameters = self.fault.parameters();
        for (index, (key, value)) in parameters.iter().enumerate() {
            write!(f, "{}{key}={value}", if index == 0 { "(" } else { ", " })?;
        }
        if !parameters.is_empty() {
            f.write_str(")")?;
        }
        let default = catalog::find(self.name()).map(|entry| entry.points[0]);
        match self.number {
            Some(number) => write!(f, " at {} {number}", self.at.as_str())?,
            None if Some(self.at) != default => write!(f, " at {}", self.at.as_str())?,
            None => {}
        }
        write!(f, "{}", self.when)?;
        if let Some(lasts) = self.lasts {
            write!(f, " for {lasts}")?;
        }
        if let Some(chance) = self.chance {
            write!(f, " p={chance}")?;
        }
        match &self.who {
            Some(who) => write!(f, " who={}", quoted(&who.to_string())),
            None => Ok(()),
        }
    }
}
