//! The tree of faults: what can be broken, by layer.
//!
//! Owns the values. Must not know how they are written (`catalog`, `text`) or carried out.

use std::time::Duration;

use crate::pki::Word;

/// What is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// On the TCP layer.
    Tcp(Tcp),
    /// In the TLS handshake.
    Tls(Tls),
    /// In what HTTP requests get.
    Http(Http),
    /// In the WebSocket gateway, and in who is let in.
    Ws(Ws),
    /// In the answer to hello.
    Hello(Hello),
    /// In the answers to batches.
    Ack(Ack),
    /// In the commands that are sent.
    Command(Command),
    /// In the long-poll transport.
    LongPoll(LongPoll),
}

/// Which bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Those that the client sends.
    Up,
    /// Those that the brain sends.
    Down,
    /// All.
    Both,
}

/// Faults of the TCP layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tcp {
    /// Nothing listens.
    Refused,
    /// The connection is reset.
    Reset,
    /// The connection is closed, without a word of the layers above.
    Closed,
    /// What the client sends is taken, and nothing is answered.
    HalfOpen,
    /// Nothing is read any more, and nothing answered.
    Stall,
    /// As half-open, and closed after a time.
    HangUp(Duration),
    /// Bytes come later.
    Latency {
        /// By this.
        time: Duration,
        /// And by up to this more, at random.
        jitter: Duration,
        /// Which ones.
        direction: Direction,
    },
    /// So many bytes a second pass.
    Bandwidth {
        /// How many.
        rate: u32,
        /// Which ones.
        direction: Direction,
    },
    /// What the brain sends comes in small segments.
    Sliced {
        /// Bytes of each.
        bytes: u32,
        /// The time between two.
        pause: Duration,
    },
    /// After so many bytes that the brain sent, the connection is closed.
    LimitData(u32),
    /// Where the brain ends a connection, that comes later.
    SlowClose(Duration),
}

/// Faults of the TLS layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Another certificate is shown, or another way of TLS is spoken: what the profile of that word shows.
    Shows(Word),
    /// The newest version that is spoken is TLS 1.1.
    OldVersion,
    /// The client hello is answered with this fatal alert.
    Alert(u8),
    /// The name in the client hello is none of the server's.
    UnrecognizedName,
    /// The port speaks plain HTTP.
    NotTls,
    /// The connection is closed after the client hello.
    Aborted,
}

/// Faults of the HTTP layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Http {
    /// The answer is this status: a proxy's at `request`, the brain's own at `poll` and `post`.
    Status {
        /// The status.
        code: http::StatusCode,
        /// Seconds of a Retry-After header.
        retry_after: Option<u32>,
        /// Where a redirect leads.
        location: Option<String>,
        /// The brain's code for the refusal, such as `project_inactive`.
        error: Option<String>,
    },
    /// A network's log-in page.
    Captive,
    /// A firewall's page.
    WafPage,
    /// Another program answers.
    WrongService,
    /// The connection is closed in place of an answer.
    Empty,
    /// What comes is no HTTP.
    Garbage,
    /// The body's chunks cannot be read.
    BadChunk,
    /// The answer comes byte by byte, with this time in between.
    Dribble(Duration),
    /// The answer's head is longer than anybody reads.
    HugeHead,
    /// The answer is HTTP/1.0's, and upgrades do not exist.
    Http10,
    /// The port wants TLS, and says so in plain HTTP.
    HttpsOnly,
    /// The answer comes later.
    Late(Duration),
}

/// Faults of the WebSocket gateway, and of who is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ws {
    /// A proxy in between drops the header lines of the upgrade.
    UpgradeStripped,
    /// A proxy in between drops `Connection: upgrade` only.
    ConnectionStripped,
    /// Upgrades get this status on the way.
    HttpStatus(http::StatusCode),
    /// The brain is below this path only.
    Path(String),
    /// The 101 is for another key.
    BadAccept,
    /// The 101 names a subprotocol that nobody asked for.
    WrongSubprotocol,
    /// The 101 names an extension that nobody asked for.
    ExtensionForced,
    /// What the brain sends is held back until there are so many bytes.
    Buffering(u32),
    /// A connection over which nothing went for this long is cut.
    IdleCut(Duration),
    /// Each session is cut within this time.
    Flap(Duration),
    /// Larger messages close the session with 1009.
    MaxFrame(u32),
    /// Pings are not answered.
    PingDropped,
    /// A frame that breaks RFC 6455 is sent.
    Frame(BadFrame),
    /// The token is not known.
    TokenRejected,
    /// The token is another project's.
    ProjectMismatch,
    /// The address is not on the list.
    AddressRefused,
    /// There were too many connections.
    RateLimited,
    /// The brain's secret of the project is another one.
    HmacMismatch,
    /// The brain's clock is ahead by so many seconds, or behind.
    ClockSkew(i32),
    /// The protocol version is refused.
    ProtocolRefused,
    /// The session is closed.
    Close {
        /// The close code.
        code: u16,
        /// The reason's text.
        reason: String,
    },
    /// A signed `error` frame is sent.
    ErrorFrame {
        /// Its code.
        code: String,
        /// Whether it says that the session cannot go on.
        fatal: bool,
    },
    /// The brain's frame bears a wrong signature.
    BadSignature,
    /// The brain's frame comes twice, with the same sequence number and nonce.
    Replayed,
}

/// How a frame breaks RFC 6455, or what of it few clients have met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFrame {
    /// It is masked, which a server's never is (5.1).
    Masked,
    /// Its opcode is a reserved one (5.2).
    Opcode,
    /// A reserved bit is set (5.2).
    Rsv,
    /// It is text and no UTF-8 (8.1).
    Utf8,
    /// It says that it is a terabyte long.
    Oversize,
    /// It is good, and comes in parts, with a ping between them (5.4).
    Fragmented,
}

/// Faults in the answer to hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello {
    /// There is none, and the session stays open.
    NoAck,
    /// It comes later.
    Late(Duration),
    /// It is of another protocol version.
    OtherVersion,
    /// It is of another project.
    OtherProject,
}

/// Faults in the answers to batches, which are stored all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// There is none.
    Drop,
    /// It comes later, and so do those behind it.
    Late(Duration),
    /// It is for a batch that nobody sent.
    WrongId,
    /// It comes twice, each signed by itself.
    Twice,
}

/// Faults in the commands that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// It is delivered twice.
    Twice,
}

/// Faults of the long-poll transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongPoll {
    /// Of a request's frames only the first ones are taken.
    Partial(u32),
    /// Upgrades are refused on the way, and long-poll goes through.
    Only,
    /// The brain has forgotten the session.
    SessionLost,
}
