//! Pid 1 of the sandbox: sets it up by plan, binds the brain's and the resolver's sockets inside, and then
//! carries out requests until the harness hangs up. When it ends, the kernel ends everything inside.

use std::io::{self, BufReader, Read};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, sethostname};

use super::door::inherited_socket;
use super::launch::Launch;
use super::plan::Plan;
use super::wire::{self, Command, Output, Request, Response};
use super::{LAUNCH, manifest, mounts, netlink};

/// The word that starts this part of the program.
pub(crate) const INIT: &str = "__sandbox-init";

/// What the machine calls itself.
pub(crate) const HOST_NAME: &str = "sandbox";

/// Most bytes of a command's output that are kept, each of stdout and stderr.
const MAX_OUTPUT_BYTES: u64 = 4 << 20;

/// How long the rest of a command's output may take once nothing runs any more.
const DRAIN: Duration = Duration::from_secs(5);

/// Returns the exit status.
pub(crate) fn main() -> i32 {
    let Ok(socket) = inherited_socket() else { return 2 };
    // The door is gone: so is the sandbox. A refusal changes nothing else.
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    match serve(&socket) {
        Ok(()) => 0,
        Err(error) => {
            wire::send_failed(&socket, &error);
            1
        }
    }
}

fn serve(socket: &UnixStream) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let mut reader = BufReader::new(socket.try_clone().map_err(text)?);
    let Some(plan) = wire::receive::<Plan>(&mut reader).map_err(text)? else { return Ok(()) };
    sethostname(HOST_NAME).map_err(|error| format!("set the host name: {error}"))?;
    netlink::set_up(&plan.addresses).map_err(|error| format!("set up the network: {error}"))?;
    mounts::build(&plan).map_err(|error| error.to_string())?;
    {
        let brain = TcpListener::bind(plan.brain).map_err(|error| format!("bind {}: {error}", plan.brain))?;
        let resolver =
            UdpSocket::bind(plan.resolver).map_err(|error| format!("bind {}: {error}", plan.resolver))?;
        wire::send_ready(socket, [brain.as_fd(), resolver.as_fd()]).map_err(text)?;
    }
    while let Some(request) = wire::receive::<Request>(&mut reader).map_err(text)? {
        let response = match request {
            Request::Run(command) => run(&plan, &command).map_or_else(
                |error| Response::Failed(format!("run {:?}: {error}", command.arguments)),
                Response::Ran,
            ),
            Request::Manifest => Response::Manifest(manifest::take(&plan)),
        };
        wire::send(socket, &response).map_err(text)?;
    }
    Ok(())
}

fn run(plan: &Plan, command: &Command) -> io::Result<Output> {
    let launch = Launch {
        ids: command.ids,
        map: !plan.privileged,
        umask: command.umask,
        working_directory: command.working_directory.clone(),
        no_new_privileges: command.no_new_privileges,
    };
    let mut child = std::process::Command::new("/proc/self/exe")
        .arg(LAUNCH)
        .arg(serde_json::to_string(&launch)?)
        .args(&command.arguments)
        .env_clear()
        .envs(&command.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let (status, timed_out) = wait(child, Duration::from_millis(command.limit_millis))?;
    end_what_is_left();
    let text = |output: Receiver<Vec<u8>>| {
        String::from_utf8_lossy(&output.recv_timeout(DRAIN).unwrap_or_default()).into_owned()
    };
    let status = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
    Ok(Output { status, stdout: text(stdout), stderr: text(stderr), timed_out })
}

/// Ends whatever a command left running: it holds the pipes open, and belongs to no later step. As pid 1 this
/// reaches everything in the sandbox and nothing else (kill(2), pid_namespaces(7)).
fn end_what_is_left() {
    // There may be nothing to kill, and then nothing to wait for.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    while waitpid(Pid::from_raw(-1), None).is_ok() {}
}

/// Reads a pipe to its end, or to the bound, in a thread of its own.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is what there is; the rest is thrown away unread.
            let _ = pipe.by_ref().take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes);
            let _ = io::copy(&mut pipe, &mut io::sink());
        }
        sender.send(bytes)
    });
    receiver
}

/// Waits for a child, and kills it if it takes longer than the limit.
fn wait(mut child: Child, limit: Duration) -> io::Result<(ExitStatus, bool)> {
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait()));
    if let Ok(status) = receiver.recv_timeout(limit) {
        return Ok((status?, false));
    }
    kill(pid, Signal::SIGKILL)?;
    let status = receiver.recv().map_err(io::Error::other)??;
    Ok((status, true))
}
