//! Snapshots beside the scenario files, in insta's format: `cargo insta review` works on them.
//!
//! Owns files and comparison. Must not know where the text comes from.

use std::fmt::{self, Write};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use similar::{ChangeTag, TextDiff};

/// What came of holding a text against its snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They are the same.
    Same,
    /// The snapshot was written anew, as asked.
    Updated,
    /// There was none; `NAME.snap.new` waits for review.
    Missing { file: PathBuf, text: String },
    /// They differ; `NAME.snap.new` waits for review.
    Different { file: PathBuf, diff: String },
}

/// One snapshot.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    file: PathBuf,
    source: String,
    expression: String,
}

impl fmt::Display for SnapshotFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.display().fmt(f)
    }
}

impl SnapshotFile {
    /// The snapshot of a scenario's step: `NAME.STEP.snap` beside the scenario file.
    pub(crate) fn new(scenario: &Path, step: &str, expression: &str) -> Self {
        Self {
            file: scenario.with_extension(format!("{step}.snap")),
            source: scenario.display().to_string(),
            expression: expression.to_owned(),
        }
    }

    /// Holds the text against the snapshot, or writes it if asked to update.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub(crate) fn check(&self, text: &str, update: bool) -> io::Result<Verdict> {
        let text = text.trim_end();
        let stored = match fs::read_to_string(&self.file) {
            Ok(stored) => Some(stored),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let expected = stored.as_deref().map(|stored| content(stored).trim_end());
        if expected == Some(text) {
            remove_if_there(&self.pending())?;
            return Ok(Verdict::Same);
        }
        if update {
            fs::write(&self.file, self.render(text))?;
            remove_if_there(&self.pending())?;
            return Ok(Verdict::Updated);
        }
        fs::write(self.pending(), self.render(text))?;
        let file = self.file.clone();
        Ok(match expected {
            None => Verdict::Missing { file, text: text.to_owned() },
            Some(expected) => Verdict::Different { file, diff: diff(expected, text) },
        })
    }

    fn pending(&self) -> PathBuf {
        self.file.with_extension("snap.new")
    }

    fn render(&self, text: &str) -> String {
        // A JSON string is a YAML string.
        let quote = |text: &str| serde_json::Value::from(text).to_string();
        format!(
            "---\nsource: {}\nexpression: {}\n---\n{text}\n",
            quote(&self.source),
            quote(&self.expression)
        )
    }
}

/// What stands below the header.
fn content(stored: &str) -> &str {
    let body = stored.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n"));
    body.map_or(stored, |(_, body)| body)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Lines with `-` (expected) and `+` (seen).
fn diff(expected: &str, seen: &str) -> String {
    let mut out = String::new();
    for change in TextDiff::from_lines(expected, seen).iter_all_changes() {
        let sign = match change.tag() {
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => ' ',
        };
        let _ = writeln!(out, "{sign} {}", change.value().trim_end());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_goes_from_missing_to_same_to_different() {
        let folder = tempfile::tempdir().unwrap();
        let scenario = folder.path().join("expired.toml");
        let snapshot = SnapshotFile::new(&scenario, "1", "z4j doctor --framework \"django\"");
        let pending = folder.path().join("expired.1.snap.new");
        let first = snapshot.check("exit: 0\n---\nall good\n", false).unwrap();
        assert!(matches!(first, Verdict::Missing { .. }));
        assert!(pending.exists());
        assert_eq!(snapshot.check("exit: 0\n---\nall good\n", true).unwrap(), Verdict::Updated);
        assert!(!pending.exists());
        assert_eq!(snapshot.check("exit: 0\n---\nall good", false).unwrap(), Verdict::Same);
        let Verdict::Different { diff, .. } = snapshot.check("exit: 1\n---\nall good", false).unwrap() else {
            panic!("it differs");
        };
        assert_eq!(diff, "- exit: 0\n+ exit: 1\n  ---\n  all good\n");
        assert!(pending.exists());
        assert_eq!(snapshot.check("exit: 0\n---\nall good", false).unwrap(), Verdict::Same);
        assert!(!pending.exists(), "a run that agrees again takes the question back");
    }
}
