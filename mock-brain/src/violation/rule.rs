//! The rules that agents are held to, as a table.
//!
//! Owns names and meanings. Must not look at frames. `docs/mock-brain.md` has the table, written from here.

/// A part of the protocol that a rule is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// A request, before any session.
    Http,
    /// The long-poll transport.
    LongPoll,
    /// The WebSocket itself (RFC 6455).
    WebSocket,
    /// The first frame.
    Hello,
    /// Any signed frame.
    Frame,
    /// A batch and its events.
    Event,
    /// What becomes of acknowledgements.
    Delivery,
    /// Heartbeats.
    Heartbeat,
    /// Commands and their results.
    Command,
    /// How often an agent comes.
    Connect,
}

impl Layer {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::LongPoll => "long-poll",
            Self::WebSocket => "websocket",
            Self::Hello => "hello",
            Self::Frame => "frame",
            Self::Event => "event",
            Self::Delivery => "delivery",
            Self::Heartbeat => "heartbeat",
            Self::Command => "command",
            Self::Connect => "connect",
        }
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct RuleInfo {
    /// Its name.
    pub name: &'static str,
    /// What it is of.
    pub layer: Layer,
    /// Whether it is looked at under `--strict` only: the real brain leaves it free.
    pub strict_only: bool,
    /// What an agent does that breaks it.
    pub about: &'static str,
}

macro_rules! rules {
    ($($name:ident = $text:literal in $layer:ident, $strict:literal, $about:literal;)+) => {
        /// A rule.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Rule { $($name,)+ }

        impl Rule {
            pub(crate) const fn info(self) -> &'static RuleInfo {
                match self { $(Self::$name => &RuleInfo {
                    name: $text, layer: Layer::$layer, strict_only: $strict, about: $about,
                },)+ }
            }
        }

        /// Every rule, layer by layer.
        pub const RULES: &[&RuleInfo] = &[$(Rule::$name.info(),)+];
    };
}

rules! {
    TokenInQuery = "http.token-in-query" in Http, false,
        "The token stands in the query of a request, where logs of proxies keep it.";
    HostMissing = "http.host-missing" in Http, true,
        "A request without Host (RFC 9112, 3.2).";
    Subprotocol = "http.subprotocol" in Http, true,
        "The upgrade offers a subprotocol; there is none.";
    PollRequest = "longpoll.request" in LongPoll, false,
        "A request whose parameters or body are not of their shape (422).";
    NonceMissing = "longpoll.nonce-missing" in LongPoll, true,
        "A request without X-Z4J-Session-Nonce: all such requests of an agent share one session.";
    ProbeFirst = "longpoll.probe-first" in LongPoll, true,
        "A session nonce whose first request is not the probe (wait=0, max_frames=0).";
    DeadNonce = "longpoll.dead-nonce" in LongPoll, false,
        "A session nonce goes on being used after it was answered with 409; two requests, a poll and a post, may have been on their way.";
    TooLargeAgain = "longpoll.too-large-again" in LongPoll, true,
        "A body no smaller than one that was refused with 413 within the last minute, under the same session nonce.";
    RetryAfter = "longpoll.retry-after" in LongPoll, true,
        "A request of the same kind, under the same session nonce, before the Retry-After of its refusal is over.";
    WsProtocol = "ws.protocol" in WebSocket, false,
        "A WebSocket frame that RFC 6455 does not allow (close 1002); a length that is not written in the fewest bytes is noted, and the session goes on.";
    WsUtf8 = "ws.utf8" in WebSocket, false,
        "A text message that is not UTF-8 (close 1007).";
    WsTooLarge = "ws.too-large" in WebSocket, false,
        "A message over max_frame_size_bytes (close 4400, over 16 MiB 1009).";
    WsPongMissing = "ws.pong-missing" in WebSocket, false,
        "A ping is not answered although messages come (close 1011).";
    WsIdle = "ws.idle" in WebSocket, false,
        "Pings are answered and no frame comes until the session is closed with 4408.";
    WsText = "ws.text" in WebSocket, true,
        "A frame in a text message; the reference sends binary ones.";
    HelloMalformed = "hello.malformed" in Hello, false,
        "A hello, the first one or a later one, that is none: a field missing, of another type, over its bound (close 4400).";
    HelloVersion = "hello.version" in Hello, false,
        "A hello of another protocol version (close 4426).";
    HelloLate = "hello.late" in Hello, true,
        "No hello within 10 seconds after the 101.";
    HelloAgain = "hello.again" in Hello, false,
        "A second hello in one session; it is ignored.";
    HelloUnknownField = "hello.unknown-field" in Hello, true,
        "A member of hello, or of its payload, that is not known.";
    FrameMalformed = "frame.malformed" in Frame, false,
        "A message that is no frame: not JSON, another v, an unknown type, a payload that is no object, a result's status, counters (close 1011).";
    FrameSignature = "frame.signature" in Frame, false,
        "A wrong signature after others of the same session were right; a wrong secret is no violation.";
    FrameStamp = "frame.stamp" in Frame, false,
        "seq, nonce or ts is missing or not of its form (close 4403).";
    FrameSeq = "frame.seq" in Frame, false,
        "seq does not rise (close 4403).";
    FrameSeqGap = "frame.seq-gap" in Frame, true,
        "seq does not rise by one, or does not start at 1, on a websocket.";
    FrameNonce = "frame.nonce" in Frame, false,
        "A nonce comes again (close 4403).";
    FrameNonceForm = "frame.nonce-form" in Frame, true,
        "A nonce that is not 22 characters of url-safe base64.";
    FrameId = "frame.id" in Frame, true,
        "A frame without an id of 1 to 64 characters.";
    FrameUnknownField = "frame.unknown-field" in Frame, true,
        "A top-level member that is not known.";
    FramePayloadField = "frame.payload-field" in Frame, true,
        "A member of an agent's payload that is not known, of whichever type its frame is; what lies deeper is open.";
    FrameDirection = "frame.direction" in Frame, false,
        "A frame that only brains send.";
    BatchEvents = "event_batch.events" in Event, false,
        "A batch whose events are no list: it is acknowledged and dropped.";
    BatchTooMany = "event_batch.too-many" in Event, false,
        "Over 5,000 events in a batch: those behind are acknowledged and lost.";
    EventId = "event.id" in Event, true,
        "An event whose id is no UUID: without a task it is never known again.";
    EventKind = "event.kind" in Event, true,
        "An event of a kind that is not known.";
    EventEngine = "event.engine" in Event, true,
        "An event without an engine: it is rejected.";
    EventTime = "event.time" in Event, true,
        "occurred_at is missing, has no zone, or lies over 60 s ahead or 400 days back: it is replaced by the time of receipt.";
    EventUnknownField = "event.unknown-field" in Event, true,
        "A member of an event that is not known.";
    EventRepeated = "event.repeated" in Event, true,
        "The same event id twice in one batch.";
    AckIgnored = "delivery.ack-ignored" in Delivery, false,
        "A batch comes again in the session in which it was acknowledged, 5 s or more after that.";
    Resent = "delivery.resent" in Delivery, false,
        "An event comes again in another batch of the session in which it was acknowledged, 5 s or more after that.";
    HeartbeatType = "heartbeat.type" in Heartbeat, true,
        "A member of a heartbeat is not of its type.";
    HeartbeatLate = "heartbeat.late" in Heartbeat, true,
        "Over twice the interval and 5 s pass without a heartbeat, since the last one or the hello_ack: by the ts of the next frame, or, when the session ends, up to the last ping that was answered.";
    ClaimToken = "command.claim-token" in Command, false,
        "An acknowledgement or result without the command's delivery_claim_token.";
    CommandUnknown = "command.unknown" in Command, false,
        "An acknowledgement or result of a command that this agent was never sent; what this brain forgot (a reset, a journal in memory) does not count.";
    ResultUnacked = "command.result-unacked" in Command, true,
        "A result of a command that was not acknowledged before.";
    ResultError = "command.result-error" in Command, false,
        "A result whose error is neither text nor null: it is dropped, and the command runs into its time-out.";
    ConnectTooFast = "connect.too-fast" in Connect, false,
        "Four times in a row a worker says hello sooner than its back-off class allows: 5 s after a refused signature, 60 s after a refused version, 250 ms after any other end by the brain. Before hello no worker is known: there over 131 refusals of a token from one address within 5 s are too many, for 64 workers may come at once.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_said_in_a_sentence() {
        let names: BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), RULES.len());
        for rule in RULES {
            assert!(rule.about.ends_with('.') && !rule.about.contains('|'), "{}", rule.name);
        }
    }
}
