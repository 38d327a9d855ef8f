//! What the harness and the sandbox's init say to each other: one JSON document a line over a socket, and
//! once the two sockets that were bound inside.
//!
//! Owns framing. Must not know what a request means.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::launch::Launch;
use super::manifest::Manifest;
use super::plan::Ids;
use crate::scenario::{Credential, MaybePath};

/// What the harness asks for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Run a command to its end.
    Run(Command),
    /// Start a command that goes on until it is ended.
    Start { name: String, command: Command },
    /// Send a signal to what was started.
    Signal { name: String, signal: i32 },
    /// Do something to the machine, as its root.
    Operate(Operation),
    /// The state of everything that the sandbox owns.
    Manifest,
}

/// What init answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Response {
    Ran(Output),
    Started {
        pid: i32,
    },
    Manifest(Manifest),
    Done,
    /// It could not be done: why.
    Failed(String),
}

/// What happens inside without being asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// What was started wrote a line.
    Logged { name: String, line: String },
    /// It said something to the service manager (sd_notify(3)), one assignment.
    Notified { name: String, text: String },
    /// It ended; everything that it wrote was told before.
    Ended { name: String, status: i32 },
}

/// All that init sends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    Answer(Response),
    Event(Event),
}

/// What the machine's root, or fate, does to it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Operation {
    /// Delete what lies in /tmp and /var/tmp; only what is called so, if a pattern is given.
    ClearTmp {
        only: Option<String>,
    },
    /// Fill a tmpfs to its last byte.
    Fill {
        path: PathBuf,
    },
    /// Take away what filled it.
    Free {
        path: PathBuf,
    },
    /// Make a path read-only or writable.
    Remount {
        path: PathBuf,
        read_only: bool,
    },
    Write {
        path: PathBuf,
        content: String,
        owner: Option<Ids>,
        mode: Option<u32>,
    },
    Chown {
        path: PathBuf,
        owner: Ids,
    },
    Chmod {
        path: PathBuf,
        mode: u32,
    },
    Remove {
        path: PathBuf,
    },
    /// Empty directories, which stay.
    Empty {
        paths: Vec<PathBuf>,
    },
    /// What becomes of packets to and from the machine's Ethernet addresses.
    Network(Link),
}

/// The state of the machine's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Link {
    Up,
    /// The interface is down: no route.
    Down,
    /// Packets vanish.
    Drop,
}

/// A command to run as the service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Command {
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    /// Files with more of it, which win.
    pub(crate) environment_files: Vec<MaybePath>,
    /// Variables that it does not get, whoever says them.
    pub(crate) unset: Vec<String>,
    /// What is put into its credentials directory.
    pub(crate) credentials: Vec<Credential>,
    /// What it reads; nothing if absent.
    pub(crate) input: Option<Input>,
    pub(crate) launch: Launch,
    pub(crate) limit_millis: u64,
}

/// What a command reads from standard input.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Input {
    pub(crate) text: String,
    /// At once if absent.
    pub(crate) lines_per_second: Option<u32>,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Output {
    /// The exit status; 128 + N for death by signal N, as in a shell.
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Whether it was killed because it took too long.
    pub(crate) timed_out: bool,
}

/// Whether the sandbox came up.
pub(crate) enum Arrival {
    /// It did: the brain's and the resolver's sockets.
    Ready([OwnedFd; 2]),
    /// This machine does not allow it: why.
    Unavailable(String),
    /// It failed: why.
    Failed(String),
}

const READY: u8 = b'R';
const UNAVAILABLE: u8 = b'U';
const FAILED: u8 = b'F';
const MAX_REASON: usize = 4_096;

pub(crate) fn send_ready(socket: &UnixStream, sockets: [BorrowedFd<'_>; 2]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&sockets));
    sendmsg(socket, &[IoSlice::new(&[READY])], &mut control, SendFlags::empty())?;
    Ok(())
}

pub(crate) fn send_unavailable(socket: &UnixStream, reason: &str) {
    send_refusal(socket, UNAVAILABLE, reason);
}

pub(crate) fn send_failed(socket: &UnixStream, reason: &str) {
    send_refusal(socket, FAILED, reason);
}

/// Says no. If even that fails, the other side sees the socket close.
fn send_refusal(mut socket: &UnixStream, kind: u8, reason: &str) {
    let mut message = vec![kind];
    message.extend(reason.bytes().take(MAX_REASON - 1));
    let _ = socket.write_all(&message);
}

pub(crate) fn receive_arrival(socket: &UnixStream) -> io::Result<Arrival> {
    let mut text = vec![0; MAX_REASON];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let reason = String::from_utf8_lossy(text.get(1..received.bytes).unwrap_or_default()).into_owned();
    match text.first().filter(|_| received.bytes > 0) {
        Some(&UNAVAILABLE) => return Ok(Arrival::Unavailable(reason)),
        Some(&FAILED) => return Ok(Arrival::Failed(reason)),
        Some(&READY) => {}
        _ => return Ok(Arrival::Failed("it ended while it was set up".to_owned())),
    }
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            sockets.extend(received);
        }
    }
    let sockets = <[OwnedFd; 2]>::try_from(sockets);
    Ok(sockets.map_or_else(|_| Arrival::Failed("it sent no sockets".to_owned()), Arrival::Ready))
}

pub(crate) fn send<T: Serialize>(mut socket: &UnixStream, message: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    socket.write_all(&line)
}

/// The next message; `None` at the end.
pub(crate) fn receive<T: DeserializeOwned>(reader: &mut BufReader<UnixStream>) -> io::Result<Option<T>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}
