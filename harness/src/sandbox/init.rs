//! Pid 1 of the sandbox: sets it up by plan, binds the brain's and the resolver's sockets inside, and then
//! carries out requests until the harness hangs up. When it ends, the kernel ends everything inside.

use std::io::{self, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::sethostname;

use super::door::inherited_socket;
use super::operate::{self, HostView};
use super::outlet::Outlet;
use super::plan::Plan;
use super::tasks::{Running, Tasks};
use super::wire::{self, Request, Response};
use super::{manager, manifest, mounts, netlink, notify};

/// The word that starts this part of the program.
pub(crate) const INIT: &str = "__sandbox-init";

/// What the machine calls itself.
pub(crate) const HOST_NAME: &str = "sandbox";

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
    let view = mounts::build(&plan).map_err(|error| error.to_string())?;
    let outlet = Outlet::new(socket.try_clone().map_err(text)?);
    let running = Running::default();
    if plan.notify {
        let listening = notify::listen(&view.root(), Running::clone(&running), outlet.clone());
        listening.map_err(|error| format!("make {}: {error}", notify::NOTIFY_SOCKET))?;
    }
    {
        let brain = TcpListener::bind(plan.brain).map_err(|error| format!("bind {}: {error}", plan.brain))?;
        let resolver =
            UdpSocket::bind(plan.resolver).map_err(|error| format!("bind {}: {error}", plan.resolver))?;
        wire::send_ready(socket, [brain.as_fd(), resolver.as_fd()]).map_err(text)?;
    }
    let tasks = Tasks::new(outlet.clone(), running);
    while let Some(request) = wire::receive::<Request>(&mut reader).map_err(text)? {
        outlet.answer(answer(&plan, &view, &tasks, request)).map_err(text)?;
    }
    Ok(())
}

fn answer(plan: &Plan, view: &HostView, tasks: &Tasks, request: Request) -> Response {
    let done = match request {
        Request::Run(mut command) => {
            let ran = manager::prepare(plan, view, &mut command).and_then(|()| tasks.run(&command));
            ran.map(Response::Ran).map_err(|error| format!("run {:?}: {error}", command.arguments))
        }
        Request::Start { name, mut command } => {
            let ready = manager::prepare(plan, view, &mut command);
            let started = ready.and_then(|()| tasks.start(&name, &command));
            let started = started.map(|pid| Response::Started { pid });
            started.map_err(|error| format!("start {:?}: {error}", command.arguments))
        }
        Request::Signal { name, signal } => tasks
            .signal(&name, signal)
            .map(|()| Response::Done)
            .map_err(|error| format!("signal {name}: {error}")),
        Request::Operate(operation) => operate::carry_out(plan, view, tasks.reaper(), &operation)
            .map(|()| Response::Done)
            .map_err(|error| error.to_string()),
        Request::Manifest => Ok(Response::Manifest(manifest::take(plan))),
    };
    done.unwrap_or_else(Response::Failed)
}
