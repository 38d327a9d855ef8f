//! The other end of the control socket, and the signal where there is none.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::{Answer, DEADLINE, MAX_ANSWER_BYTES, Request};
use crate::files;
use crate::instance::{Instance, check_length};
use crate::words::{errno_text, printable};

/// Most of /proc/locks that is read, in bytes.
const MAX_LOCKS_BYTES: u64 = 4 << 20;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AskError {
    /// Nothing listens there.
    #[error("its control socket {0} is not there")]
    NoSocket(String),
    /// Nothing came.
    #[error("it holds its lock, and has not answered within {} s", DEADLINE.as_secs())]
    Silent,
    /// What came is no answer, or the socket is not to be trusted.
    #[error("{0}")]
    Other(String),
}

/// Asks an agent whose files belong to a user.
pub(super) async fn ask(instance: &Instance, uid: u32, request: Request) -> Result<Answer, AskError> {
    ask_within(instance, uid, request, DEADLINE).await
}

/// The same, with a deadline.
pub(super) async fn ask_within(
    instance: &Instance,
    uid: u32,
    request: Request,
    deadline: Duration,
) -> Result<Answer, AskError> {
    let asked = tokio::time::timeout(deadline, exchange(instance, uid, request));
    asked.await.unwrap_or(Err(AskError::Silent))
}

async fn exchange(instance: &Instance, uid: u32, request: Request) -> Result<Answer, AskError> {
    let path = instance.control_socket();
    let shown = path.display();
    let other = |text: String| AskError::Other(text);
    let io = |error: io::Error| AskError::Other(format!("{shown}: {}", errno_text(&error)));
    check_length(&path).map_err(|error| other(error.to_string()))?;
    // A link would lead root to a socket of somebody's choice.
    match fs::symlink_metadata(&path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Err(other(format!("{shown} is no socket"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(AskError::NoSocket(shown.to_string()));
        }
        Err(error) => return Err(io(error)),
    }
    let mut stream = match UnixStream::connect(&path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Err(AskError::NoSocket(shown.to_string()));
        }
        connected => connected.map_err(io)?,
    };
    let peer = stream.peer_cred().map_err(io)?.uid();
    if peer != uid {
        return Err(other(format!("uid {peer} listens at {shown}, and its agent is uid {uid}")));
    }
    let mut line = serde_json::to_vec(&request).map_err(|error| other(error.to_string()))?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(io)?;
    let mut answer = Vec::new();
    let mut reader = BufReader::new(stream).take(MAX_ANSWER_BYTES);
    reader.read_until(b'\n', &mut answer).await.map_err(io)?;
    serde_json::from_slice(&answer).map_err(|error| {
        let began = printable(&answer, 60);
        other(format!("what answers at {shown} is no agent of this release ({error}): {began:?}"))
    })
}

/// Signals an agent: it holds the lock of its pidfile here, in this pid namespace, so the pid is its own.
pub(super) fn hang_up(instance: &Instance) -> Result<(), String> {
    let pid = instance.pid;
    let locks = files::read(std::path::Path::new("/proc/locks"), MAX_LOCKS_BYTES)
        .map_err(|error| format!("/proc/locks: {}", errno_text(&error)))?;
    let inode = fs::symlink_metadata(instance.pidfile()).map_err(|error| errno_text(&error))?.ino();
    if !holds_lock(&String::from_utf8_lossy(&locks), pid, inode) {
        return Err(format!("pid {pid} is not the agent's here: it runs in another container"));
    }
    let target = i32::try_from(pid).ok().filter(|pid| *pid > 0).ok_or("it is no process id")?;
    kill(Pid::from_raw(target), Signal::SIGHUP).map_err(|errno| format!("SIGHUP to {pid}: {}", errno.desc()))
}

/// Whether /proc/locks has a lock of flock(2) on a file, held by a process (proc(5)).
fn holds_lock(locks: &str, pid: u32, inode: u64) -> bool {
    locks.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (Some("FLOCK"), Some(_), Some("WRITE")) = (fields.next(), fields.next(), fields.next()) else {
            return false;
        };
        let holder = fields.next().and_then(|holder| holder.parse::<u32>().ok());
        let file = fields.next().and_then(|file| file.rsplit(':').next()?.parse::<u64>().ok());
        (holder, file) == (Some(pid), Some(inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_read() {
        let locks = "\
1: POSIX  ADVISORY  WRITE 11 fe:00:42 0 EOF
2: FLOCK  ADVISORY  WRITE 12 fe:00:42 0 EOF
2: -> FLOCK  ADVISORY  WRITE 13 fe:00:42 0 EOF
3: FLOCK  ADVISORY  READ  14 fe:00:42 0 EOF
";
        for (pid, inode, holds) in
            [(12, 42, true), (12, 43, false), (11, 42, false), (13, 42, false), (14, 42, false)]
        {
            assert_eq!(holds_lock(locks, pid, inode), holds, "{pid} {inode}");
        }
    }

    #[test]
    fn a_pid_that_is_somebody_elses_is_not_signalled() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let instance = Instance { dir: dir.path().to_owned(), name: "agent-1".into(), pid: 1 };
        fs::write(instance.pidfile(), "1\n")?;
        assert!(hang_up(&instance).is_err_and(|why| why.contains("another container")));
        Ok(())
    }
}
