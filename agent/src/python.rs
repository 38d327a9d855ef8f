//! The Python environment that an application runs in: which distributions it has.
//!
//! Owns looking at the `site-packages` of a virtual environment. Must not run Python.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Most entries of a directory that are looked at.
const MAX_ENTRIES: usize = 20_000;

/// The distributions of a virtual environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PythonEnvironment {
    /// Where it is.
    pub(crate) root: PathBuf,
    /// Version by name, names normalised as PyPI does (lower case, `-`).
    pub(crate) distributions: BTreeMap<String, String>,
}

impl PythonEnvironment {
    /// Looks at an environment; `None` if no `site-packages` of it can be read.
    pub(crate) fn read(root: &Path) -> Option<Self> {
        let mut readable = false;
        let mut distributions = BTreeMap::new();
        for library in entries(&root.join("lib"))?.into_iter().filter(|name| name.starts_with("python3")) {
            let Some(names) = entries(&root.join("lib").join(library).join("site-packages")) else {
                continue;
            };
            readable = true;
            distributions.extend(names.iter().filter_map(|name| distribution(name)));
        }
        readable.then(|| Self { root: root.to_owned(), distributions })
    }

    /// The version of a distribution.
    pub(crate) fn version(&self, name: &str) -> Option<&str> {
        self.distributions.get(name).map(String::as_str)
    }

    /// The path of its pip, for a line to paste.
    pub(crate) fn pip(&self) -> PathBuf {
        self.root.join("bin").join("pip")
    }
}

fn entries(dir: &Path) -> Option<Vec<String>> {
    let entries = std::fs::read_dir(dir).ok()?.take(MAX_ENTRIES);
    Some(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// `z4j_celery-1.13.0.dist-info` is version 1.13.0 of z4j-celery (PEP 503, PEP 376).
fn distribution(entry: &str) -> Option<(String, String)> {
    let (name, version) = entry.strip_suffix(".dist-info")?.split_once('-')?;
    let name = name.to_ascii_lowercase().replace(['_', '.'], "-");
    Some((name, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_versions() {
        let pair = |name: &str, version: &str| Some((name.to_owned(), version.to_owned()));
        assert_eq!(distribution("z4j_celery-1.13.0.dist-info"), pair("z4j-celery", "1.13.0"));
        assert_eq!(distribution("Flask-3.0.0.dist-info"), pair("flask", "3.0.0"));
        assert_eq!(distribution("celery"), None);
        assert_eq!(distribution("x.dist-info"), None);
    }

    #[test]
    fn a_directory_without_site_packages_is_no_environment() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        assert_eq!(PythonEnvironment::read(dir.path()), None);
        std::fs::create_dir_all(dir.path().join("lib/python3.11/site-packages/celery-5.4.0.dist-info"))?;
        let read = PythonEnvironment::read(dir.path());
        assert_eq!(read.as_ref().and_then(|read| read.version("celery")), Some("5.4.0"));
        Ok(())
    }
}
