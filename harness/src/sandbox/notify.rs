//! The service manager's notification socket (sd_notify(3)): who said what.
//!
//! Owns the socket. As with `NotifyAccess=main`, only the main process of what was started is heard.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::thread;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt};

use super::outlet::Outlet;
use super::tasks::{Running, running};
use super::wire::Event;

/// Where it lies, as on a machine with systemd.
pub(crate) const NOTIFY_SOCKET: &str = "/run/systemd/notify";

/// Largest message.
const MAX_BYTES: usize = 4_096;

/// Listens below `root`.
///
/// # Errors
/// The socket cannot be made.
pub(super) fn listen(root: &Path, running: Running, outlet: Outlet) -> io::Result<()> {
    let path = root.join(NOTIFY_SOCKET.trim_start_matches('/'));
    let socket = UnixDatagram::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))?;
    sockopt::set_socket_passcred(&socket, true)?;
    thread::spawn(move || {
        while let Ok((pid, text)) = receive(&socket) {
            let name =
                self::running(&running).iter().find(|(_, main)| **main == pid).map(|(name, _)| name.clone());
            let Some(name) = name else { continue };
            for text in text.lines().filter(|line| !line.is_empty()) {
                outlet.tell(Event::Notified { name: name.clone(), text: text.to_owned() });
            }
        }
    });
    Ok(())
}

fn receive(socket: &UnixDatagram) -> io::Result<(i32, String)> {
    let mut bytes = vec![0; MAX_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let pid = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(credentials) => Some(credentials.pid.as_raw_nonzero().get()),
        _ => None,
    });
    let text = String::from_utf8_lossy(bytes.get(..received.bytes).unwrap_or_default()).into_owned();
    Ok((pid.unwrap_or_default(), text))
}
