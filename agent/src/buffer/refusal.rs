//! Why a write failed, by the errno that SQLite hides.
//!
//! Owns the question to the file system, and the words for the answer. Must not write into a buffer.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rusqlite::ErrorCode;

use super::{Refused, files};
use crate::paths;
use crate::words::errno_name;

/// How long an answer holds: asking writes.
const FRESH: Duration = Duration::from_secs(1);

/// Finds out why writes fail.
#[derive(Debug, Default)]
pub(super) struct Inquiry {
    last: Option<(Instant, Option<ErrorCode>, Refused)>,
}

impl Inquiry {
    /// Why a write to a buffer failed.
    pub(super) fn ask(&mut self, path: &Path, error: &rusqlite::Error) -> Refused {
        let code = error.sqlite_error_code();
        if let Some((at, known, refused)) = &self.last
            && at.elapsed() < FRESH
            && *known == code
        {
            return refused.clone();
        }
        let refused = find_out(path, error);
        self.last = Some((Instant::now(), code, refused.clone()));
        refused
    }
}

fn find_out(path: &Path, error: &rusqlite::Error) -> Refused {
    let dir = path.parent().unwrap_or(Path::new("/"));
    // A limit of file sizes stops the largest file, and not a small one beside it.
    let largest =
        files::of(path).iter().filter_map(|file| fs::metadata(file).ok()).map(|found| found.len()).max();
    let plain = paths::plain_write(dir, largest.unwrap_or_default());
    if let Some(errno) = plain.err().and_then(|error| error.raw_os_error()) {
        return by_errno(dir, errno);
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => by_errno(dir, nix::libc::ENOSPC),
        Some(ErrorCode::SystemIoFailure) => by_errno(dir, nix::libc::EIO),
        Some(ErrorCode::ReadOnly) => by_errno(dir, nix::libc::EROFS),
        _ => Refused { code: "sqlite".to_owned(), text: format!("{}: {error}", path.display()) },
    }
}

/// A refusal of a directory, with the way out.
pub(super) fn by_errno(dir: &Path, errno: i32) -> Refused {
    let way_out = match errno {
        nix::libc::ENOSPC => "make room there",
        nix::libc::EDQUOT => "raise this user's quota, or make room there",
        nix::libc::EFBIG => "lift the limit of file sizes (LimitFSIZE=infinity)",
        nix::libc::EROFS => "mount it writable",
        nix::libc::EIO => "the disk or its driver fails: look at the kernel's log (dmesg)",
        _ => "z4j doctor says more",
    };
    Refused {
        code: format!("{:?}", Errno::from_raw(errno)),
        text: format!("{} refuses with {}: {way_out}", dir.display(), errno_name(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_errno_and_a_way_out() {
        for (errno, code, way_out) in [
            (nix::libc::ENOSPC, "ENOSPC", "make room"),
            (nix::libc::EDQUOT, "EDQUOT", "quota"),
            (nix::libc::EFBIG, "EFBIG", "LimitFSIZE="),
            (nix::libc::EROFS, "EROFS", "writable"),
            (nix::libc::EIO, "EIO", "dmesg"),
        ] {
            let refused = by_errno(Path::new("/srv/z4j"), errno);
            assert_eq!(refused.code, code);
            assert!(refused.text.contains("/srv/z4j") && refused.text.contains(way_out), "{refused}");
        }
    }
}
