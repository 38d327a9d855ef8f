//! What a sandbox is to be, as data that travels to the process which makes it.
//!
//! Must not decide anything: `layout` and `service` do, `mounts` carries out.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A user and group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Ids {
    pub(crate) const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// The whole plan. Paths are absolute inside the sandbox, except `root` and a bind's `source`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// An empty directory of the real machine that becomes `/`.
    pub(crate) root: PathBuf,
    /// Whether real root makes it, so that files get their true owners.
    pub(crate) privileged: bool,
    /// Who runs the steps.
    pub(crate) service: Ids,
    pub(crate) entries: Vec<Entry>,
    pub(crate) binds: Vec<Bind>,
    /// What the machine has mounted: each as soon as its directory is made, so that entries can lie below.
    pub(crate) host_mounts: Vec<Mount>,
    /// What systemd mounts for the service: in this order, after entries and binds.
    pub(crate) mounts: Vec<Mount>,
    /// Targets of mounts that are left out if they are not there (`-` before a path).
    pub(crate) optional: Vec<PathBuf>,
    /// What the Ethernet interface has beside its own.
    pub(crate) addresses: Vec<IpAddr>,
    /// Where the brain listens.
    pub(crate) brain: SocketAddr,
    /// Where the resolver listens.
    pub(crate) resolver: SocketAddr,
    /// Whether the service manager listens to what the service says of itself (`Type=notify`).
    pub(crate) notify: bool,
}

impl Plan {
    /// The mode that a file gets. Without real root every file belongs to the one user there is; what is not
    /// the service's own then gets the rights of "others" for its owner too, so that the service may do with
    /// it just what it could.
    pub(crate) fn shown_mode(&self, owner: Ids, mode: u32) -> u32 {
        if self.privileged || owner == self.service {
            return mode;
        }
        let others = mode & 0o007;
        (mode & 0o7000) | others << 6 | others << 3 | others
    }

    /// Where owner and mode are stand-ins: path, owner, and true and shown mode.
    pub(crate) fn stand_ins(&self) -> impl Iterator<Item = (&Path, Ids, u32, u32)> {
        let foreign = move |entry: &&Entry| !self.privileged && entry.owner != self.service;
        self.entries.iter().filter(foreign).filter_map(|entry| match entry.kind {
            EntryKind::Directory { mode } | EntryKind::File { mode, .. } => {
                Some((entry.path.as_path(), entry.owner, mode, self.shown_mode(entry.owner, mode)))
            }
            EntryKind::Link { .. } => None,
        })
    }
}

/// Something to make in the file system. Parents come first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) owner: Ids,
    pub(crate) kind: EntryKind,
}

impl Entry {
    pub(crate) fn directory(path: impl Into<PathBuf>, mode: u32, owner: Ids) -> Self {
        Self { path: path.into(), owner, kind: EntryKind::Directory { mode } }
    }

    /// A file of root's that everybody may read.
    pub(crate) fn file(path: impl Into<PathBuf>, content: String) -> Self {
        Self { path: path.into(), owner: Ids::ROOT, kind: EntryKind::File { mode: 0o644, content } }
    }
}

/// What to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum EntryKind {
    Directory { mode: u32 },
    File { mode: u32, content: String },
    Link { target: PathBuf },
}

/// A file or directory of the real machine, shown read-only.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Bind {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mount {
    /// An empty tmpfs.
    Tmpfs { target: PathBuf, mode: u32, bytes: Option<u64>, read_only: bool },
    /// A directory of the sandbox over another one.
    Over { source: PathBuf, target: PathBuf, read_only: bool },
    /// A path bound on itself: a writable hole in what becomes read-only afterwards.
    Hole { target: PathBuf },
    /// A path, or the root with all that is mounted on it except /dev, /proc and holes, becomes read-only.
    ReadOnly { target: PathBuf },
}

impl Mount {
    /// Whether nobody may write to its target.
    pub(crate) const fn closes(&self) -> bool {
        matches!(
            self,
            Self::Tmpfs { read_only: true, .. } | Self::Over { read_only: true, .. } | Self::ReadOnly { .. }
        )
    }

    pub(crate) fn target(&self) -> &Path {
        match self {
            Self::Tmpfs { target, .. }
            | Self::Over { target, .. }
            | Self::Hole { target }
            | Self::ReadOnly { target } => target,
        }
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target().display();
        match self {
            Self::Tmpfs { .. } => write!(f, "mount a tmpfs on {target}"),
            Self::Over { source, .. } => write!(f, "mount {} over {target}", source.display()),
            Self::Hole { .. } => write!(f, "keep {target} writable"),
            Self::ReadOnly { .. } => write!(f, "make {target} read-only"),
        }
    }
}
