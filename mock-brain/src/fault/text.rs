//! Faults as text: the shortest that parses to the same.

use std::fmt;

use super::{Ack, Fault, FaultSpec, Hello, Http, LongPoll, Tcp, Tls, Ws, catalog, duration};
use crate::pki::Word;

impl Tls {
    /// The fault's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shows(word) => word.fault_name(),
        }
    }
}

impl Fault {
    /// The fault's name: the doctor's code for it, where there is one.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Tcp(Tcp::Reset) => "tcp.reset",
            Self::Tcp(Tcp::Refused) => "tcp.refused",
            Self::Tcp(Tcp::HalfOpen) => "tcp.half-open",
            Self::Tcp(Tcp::Stall) => "tcp.stall",
            Self::Tcp(Tcp::Latency(_)) => "tcp.latency",
            Self::Tcp(Tcp::Bandwidth(_)) => "tcp.bandwidth",
            Self::Tls(fault) => fault.name(),
            Self::Http(Http::Status { .. }) => "http.status",
            Self::Ws(Ws::UpgradeStripped) => "ws.upgrade-stripped",
            Self::Ws(Ws::ProtocolRefused) => "ws.protocol-refused",
            Self::Ws(Ws::Close { .. }) => "ws.close",
            Self::Ws(Ws::ErrorFrame { .. }) => "ws.error-frame",
            Self::Ws(Ws::BadSignature) => "ws.bad-signature",
            Self::Hello(Hello::NoAck) => "hello.no-ack",
            Self::Ack(Ack::Drop) => "ack.drop",
            Self::Ack(Ack::Late(_)) => "ack.late",
            Self::Ack(Ack::WrongId) => "ack.wrong-id",
            Self::LongPoll(LongPoll::Partial(_)) => "longpoll.partial",
            Self::LongPoll(LongPoll::Only) => "longpoll.only",
        }
    }

    /// Its parameters as they are written.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut out = Vec::new();
        match self {
            Self::Tcp(Tcp::Latency(delay)) => out.push(("ms", delay.as_millis().to_string())),
            Self::Tcp(Tcp::Bandwidth(rate)) => out.push(("bytes_per_s", rate.to_string())),
            Self::Http(Http::Status { code, retry_after, error }) => {
                out.push(("code", code.as_u16().to_string()));
                out.extend(retry_after.map(|seconds| ("retry_after", seconds.to_string())));
                out.extend(error.as_deref().map(|error| ("error", quoted(error))));
            }
            Self::Ws(Ws::Close { code, reason }) => {
                out.push(("code", code.to_string()));
                out.extend((!reason.is_empty()).then(|| ("reason", quoted(reason))));
            }
            Self::Ws(Ws::ErrorFrame { code, fatal }) => {
                out.push(("code", quoted(code)));
                out.extend(fatal.then(|| ("fatal", "true".to_owned())));
            }
            Self::Tls(Tls::Shows(Word::ExpiresIn(time))) => out.push(("t", duration::text(*time))),
            Self::Ack(Ack::Late(delay)) => out.push(("delay", duration::text(*delay))),
            Self::LongPoll(LongPoll::Partial(count)) => out.push(("accepted", count.to_string())),
            _ => {}
        }
        out
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
