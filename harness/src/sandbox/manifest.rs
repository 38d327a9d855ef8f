//! The state of the sandbox's files, to tell what a command changed.
//!
//! Modification times are left out: a probe that cleans up after itself still moves those of directories.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Where a service could leave something.
const WATCHED: &[&str] = &["/etc", "/home", "/root", "/run", "/srv", "/tmp", "/var"];

/// Path to state.
pub(crate) type Manifest = BTreeMap<String, FileState>;

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileState {
    pub(crate) kind: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    /// Of a file's content or a link's target.
    digest: u64,
}

/// The state of everything watched. What cannot be looked at is left out.
pub(crate) fn take() -> Manifest {
    let mut manifest = Manifest::new();
    let mut waiting: Vec<_> = WATCHED.iter().map(Path::new).map(Path::to_owned).collect();
    while let Some(path) = waiting.pop() {
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            let children = std::fs::read_dir(&path).into_iter().flatten().flatten();
            waiting.extend(children.map(|child| child.path()));
        }
        manifest.insert(path.to_string_lossy().into_owned(), state(&path, &metadata));
    }
    manifest
}

fn state(path: &Path, metadata: &std::fs::Metadata) -> FileState {
    let kind = metadata.file_type();
    let (word, content) = if kind.is_dir() {
        ("directory", Vec::new())
    } else if kind.is_symlink() {
        let target = std::fs::read_link(path).unwrap_or_default();
        ("link", target.into_os_string().into_encoded_bytes())
    } else if kind.is_socket() {
        ("socket", Vec::new())
    } else {
        ("file", std::fs::read(path).unwrap_or_default())
    };
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    FileState {
        kind: word.to_owned(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        mode: metadata.mode() & 0o7777,
        digest: hasher.finish(),
    }
}
