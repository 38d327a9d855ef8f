//! Our own programs, as the build of the workspace left them.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// A program's path: this test lies in the `deps` of the same folder.
pub(crate) fn ours(name: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let program = test.parent().and_then(Path::parent).context("a build folder")?.join(name);
    ensure!(program.exists(), "{} is not there: run `./dev build`", program.display());
    Ok(program)
}
