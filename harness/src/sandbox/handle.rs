//! The harness's end of a sandbox: starts it, asks it to run things, ends it.

use std::io::{self, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::DOOR;
use super::journal::Journal;
use super::manifest::Manifest;
use super::plan::Plan;
use super::wire::{self, Arrival, Command, Message, Operation, Output, Request, Response};

/// How long the sandbox itself may take for anything, beyond what a command may.
const GRACE: Duration = Duration::from_secs(20);

/// A running sandbox. Dropping it ends everything inside.
#[derive(Debug)]
pub(crate) struct Sandbox {
    socket: Option<UnixStream>,
    answers: Receiver<Response>,
    journal: Arc<Journal>,
    door: Child,
}

/// Sockets that were bound inside and are served from outside.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) brain: TcpListener,
    pub(crate) resolver: UdpSocket,
}

/// Why there is no sandbox, or no answer from it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    /// This machine does not allow it.
    #[error("{0}")]
    Unavailable(String),
    /// It should have worked.
    #[error("the sandbox failed: {0}")]
    Failed(String),
    /// The harness could not talk to it.
    #[error("the sandbox cannot be reached: {0}")]
    Io(#[from] io::Error),
}

impl Sandbox {
    /// Starts a sandbox.
    ///
    /// # Errors
    /// The machine does not allow one, or setting it up failed.
    pub(crate) fn start(plan: &Plan) -> Result<(Self, Sockets), SandboxError> {
        let (ours, theirs) = UnixStream::pair()?;
        let door = std::process::Command::new("/proc/self/exe")
            .arg(DOOR)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            // A group of its own: Ctrl-C is for the harness, which lets what runs come to its end.
            .process_group(0)
            .spawn()?;
        let reader = BufReader::new(ours.try_clone()?);
        let (sender, answers) = mpsc::channel();
        let journal = Arc::new(Journal::default());
        let sandbox = Self { socket: Some(ours), answers, journal: Arc::clone(&journal), door };
        // A door that could not open has said so already; what it said counts, not the broken pipe.
        let sent = wire::send(sandbox.socket()?, plan);
        match wire::receive_arrival(sandbox.socket()?)? {
            Arrival::Ready([brain, resolver]) => {
                sent?;
                thread::spawn(move || listen(reader, &sender, &journal));
                Ok((sandbox, Sockets { brain: brain.into(), resolver: resolver.into() }))
            }
            Arrival::Unavailable(reason) => Err(SandboxError::Unavailable(reason)),
            Arrival::Failed(reason) => Err(SandboxError::Failed(reason)),
        }
    }

    /// Runs a command inside and waits for it.
    ///
    /// # Errors
    /// It could not be started, or the sandbox is gone.
    pub(crate) fn run(&mut self, command: Command) -> Result<Output, SandboxError> {
        let limit = Duration::from_millis(command.limit_millis) + GRACE;
        match self.ask(&Request::Run(command), limit)? {
            Response::Ran(output) => Ok(output),
            other => Err(unexpected(other)),
        }
    }

    /// Starts a command that goes on until it is ended; the journal tells what becomes of it.
    ///
    /// # Errors
    /// It could not be started, or the sandbox is gone.
    pub(crate) fn start_task(&mut self, name: &str, command: Command) -> Result<i32, SandboxError> {
        self.journal.begin(name);
        match self.ask(&Request::Start { name: name.to_owned(), command }, GRACE)? {
            Response::Started { pid } => {
                self.journal.has_pid(name, pid);
                Ok(pid)
            }
            other => {
                self.journal.forget(name);
                Err(unexpected(other))
            }
        }
    }

    /// Sends a signal to what was started.
    ///
    /// # Errors
    /// There is no such signal, or the sandbox is gone.
    pub(crate) fn signal(&mut self, name: &str, signal: i32) -> Result<(), SandboxError> {
        self.ask_for(&Request::Signal { name: name.to_owned(), signal })
    }

    /// Does something to the machine.
    ///
    /// # Errors
    /// It does not work, or the sandbox is gone.
    pub(crate) fn operate(&mut self, operation: Operation) -> Result<(), SandboxError> {
        self.ask_for(&Request::Operate(operation))
    }

    /// What was started, and what became of it.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    fn ask_for(&mut self, request: &Request) -> Result<(), SandboxError> {
        match self.ask(request, GRACE)? {
            Response::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// The state of the sandbox's files.
    ///
    /// # Errors
    /// The sandbox is gone.
    pub(crate) fn manifest(&mut self) -> Result<Manifest, SandboxError> {
        match self.ask(&Request::Manifest, GRACE)? {
            Response::Manifest(manifest) => Ok(manifest),
            other => Err(unexpected(other)),
        }
    }

    fn ask(&mut self, request: &Request, limit: Duration) -> Result<Response, SandboxError> {
        wire::send(self.socket()?, request)?;
        self.answers.recv_timeout(limit).map_err(|error| match error {
            RecvTimeoutError::Timeout => SandboxError::Failed(format!("it did not answer within {limit:?}")),
            RecvTimeoutError::Disconnected => SandboxError::Failed("it ended early".to_owned()),
        })
    }

    fn socket(&self) -> io::Result<&UnixStream> {
        self.socket.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
    }
}

/// Hands on what init sends, until it ends.
fn listen(mut reader: BufReader<UnixStream>, answers: &Sender<Response>, journal: &Journal) {
    while let Ok(Some(message)) = wire::receive::<Message>(&mut reader) {
        match message {
            // Whoever asked has given up.
            Message::Answer(response) => _ = answers.send(response),
            Message::Event(event) => journal.note(event),
        }
    }
}

fn unexpected(response: Response) -> SandboxError {
    match response {
        Response::Failed(reason) => SandboxError::Failed(reason),
        other => SandboxError::Failed(format!("it answered something else: {other:?}")),
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Init ends when the socket closes; shutting it down closes the reader's copy too.
        if let Some(socket) = self.socket.take() {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        let _ = self.door.wait();
    }
}
