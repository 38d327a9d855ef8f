//! The times and sizes of `serve` that can be set: by flags, and by the `[limits]` table of its file.
//!
//! Owns their names and how they are written. What they mean is [`Limits`]'.

use std::num::{NonZeroU64, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::fault::duration;
use crate::hub::Limits;

/// A time that is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Time(Duration);

impl FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time = duration::parse(text).filter(|time| !time.is_zero());
        time.map(Self).ok_or("a time is expected, such as 500ms, 10s or 2m")
    }
}

impl TryFrom<String> for Time {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The largest frame that is read at all, in bytes.
pub(crate) const LARGEST_FRAME: u32 = 16 << 20;
/// The smallest limit on frames: a hello fits, with room for what agents put into it.
const SMALLEST_FRAME: u64 = 1 << 12;

/// A size on the command line.
pub(crate) fn bytes(text: &str) -> Result<NonZeroU64, String> {
    text.parse().map_err(|_| format!("a number of bytes is expected, from 1 to {}", u64::MAX))
}

/// What is set; the rest is the real brain's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct LimitSettings {
    /// Largest request body [default: 8192]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_body: Option<NonZeroU64>,
    /// Largest frame over a websocket [default: 1048576]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_frame: Option<NonZeroU64>,
    /// Most connections at a time [default: 4096]
    #[arg(long, value_name = "N")]
    max_connections: Option<NonZeroUsize>,
    /// Most websocket handshakes and long-poll requests of an address in a minute, 0 for any number [default: 600]
    #[arg(long, value_name = "N")]
    max_connects: Option<u32>,
    /// Most worker slots of one agent [default: 64]
    #[arg(long, value_name = "N")]
    max_workers: Option<NonZeroUsize>,
    /// Seconds between heartbeats that agents are told [default: 10]
    #[arg(long, value_name = "SECONDS")]
    heartbeat: Option<NonZeroU64>,
    /// A session without a frame for this long is closed [default: 90s]
    #[arg(long, value_name = "TIME")]
    idle_timeout: Option<Time>,
    /// How often a connection is pinged [default: 60s]
    #[arg(long, value_name = "TIME")]
    ping_interval: Option<Time>,
    /// How long a command waits to be sent, and then for its result [default: 60s]
    #[arg(long, value_name = "TIME")]
    command_timeout: Option<Time>,
}

impl LimitSettings {
    /// These settings where they say something, else the others.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            max_body: self.max_body.or(other.max_body),
            max_frame: self.max_frame.or(other.max_frame),
            max_connections: self.max_connections.or(other.max_connections),
            max_connects: self.max_connects.or(other.max_connects),
            max_workers: self.max_workers.or(other.max_workers),
            heartbeat: self.heartbeat.or(other.heartbeat),
            idle_timeout: self.idle_timeout.or(other.idle_timeout),
            ping_interval: self.ping_interval.or(other.ping_interval),
            command_timeout: self.command_timeout.or(other.command_timeout),
        }
    }

    /// The limits.
    ///
    /// # Errors
    /// Which key says what no brain can keep, and why.
    pub(crate) fn resolve(&self) -> Result<Limits, (&'static str, String)> {
        if let Some(bytes) =
            self.max_frame.filter(|bytes| !(SMALLEST_FRAME..=u64::from(LARGEST_FRAME)).contains(&bytes.get()))
        {
            let words = format!(
                "{bytes} is not from {SMALLEST_FRAME} to {LARGEST_FRAME}, what agents can be held to"
            );
            return Err(("max-frame", words));
        }

        let default = Limits::default();
        let time = |set: Option<Time>, default| set.map_or(default, |Time(time)| time);
        Ok(Limits {
            body_bytes: self.max_body.map_or(default.body_bytes, NonZeroU64::get),
            frame_bytes: self.max_frame.map_or(default.frame_bytes, NonZeroU64::get),
            connections: self.max_connections.map_or(default.connections, NonZeroUsize::get),
            connects: self.max_connects.unwrap_or(default.connects),
            workers: self.max_workers.map_or(default.workers, NonZeroUsize::get),
            heartbeat_seconds: self.heartbeat.map_or(default.heartbeat_seconds, NonZeroU64::get),
            idle: time(self.idle_timeout, default.idle),
            ping: time(self.ping_interval, default.ping),
            command: time(self.command_timeout, default.command),
            ..default
        })
    }
}
