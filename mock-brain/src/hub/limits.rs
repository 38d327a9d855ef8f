//! The times and sizes of a brain.
//!
//! Owns their meaning and defaults. Must not know how they are set (`crate::limits`).

use std::time::Duration;

use z4j_protocol::DEFAULT_MAX_FRAME_BYTES;

/// The brain's times and sizes. The defaults are the real brain's where it has them; head and body are bounded so that
/// silent connections do not use up the places there are.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A session without a frame for this long is closed with 4408.
    pub idle: Duration,
    /// How often a connection is pinged; one whose pong is missing for as long again is closed.
    pub ping: Duration,
    /// How long the peer may take to answer a close frame.
    pub close: Duration,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long a request's head may take, from the accepted connection or the last answer on.
    pub head: Duration,
    /// How long a request's body may take.
    pub body: Duration,
    /// How long a command waits to be sent, and then for its result.
    pub command: Duration,
    /// After how long a long-poll agent is handed some commands again.
    pub redelivery: Duration,
    /// Seconds between heartbeats that agents are told.
    pub heartbeat_seconds: u64,
    /// Largest frame over a websocket, in bytes; a larger message is closed with 4400.
    pub frame_bytes: u64,
    /// Largest request body, in bytes; a larger one gets 413.
    pub body_bytes: u64,
    /// Most connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// Most WebSocket handshakes and long-poll requests of an address in a minute; 0 for any number.
    pub connects: u32,
    /// Most worker slots of one agent; one more is closed with 4429.
    pub workers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(90),
            ping: Duration::from_secs(60),
            close: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            body: Duration::from_secs(20),
            command: Duration::from_secs(60),
            redelivery: Duration::from_secs(10),
            heartbeat_seconds: 10,
            frame_bytes: DEFAULT_MAX_FRAME_BYTES,
            body_bytes: 8_192,
            connections: 4_096,
            connects: 600,
            workers: 64,
        }
    }
}
