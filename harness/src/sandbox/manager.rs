//! What the service manager does right before a command of the service starts: it reads what only it may
//! read, and hands it on.
//!
//! Owns credentials and environment files. Both are read in the machine's view, as root.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use super::env_file;
use super::operate::HostView;
use super::plan::Plan;
use super::service::CREDENTIALS;
use super::wire::Command;
use crate::scenario::{Credential, MaybePath};

/// Largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// Prepares a command.
///
/// # Errors
/// A file that must be there is not, or cannot be read.
pub(super) fn prepare(plan: &Plan, view: &HostView, command: &mut Command) -> io::Result<()> {
    for credential in &command.credentials {
        let loaded = load(plan, view, credential);
        loaded.map_err(|error| about("LoadCredential=", &credential.source, &error))?;
    }
    for MaybePath { path, optional } in &command.environment_files {
        match read(&view.path(path)) {
            Ok(bytes) => command.environment.extend(env_file::parse(&String::from_utf8_lossy(&bytes))),
            Err(error) if *optional && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(about("EnvironmentFile=", path, &error)),
        }
    }
    for name in &command.unset {
        command.environment.remove(name);
    }
    Ok(())
}

fn about(directive: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{directive} {}: {error}", path.display()))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > MAX_BYTES {
        return Err(io::Error::other(format!("larger than {MAX_BYTES} bytes")));
    }
    fs::read(path)
}

/// Copies a credential. One that is there already stays: a look at the machine must find nothing new.
fn load(plan: &Plan, view: &HostView, credential: &Credential) -> io::Result<()> {
    let content = read(&view.path(&credential.source))?;
    let target = view.path(Path::new(CREDENTIALS)).join(&credential.id);
    if fs::read(&target).is_ok_and(|found| found == content) {
        return Ok(());
    }
    // A file of mode 0400 cannot be opened for writing by an owner without privileges.
    match fs::remove_file(&target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let folder = view.path(Path::new(CREDENTIALS));
    let closed = fs::metadata(&folder)?.permissions();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    fs::write(&target, content)?;
    fs::set_permissions(&target, fs::Permissions::from_mode(0o400))?;
    if plan.privileged {
        chown(&target, Some(plan.service.uid), Some(plan.service.gid))?;
    }
    fs::set_permissions(&folder, closed)
}
