//! The state of the sandbox's files, to tell what a command changed.
//!
//! Modification times are left out: a probe that cleans up after itself still moves those of directories.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::plan::Plan;

/// Kernel file systems, which change by themselves.
const KERNEL: &[&str] = &["/dev", "/proc", "/sys"];

/// How much of a file's content is compared, in bytes; its size always is.
const COMPARED_BYTES: u64 = 1 << 20;

/// Path to state.
pub(crate) type Manifest = BTreeMap<String, FileState>;

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileState {
    pub(crate) kind: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    /// In bytes.
    size: u64,
    /// Of the start of a file's content, or of a link's target.
    digest: u64,
}

/// The state of everything that is the sandbox's own. What cannot be looked at is left out.
pub(crate) fn take(plan: &Plan) -> Manifest {
    let shown: BTreeSet<_> = plan.binds.iter().map(|bind| bind.target.as_path()).collect();
    let mut manifest = Manifest::new();
    let mut waiting = vec![PathBuf::from("/")];
    while let Some(path) = waiting.pop() {
        if shown.contains(path.as_path()) || KERNEL.iter().any(|kernel| path == Path::new(kernel)) {
            continue;
        }
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
    } else if kind.is_file() {
        ("file", start_of(path).unwrap_or_default())
    } else if kind.is_socket() {
        ("socket", Vec::new())
    } else {
        // Opening a FIFO or a device could block.
        ("special file", Vec::new())
    };
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    FileState {
        kind: word.to_owned(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        mode: metadata.mode() & 0o7777,
        size: if kind.is_dir() { 0 } else { metadata.len() },
        digest: hasher.finish(),
    }
}

fn start_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(COMPARED_BYTES).read_to_end(&mut content)?;
    Ok(content)
}
