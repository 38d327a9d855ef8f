//! What the probes saw, as values: no sentences, no verdicts.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use z4j_protocol::{SecretError, Timestamp};

use crate::mounts::MountTable;
use crate::net::dns::{Answer as DnsAnswer, ResolveError};
use crate::net::http::{Answer, Failure};
use crate::net::{proxy, tcp, tls};
pub(super) use crate::paths::BufferOutcome;
use crate::paths::Refusal;
use crate::transport::longpoll::RoundTrip;
use crate::transport::session::{End, Stage, Welcome};
use crate::transport::websocket::UpgradeFailure;

/// What one probe saw, and how long it took.
#[derive(Debug)]
pub(super) struct Timed<T> {
    /// What it saw.
    pub(super) seen: T,
    /// How long that took.
    pub(super) took: Duration,
}

/// What the buffer probe saw.
#[derive(Debug)]
pub(super) struct BufferEvidence {
    /// The buffer's path: the one that serves, or the one that was tried.
    pub(super) path: PathBuf,
    /// The home root; none for a user without a home directory.
    pub(super) home: Option<PathBuf>,
    /// Why the home root does not serve.
    pub(super) home_refusal: Option<Refusal>,
    /// What came of it.
    pub(super) outcome: BufferOutcome,
    /// What is mounted; none if that cannot be read.
    pub(super) mounts: Option<MountTable>,
    /// The resolved directory that serves or refuses.
    pub(super) real_dir: PathBuf,
    /// What is free there.
    pub(super) space: Option<Space>,
}

/// What is free on a file system.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    /// Bytes.
    pub(super) bytes: u64,
    /// Inodes, where their number is fixed.
    pub(super) inodes: Option<u64>,
}

/// What the DNS probe saw.
#[derive(Debug)]
pub(super) enum DnsEvidence {
    /// The URL has no host.
    NoHost,
    /// Addresses.
    Found(Vec<SocketAddr>),
    /// None.
    Failed {
        /// What the system's resolver said.
        error: ResolveError,
        /// What its servers say to a question of our own.
        answers: Vec<(IpAddr, DnsAnswer)>,
        /// Whether this process may use the network at all.
        local: LocalNetwork,
    },
}

/// What a socket may do here, whatever lies beyond.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalNetwork {
    /// The address families that cannot be opened, with the errno.
    pub(super) closed_families: Vec<(&'static str, i32)>,
    /// Whether a connection to 127.0.0.1:1 hung: it must be refused at once.
    pub(super) loopback_hangs: bool,
    /// The network interfaces; none if they cannot be listed.
    pub(super) interfaces: Option<Vec<String>>,
}

/// What the TCP probe saw.
#[derive(Debug)]
pub(super) enum TcpEvidence {
    /// A connection.
    Connected(SocketAddr),
    /// The proxy took the connection, and gives no way on.
    NoTunnel {
        /// Where the proxy is.
        address: SocketAddr,
        /// Why.
        failure: proxy::Failure,
    },
    /// None.
    Failed {
        /// Every address.
        attempts: Vec<tcp::Attempt>,
        /// Whether this process may use the network at all.
        local: LocalNetwork,
    },
}

/// What the TLS probe saw.
#[derive(Debug)]
pub(super) enum TlsEvidence {
    /// The URL is http.
    NotHttps,
    /// A session.
    Session(tls::Session),
    /// None.
    Failed {
        /// Why.
        failed: tls::Failed,
        /// Where the roots came from, and what could not be read of them.
        source: String,
        /// See [`crate::net::roots::Roots::has_kin_of`].
        kin: bool,
    },
}

/// What the websocket probe saw.
#[derive(Debug, Default)]
pub(super) struct WebsocketEvidence {
    /// The secret is missing (`None`) or unusable, so nothing was tried.
    pub(super) unsigned: Option<Option<(SecretError, String)>>,
    /// Why no hello was sent.
    pub(super) no_hello: Option<String>,
    /// The WebSocket.
    pub(super) trial: Option<Trial>,
    /// The long-poll requests.
    pub(super) longpoll: Option<RoundTrip>,
    /// When they were answered.
    pub(super) longpoll_at: Option<Timestamp>,
}

/// How a WebSocket went.
#[derive(Debug)]
pub(super) struct Trial {
    /// The 101.
    pub(super) answer: Option<Answer>,
    /// When it came.
    pub(super) answered_at: Timestamp,
    /// hello_ack.
    pub(super) welcome: Option<Welcome>,
    /// Commands that were received and declined.
    pub(super) declined: usize,
    /// How it ended.
    pub(super) end: TrialEnd,
}

/// An upgrade that failed, and what a plain request to the same brain says.
#[derive(Debug)]
pub(super) struct NoUpgrade {
    /// Why.
    pub(super) failure: UpgradeFailure,
    /// Whether the peer had sent nothing before.
    pub(super) silent: bool,
    /// The answer to `GET {prefix}/api/v1/health`.
    pub(super) health: Option<Result<Answer, Failure>>,
    /// The same without the URL's path, where it has one.
    pub(super) root_health: Option<Result<Answer, Failure>>,
}

/// How a WebSocket ended.
#[derive(Debug)]
pub(super) enum TrialEnd {
    /// There was none.
    NoUpgrade(Box<NoUpgrade>),
    /// The signed round trip succeeded.
    Proven,
    /// No hello was sent, and the brain did not close.
    Quiet,
    /// hello_ack is of a version that we do not speak.
    OtherVersion(String),
    /// hello_ack is of a project that is not the configured one.
    OtherProject,
    /// It ended while something was awaited.
    Early(Stage, End),
}

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// The buffer.
    pub(super) buffer: Option<Timed<BufferEvidence>>,
    /// The name.
    pub(super) dns: Option<Timed<DnsEvidence>>,
    /// The connection.
    pub(super) tcp: Option<Timed<TcpEvidence>>,
    /// Its TLS.
    pub(super) tls: Option<Timed<TlsEvidence>>,
    /// The round trip.
    pub(super) websocket: Option<Timed<WebsocketEvidence>>,
    /// Whether the time for the whole run ended before everything was looked at.
    pub(super) out_of_time: bool,
}
