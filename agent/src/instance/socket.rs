//! Unix sockets that only their user may open.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::net::{UnixListener, UnixSocket};

/// Longest path of a socket: `sun_path` holds 108 bytes, the last one zero (unix(7)).
const MAX_PATH_BYTES: usize = 107;
/// How many connections may wait to be accepted.
const BACKLOG: u32 = 128;

/// Whether a socket may have this path.
///
/// # Errors
/// It is too long.
pub(crate) fn check_length(path: &Path) -> io::Result<()> {
    let length = path.as_os_str().as_bytes().len();
    if length <= MAX_PATH_BYTES {
        return Ok(());
    }
    let text = format!(
        "{} is {length} bytes long, and a socket's path may have {MAX_PATH_BYTES}: set Z4J_HOME to a shorter \
         directory, or RuntimeDirectory= in the unit",
        path.display()
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// Listens at a path at which nothing is, for this user alone (0600).
///
/// # Errors
/// The path is too long, taken, or cannot be used.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    check_length(path)?;
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let socket = UnixSocket::new_stream().map_err(named)?;
    socket.bind(path).map_err(named)?;
    // Before it listens: until then nobody can connect, whatever the umask was.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(named)?;
    socket.listen(BACKLOG).map_err(named)
}
