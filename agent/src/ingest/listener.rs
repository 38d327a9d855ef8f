//! The ingest socket in the file system.
//!
//! Owns how its name is taken and given back. A socket that nobody answers on is replaced if it is ours; what
//! answers, belongs to somebody else or is no socket is never touched. Must not read from a connection.

use std::fs::{DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use nix::unistd::Uid;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::words::errno_text;

/// Longest path of a socket: `sockaddr_un` has 108 bytes, the last one is zero (unix(7)).
const MAX_PATH_BYTES: usize = 107;
/// How long a socket that exists is asked whether anybody answers.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long another agent may take between its bind(2) and its listen(2).
const LISTENS_SOON: Duration = Duration::from_millis(100);

/// Why there is no ingest socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IngestError {
    /// The kernel cannot name it.
    #[error(
        "{}: the path has {length} bytes, and a socket's path has at most {MAX_PATH_BYTES}: choose a shorter one with --ingest PATH",
        path.display()
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// How long it is.
        length: usize,
    },
    /// Another agent answers there.
    #[error("{}: another agent takes events there: stop it, or choose another path with --ingest PATH", path.display())]
    Live {
        /// The path.
        path: PathBuf,
    },
    /// It is no socket of ours.
    #[error("{}: it is {what}, which is left alone: choose another path with --ingest PATH", path.display())]
    Foreign {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// There is no directory for it.
    #[error("{}: there is no directory {}: make it, or choose another path with --ingest PATH", path.display(), dir.display())]
    NoDirectory {
        /// The path.
        path: PathBuf,
        /// What is missing.
        dir: PathBuf,
    },
    /// The kernel said no.
    #[error("{}: {}", path.display(), errno_text(error))]
    Io {
        /// The path.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// A socket that takes events. Its name goes with it, unless somebody else has taken it.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// Whose the directory is.
    keeper: Option<u32>,
}

/// Takes a path. Its directory is made if only that is missing.
///
/// # Errors
/// The path cannot be used.
pub(crate) async fn bind(path: &Path) -> Result<Listener, IngestError> {
    let length = path.as_os_str().as_bytes().len();
    if length > MAX_PATH_BYTES {
        return Err(IngestError::TooLong { path: path.to_owned(), length });
    }
    let failed = |error| IngestError::Io { path: path.to_owned(), error };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(IngestError::NoDirectory { path: path.to_owned(), dir: dir.to_owned() });
        }
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    remove_if_dead(path, dir).await?;
    let socket = bind_closed(path).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => IngestError::Live { path: path.to_owned() },
        _ => failed(error),
    })?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
    let metadata = path.symlink_metadata().map_err(failed)?;
    let identity = (metadata.dev(), metadata.ino());
    Ok(Listener { socket, path: path.to_owned(), identity, keeper: owner_of(dir) })
}

/// Binds with nothing for others at any moment: bind(2) gives what the umask leaves.
fn bind_closed(path: &Path) -> io::Result<UnixListener> {
    let before = umask(Mode::S_IRWXG | Mode::S_IRWXO);
    let socket = UnixListener::bind(path);
    umask(before);
    socket
}

fn owner_of(dir: &Path) -> Option<u32> {
    dir.metadata().ok().map(|found| found.uid())
}

async fn remove_if_dead(path: &Path, dir: &Path) -> Result<(), IngestError> {
    let path_owned = || path.to_owned();
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(IngestError::Io { path: path_owned(), error }),
    };
    if !metadata.file_type().is_socket() {
        return Err(IngestError::Foreign { path: path_owned(), what: "no socket" });
    }
    if metadata.uid() != Uid::effective().as_raw() {
        return Err(IngestError::Foreign { path: path_owned(), what: "another user's socket" });
    }
    // One that is bound and does not listen yet looks dead for a moment.
    for pause in [LISTENS_SOON, Duration::ZERO] {
        match timeout(PATIENCE, UnixStream::connect(path)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => sleep(pause).await,
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            _ => return Err(IngestError::Live { path: path_owned() }),
        }
    }
    match remove_that(path, dir, &metadata) {
        Ok(true) => Ok(()),
        Ok(false) => Err(IngestError::Live { path: path_owned() }),
        Err(error) => Err(IngestError::Io { path: path_owned(), error }),
    }
}

/// Removes a socket, and no other that took its name meanwhile: two may find the same one dead, and the first
/// of them listens there already. It is moved aside to be looked at, and put back if it is another.
fn remove_that(path: &Path, dir: &Path, dead: &Metadata) -> io::Result<bool> {
    let aside = dir.join(format!(".z4j-{}", Uuid::new_v4().simple()));
    match std::fs::rename(path, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        moved => moved?,
    }
    // The inode's number may be that of the dead one again, but then it is younger.
    let which = |found: &Metadata| (found.dev(), found.ino(), found.mtime(), found.mtime_nsec());
    let is_dead = which(&aside.symlink_metadata()?) == which(dead);
    if !is_dead {
        let _ = std::fs::hard_link(&aside, path);
    }
    std::fs::remove_file(&aside)?;
    Ok(is_dead)
}

impl Listener {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the name again. A directory that is somebody else's by now is not walked into.
    pub(super) async fn again(&self) -> Result<Self, IngestError> {
        let keeper = self.path.parent().and_then(owner_of);
        if keeper.is_some() && keeper != self.keeper {
            return Err(IngestError::Foreign {
                path: self.path.clone(),
                what: "in another user's directory now",
            });
        }
        bind(&self.path).await
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.socket.accept().await.map(|(stream, _)| stream)
    }

    /// Whether the name is gone: whoever clears a temporary directory takes sockets too.
    pub(super) fn is_unlinked(&self) -> bool {
        matches!(
            self.path.symlink_metadata(),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        )
    }

    fn is_ours(&self) -> bool {
        self.path.symlink_metadata().is_ok_and(|there| (there.dev(), there.ino()) == self.identity)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.is_ours() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
