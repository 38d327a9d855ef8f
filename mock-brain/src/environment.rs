//! The process environment, read once at the edge of the binary.
//!
//! Owns which variables there are; nothing below the command line reads them.

use std::ffi::OsString;
use std::fmt;
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
    /// What an agent would connect with: `load` takes it.
    pub agent: AgentVariables,
}

/// The variables of an agent. `Debug` shows neither token nor secret.
#[derive(Clone, Default)]
pub struct AgentVariables {
    /// `Z4J_BRAIN_URL`.
    pub brain_url: Option<String>,
    /// `Z4J_TOKEN`.
    pub token: Option<String>,
    /// `Z4J_HMAC_SECRET`.
    pub hmac_secret: Option<String>,
    /// `Z4J_PROJECT_ID`.
    pub project_id: Option<String>,
    /// `SSL_CERT_FILE`.
    pub cert_file: Option<PathBuf>,
}

impl fmt::Debug for AgentVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { brain_url, project_id, cert_file, .. } = self;
        let mut shown = f.debug_struct("AgentVariables");
        shown.field("brain_url", brain_url).field("project_id", project_id).field("cert_file", cert_file);
        shown.finish_non_exhaustive()
    }
}

impl Environment {
    /// Reads the process environment.
    #[must_use]
    pub fn read() -> Self {
        let path = |name| variable(name).map(PathBuf::from);
        let text = |name| variable(name).and_then(|text| text.into_string().ok());
        Self {
            state_home: path("XDG_STATE_HOME").filter(|path| path.is_absolute()),
            home: path("HOME"),
            log: text("MOCK_BRAIN_LOG"),
            no_color: variable("NO_COLOR").is_some(),
            agent: AgentVariables {
                brain_url: text("Z4J_BRAIN_URL"),
                token: text("Z4J_TOKEN"),
                hmac_secret: text("Z4J_HMAC_SECRET"),
                project_id: text("Z4J_PROJECT_ID"),
                cert_file: path("SSL_CERT_FILE"),
            },
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
