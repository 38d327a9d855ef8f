//! A directory that may hold the agent's files: made if it is missing, trusted only under the rules, tried
//! for real.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Cause, Owner, Refusal, first_unsearchable, trial};
use crate::environment::Environment;

/// Bits that let others write.
const OTHERS_WRITE: u32 = 0o022;
/// Bits that let others do anything.
const OTHERS_ANY: u32 = 0o077;

/// How far a directory is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The operator named it or it lies in a home directory: ours, not writable by others. Links are
    /// followed (`/var/lib/NAME` of a dynamic user is one).
    Home,
    /// In a directory that everybody may write: a real directory, ours, closed to others.
    Temporary,
}

/// A directory that serves.
#[derive(Debug)]
pub(crate) struct OpenDirectory {
    /// Its path as it was wanted.
    pub(crate) path: PathBuf,
    /// Directories that had to be made for it.
    created: Created,
}

impl OpenDirectory {
    /// Leaves in place what was made, durably: what lies in a directory is as safe as its name.
    pub(crate) fn keep(mut self) -> PathBuf {
        for parent in self.created.0.drain(..).filter_map(|dir| dir.parent().map(Path::to_owned)) {
            // Some file systems cannot sync directories.
            let _ = fs::File::open(parent).and_then(|parent| parent.sync_all());
        }
        std::mem::take(&mut self.path)
    }
}

/// Directories that were made; removed again when dropped, the deepest first.
#[derive(Debug, Default)]
struct Created(Vec<PathBuf>);

impl Drop for Created {
    fn drop(&mut self) {
        for dir in self.0.iter().rev() {
            // One that is no longer empty is somebody's.
            let _ = fs::remove_dir(dir);
        }
    }
}

/// Whether a directory exists and is trusted; nothing is made, and nothing tried.
pub(super) fn is_trusted(dir: &Path, trust: Trust, uid: u32) -> bool {
    if trust == Trust::Temporary && fs::symlink_metadata(dir).is_ok_and(|found| found.is_symlink()) {
        return false;
    }
    fs::canonicalize(dir).is_ok_and(|real| check_owner(dir, &real, trust, uid).is_ok())
}

/// Opens a directory, making it (0700) where it is missing.
///
/// # Errors
/// The first thing that stands against it.
pub(crate) fn open_directory(
    wanted: &Path,
    trust: Trust,
    environment: &Environment,
) -> Result<OpenDirectory, Refusal> {
    let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    if trust == Trust::Temporary && is_link(wanted) {
        return Err(Refusal::new(wanted, wanted, Cause::Link));
    }
    let created = create(wanted)?;
    let real = fs::canonicalize(wanted).map_err(|error| refused(wanted, wanted, &error))?;
    check_owner(wanted, &real, trust, environment.account.uid)?;
    trial(&real).map_err(|refusal| Refusal { wanted: wanted.to_owned(), ..refusal })?;
    Ok(OpenDirectory { path: wanted.to_owned(), created })
}

fn refused(wanted: &Path, component: &Path, error: &io::Error) -> Refusal {
    Refusal::new(wanted, component, Cause::Errno(error.raw_os_error().unwrap_or(nix::libc::EIO)))
}

fn create(wanted: &Path) -> Result<Created, Refusal> {
    let mut missing = Vec::new();
    for dir in wanted.ancestors() {
        match fs::metadata(dir) {
            Ok(found) if found.is_dir() => break,
            Ok(_) => return Err(Refusal::new(wanted, dir, Cause::NotADirectory)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(dir),
            // A file stands above: the loop will come to it.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => missing.push(dir),
            Err(error) => {
                let component = first_unsearchable(dir).unwrap_or_else(|| dir.to_owned());
                return Err(refused(wanted, &component, &error));
            }
        }
    }
    let mut created = Created::default();
    for dir in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => {
                created.0.push(dir.to_owned());
                // The umask may have taken from the owner too.
                let mode = fs::Permissions::from_mode(0o700);
                fs::set_permissions(dir, mode).map_err(|error| refused(wanted, dir, &error))?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            // What exists without leading anywhere is a dangling link; its parent is not to blame.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Refusal::new(wanted, dir, Cause::Link));
            }
            Err(error) => return Err(refused(wanted, dir.parent().unwrap_or(dir), &error)),
        }
    }
    Ok(created)
}

fn check_owner(wanted: &Path, real: &Path, trust: Trust, uid: u32) -> Result<(), Refusal> {
    let found = fs::symlink_metadata(real).map_err(|error| refused(wanted, real, &error))?;
    let closed = match trust {
        Trust::Home => OTHERS_WRITE,
        Trust::Temporary => OTHERS_ANY,
    };
    let owner = Owner::from(&found);
    let cause = if !found.is_dir() {
        Cause::NotADirectory
    } else if owner.uid != uid {
        Cause::ForeignOwner
    } else if owner.mode & closed != 0 {
        Cause::OpenToOthers
    } else {
        return Ok(());
    };
    Err(Refusal { owner: Some(owner), ..Refusal::new(wanted, real, cause) })
}
