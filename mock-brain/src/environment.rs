//! The process environment, read once at the edge of the binary.
//!
//! Owns which variables there are; nothing below the command line reads them.

use std::ffi::OsString;
use std::path::PathBuf;

/// What the binary takes from its environment.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `XDG_STATE_HOME`, where it is an absolute path (XDG Base Directory Specification).
    pub state_home: Option<PathBuf>,
    /// `HOME`, unless it is empty.
    pub home: Option<PathBuf>,
    /// `MOCK_BRAIN_LOG`: the log filter.
    pub log: Option<String>,
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
}

impl Environment {
    /// Reads the process environment.
    #[must_use]
    pub fn read() -> Self {
        let path = |name| variable(name).map(PathBuf::from);
        Self {
            state_home: path("XDG_STATE_HOME").filter(|path| path.is_absolute()),
            home: path("HOME"),
            log: variable("MOCK_BRAIN_LOG").and_then(|text| text.into_string().ok()),
            no_color: variable("NO_COLOR").is_some(),
        }
    }

    /// The state directory where none is given: `${XDG_STATE_HOME:-~/.local/state}/mock-brain`.
    #[must_use]
    pub fn state_dir(&self) -> Option<PathBuf> {
        let root = self.state_home.clone().or_else(|| Some(self.home.as_ref()?.join(".local/state")))?;
        Some(root.join("mock-brain"))
    }
}

#[expect(clippy::disallowed_methods, reason = "the environment is read here and nowhere else")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
