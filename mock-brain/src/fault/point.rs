//! Where in a connection's life a fault strikes.
//!
//! Owns the words and their order.

/// Where in a connection's life a fault strikes, in the order in which a connection gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// Before any connection: whether the socket listens.
    Listen,
    /// The connection was accepted.
    Accept,
    /// So many bytes were read from the client.
    AfterBytes,
    /// The TLS client hello was read.
    Handshake,
    /// The head of a request was read.
    Request,
    /// The request is a long-poll agent's for commands.
    Poll,
    /// The request is a long-poll agent's with frames.
    Post,
    /// The 101 was written.
    Upgrade,
    /// The token was looked at: after the 101, and at every long-poll request.
    Login,
    /// The hello was read.
    Hello,
    /// The hello_ack was written.
    HelloAck,
    /// A signed frame was read and verified; nothing has come of it yet.
    Frame,
    /// An event was looked at; its batch is stored and not acknowledged yet.
    Event,
    /// A batch is stored, and its acknowledgement is about to be sent.
    Ack,
    /// A command is about to be sent.
    Command,
}

impl Point {
    pub(super) const ALL: [Self; 15] = [
        Self::Listen,
        Self::Accept,
        Self::AfterBytes,
        Self::Handshake,
        Self::Request,
        Self::Poll,
        Self::Post,
        Self::Upgrade,
        Self::Login,
        Self::Hello,
        Self::HelloAck,
        Self::Frame,
        Self::Event,
        Self::Ack,
        Self::Command,
    ];

    /// The word for it after `at`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::Accept => "accept",
            Self::AfterBytes => "after-bytes",
            Self::Handshake => "handshake",
            Self::Request => "request",
            Self::Poll => "poll",
            Self::Post => "post",
            Self::Upgrade => "upgrade",
            Self::Login => "login",
            Self::Hello => "hello",
            Self::HelloAck => "hello-ack",
            Self::Frame => "frame",
            Self::Event => "event",
            Self::Ack => "ack",
            Self::Command => "command",
        }
    }

    /// Whether a number may follow the word: the how-manieth of a session, or of a connection's bytes.
    #[must_use]
    pub const fn is_numbered(self) -> bool {
        matches!(self, Self::AfterBytes | Self::Frame | Self::Event | Self::Ack | Self::Command)
    }
}
