//! What is mounted where, as /proc/self/mountinfo tells it (proc_pid_mountinfo(5)).
//!
//! Owns reading that file and the lookup by path. Must not say what a mount means for anybody.

use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest table that is read, in bytes.
const MAX_TABLE_BYTES: u64 = 4 << 20;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Which directory of the file system is mounted.
    pub(crate) root: String,
    /// Where.
    pub(crate) point: PathBuf,
    /// Whether this mount is read-only.
    pub(crate) read_only: bool,
    /// Whether the file system is read-only as a whole.
    pub(crate) superblock_read_only: bool,
    /// Its type: `ext4`, `tmpfs`, …
    pub(crate) fs_type: String,
}

/// Every mount, in the order of the kernel: a later one hides an earlier one at the same point.
#[derive(Clone, Debug, Default)]
pub(crate) struct MountTable(Vec<Mount>);

impl MountTable {
    /// Reads the table; `None` if it cannot be read (`ProcSubset=`, a masked /proc).
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let mut text = String::new();
        std::fs::File::open(path).ok()?.take(MAX_TABLE_BYTES).read_to_string(&mut text).ok()?;
        Some(Self::parse(&text))
    }

    /// Reads the table's text; lines of another form are left out.
    pub(crate) fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(parse_line).collect())
    }

    /// The mount that a resolved path lies on.
    pub(crate) fn of(&self, path: &Path) -> Option<&Mount> {
        let mut found: Option<&Mount> = None;
        for mount in self.0.iter().filter(|mount| path.starts_with(&mount.point)) {
            let depth = |mount: &Mount| mount.point.components().count();
            if found.is_none_or(|best| depth(mount) >= depth(best)) {
                found = Some(mount);
            }
        }
        found
    }
}

fn parse_line(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, point, options) = (left.next()?, left.next()?, left.next()?);
    let mut right = right.split(' ');
    let (fs_type, super_options) = (right.next()?, right.nth(1).unwrap_or_default());
    let read_only = |options: &str| options.split(',').any(|option| option == "ro");
    Some(Mount {
        root: unescape(root),
        point: PathBuf::from(unescape(point)),
        read_only: read_only(options),
        superblock_read_only: read_only(super_options),
        fs_type: fs_type.to_owned(),
    })
}

/// The kernel writes blank, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = text.to_owned();
    for (octal, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        out = out.replace(octal, plain);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
60 27 0:30 /systemd/inaccessible/dir /home ro,nosuid shared:1 - tmpfs tmpfs rw,size=4k
61 27 0:31 / /mnt/a\\040b rw - tmpfs none ro
62 27 254:0 / /mnt ro - ext4 /dev/vda rw
";

    #[test]
    fn finds_the_deepest_mount() {
        let table = MountTable::parse(TABLE);
        let of = |path: &str| table.of(Path::new(path)).map(|mount| mount.point.display().to_string());
        assert_eq!(of("/var/www").as_deref(), Some("/"));
        assert_eq!(of("/home/app/.z4j").as_deref(), Some("/home"));
        assert_eq!(of("/mnt/a b/c").as_deref(), Some("/mnt/a b"));
        assert_eq!(of("/mnt/x").as_deref(), Some("/mnt"));
        assert_eq!(of("/homes").as_deref(), Some("/"));
    }

    #[test]
    fn reads_flags_of_mount_and_superblock() {
        let table = MountTable::parse(TABLE);
        let mount = table.of(Path::new("/home")).cloned();
        assert!(mount.is_some_and(|mount| mount.read_only && !mount.superblock_read_only));
        let mount = table.of(Path::new("/mnt/a b")).cloned();
        assert!(mount.is_some_and(|mount| !mount.read_only && mount.superblock_read_only));
    }
}
