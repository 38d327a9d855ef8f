//! The state directory's files: their modes, the lock, and replacing one.
//!
//! Owns the modes, the directory 0700 and every file as its caller says, and the bound on what is read.
//! Everything lives in one file, replaced by a rename, so that a half-written state cannot be. Must not put
//! what it reads into an error: it is secret.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg, OFlag};

use crate::state::StateError;
use crate::state::document::{Stored, VERSION};
use crate::state::error::failed;

pub(super) const STATE_FILE: &str = "state.json";
const LOCK_FILE: &str = "lock";
/// Largest state file that is read, and so written: room for some 200,000 agents.
const MAX_STATE_BYTES: u64 = 64 << 20;

/// Makes the directory if it is not there, and locks it.
pub(super) fn claim(dir: &Path) -> Result<Flock<File>, StateError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed(dir.to_owned()))?;
    let mode = dir.metadata().map_err(failed(dir.to_owned()))?.permissions().mode();
    if mode & 0o022 != 0 {
        return Err(StateError::Shared(dir.to_owned()));
    }
    let path = dir.join(LOCK_FILE);
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).mode(0o600);
    // A link would make a file of somebody else's choice.
    let file = file.custom_flags(OFlag::O_NOFOLLOW.bits()).open(&path);
    let file = file.map_err(failed(path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::Error::EWOULDBLOCK => StateError::InUse(dir.to_owned()),
        errno => failed(dir.join(LOCK_FILE))(errno.into()),
    })
}

/// The document of a directory; none if it has none yet.
pub(super) fn load(dir: &Path) -> Result<Option<Stored>, StateError> {
    let path = dir.join(STATE_FILE);
    let bytes = match read_bounded(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StateError::Io { path, error }),
    };
    // serde_json's message may quote a value, and the values here are secrets: only the place is told.
    let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| StateError::Broken {
        path: path.clone(),
        reason: format!("not a state file, line {} column {}", error.line(), error.column()),
    })?;
    match stored.version {
        VERSION => Ok(Some(stored)),
        version => {
            Err(StateError::Broken { path, reason: format!("written by another version (layout {version})") })
        }
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(File::open(path)?, MAX_STATE_BYTES), &mut bytes)?;
    Ok(bytes)
}

/// Writes the document.
pub(super) fn save(dir: &Path, stored: &Stored) -> Result<(), StateError> {
    let text = serde_json::to_vec_pretty(stored).map_err(io::Error::from);
    let text = text.map_err(failed(dir.join(STATE_FILE)))?;
    if text.len() as u64 > MAX_STATE_BYTES {
        let error = io::Error::other(format!("more than {MAX_STATE_BYTES} bytes of projects and agents"));
        return Err(failed(dir.join(STATE_FILE))(error));
    }
    replace(dir, STATE_FILE, 0o600, &text)
}

/// Writes a file of the state directory so that readers see the old or the new one.
pub(crate) fn replace(dir: &Path, name: &str, mode: u32, bytes: &[u8]) -> Result<(), StateError> {
    let path = dir.join(name);
    let temporary = dir.join(format!("{name}.new"));
    let write = || {
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        // What cannot be made again must outlive a power cut; the rest may be lost, and syncing takes time.
        if name == STATE_FILE {
            file.sync_all()?;
        }
        std::fs::rename(&temporary, &path)
    };
    write().map_err(failed(path.clone()))
}
