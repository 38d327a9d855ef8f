//! The clamp: a configured buffer path must lie below one of the two roots, whatever links and `..` say.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Most links that are followed in one path (as the kernel does, path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Why a path is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClampError {
    /// It lies elsewhere. Here is where, and where it should.
    Outside {
        /// The path with links and `..` followed.
        resolved: PathBuf,
        /// The roots, likewise.
        roots: Vec<PathBuf>,
    },
    /// Where it lies cannot be found out.
    Unresolved {
        /// The component at which that ended.
        component: PathBuf,
        /// Its errno.
        errno: i32,
    },
}

/// Follows links and `..` as far as the path exists; the rest is appended as it is written.
///
/// # Errors
/// The component that could not be followed, and why: no permission, too many links, or a `..` behind
/// something that does not exist.
pub(crate) fn real_path(path: &Path) -> Result<PathBuf, (PathBuf, io::Error)> {
    let mut todo: Vec<OsString> = Vec::new();
    push_components(&mut todo, path);
    let mut real = PathBuf::from("/");
    let (mut exists, mut links) = (true, 0);
    while let Some(name) = todo.pop() {
        if name == ".." {
            if !exists {
                return Err((real.join(name), errno(nix::libc::ENOENT)));
            }
            real.pop();
            continue;
        }
        let next = real.join(&name);
        if !exists {
            real = next;
            continue;
        }
        match std::fs::symlink_metadata(&next) {
            Ok(found) if found.is_symlink() => {
                links += 1;
                if links > MAX_LINKS {
                    return Err((next, errno(nix::libc::ELOOP)));
                }
                let target = std::fs::read_link(&next).map_err(|error| (next, error))?;
                if target.is_absolute() {
                    real = PathBuf::from("/");
                }
                push_components(&mut todo, &target);
            }
            Ok(_) => real = next,
            Err(error) if is_absent(&error) => {
                exists = false;
                real = next;
            }
            Err(error) => return Err((next, error)),
        }
    }
    Ok(real)
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Pushes the components so that the first one is popped first.
fn push_components(todo: &mut Vec<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => todo.push(name.to_owned()),
            Component::ParentDir => todo.push(OsString::from("..")),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
}

/// Resolves a configured path and holds it against the roots. A relative one is below the first root.
///
/// # Errors
/// It lies outside of them, or cannot be followed.
pub(crate) fn clamp(path: &Path, roots: &[PathBuf]) -> Result<PathBuf, ClampError> {
    let path = match roots.first() {
        Some(root) if path.is_relative() => root.join(path),
        _ => path.to_owned(),
    };
    let resolved = real_path(&path).map_err(|(component, error)| ClampError::Unresolved {
        component,
        errno: error.raw_os_error().unwrap_or(nix::libc::EIO),
    })?;
    let real_roots: Vec<PathBuf> = roots.iter().filter_map(|root| real_path(root).ok()).collect();
    let inside = real_roots.iter().any(|root| resolved.starts_with(root) && resolved != *root);
    if inside {
        return Ok(resolved);
    }
    Err(ClampError::Outside { resolved, roots: roots.to_vec() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;

    /// `home/.z4j` and `tmp/z4j-1` are the roots; links lead in, out, around and nowhere.
    fn tree() -> io::Result<tempfile::TempDir> {
        let dir = tempfile::tempdir()?;
        let at = |path: &str| dir.path().join(path);
        for path in ["home/.z4j/sub", "tmp/z4j-1", "etc", "home/other"] {
            std::fs::create_dir_all(at(path))?;
        }
        std::fs::write(at("etc/passwd"), "x")?;
        symlink("../../etc", at("home/.z4j/out"))?;
        symlink(at("etc"), at("home/.z4j/abs"))?;
        symlink("sub", at("home/.z4j/in"))?;
        symlink("loop", at("home/.z4j/loop"))?;
        symlink("../nowhere/x", at("home/.z4j/dangling"))?;
        symlink(at("home/.z4j"), at("alias"))?;
        Ok(dir)
    }

    fn roots(dir: &Path) -> Vec<PathBuf> {
        vec![dir.join("home/.z4j"), dir.join("tmp/z4j-1")]
    }

    #[test]
    fn decides_by_where_a_path_leads() -> io::Result<()> {
        let dir = tree()?;
        let rows = [
            ("home/.z4j/buffer.sqlite", true),
            ("home/.z4j/new/deep/b.sqlite", true),
            ("home/.z4j/in/b.sqlite", true),
            ("home/.z4j/sub/../b.sqlite", true),
            ("tmp/z4j-1/b.sqlite", true),
            ("alias/b.sqlite", true),
            ("home/.z4j", false),
            ("home/.z4j2/b.sqlite", false),
            ("home/.z4j/out/passwd", false),
            ("home/.z4j/abs/passwd", false),
            ("home/.z4j/../../etc/passwd", false),
            ("home/.z4j/in/../../other/b", false),
            ("home/.z4j/dangling", false),
            ("home/.z4j/new/../b.sqlite", false),
            ("home/.z4j/loop/b", false),
            ("etc/passwd", false),
        ];
        for (path, allowed) in rows {
            let verdict = clamp(&dir.path().join(path), &roots(dir.path()));
            assert_eq!(verdict.is_ok(), allowed, "{path}: {verdict:?}");
        }
        let verdict = clamp(Path::new("b.sqlite"), &roots(dir.path()));
        assert_eq!(verdict, Ok(std::fs::canonicalize(dir.path())?.join("home/.z4j/b.sqlite")));
        assert!(clamp(Path::new("../../etc/passwd"), &roots(dir.path())).is_err());
        Ok(())
    }

    proptest! {
        #[test]
        fn nothing_that_is_accepted_leads_outside(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "..", ".", "home", ".z4j", "out", "abs", "in", "sub", "tmp", "z4j-1", "etc", "alias",
                    "dangling", "loop", "passwd", "new",
                ]),
                1..8,
            ),
            relative in any::<bool>(),
        ) {
            let dir = tree()?;
            let tail: PathBuf = parts.iter().collect();
            let path = if relative { tail } else { dir.path().join(tail) };
            if let Ok(accepted) = clamp(&path, &roots(dir.path())) {
                // The kernel is the judge: make the file, and ask where it is.
                if let Some(parent) = accepted.parent() {
                    let _ = std::fs::create_dir_all(parent);
                }
                let written = if path.is_relative() { dir.path().join("home/.z4j").join(&path) } else { path };
                let _ = std::fs::write(&written, "x");
                let real_dir = std::fs::canonicalize(dir.path())?;
                let inside = |real: &Path| roots(&real_dir).iter().any(|root| real.starts_with(root));
                prop_assert!(inside(&accepted));
                if let Ok(real) = std::fs::canonicalize(&written) {
                    prop_assert!(inside(&real), "{written:?} is {real:?}");
                }
            }
        }
    }
}
