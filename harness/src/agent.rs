//! The agent under test: which program it is, and how it is called.
//!
//! Owns finding it. Must not know what an agent does: harness and agent meet on command lines only.

use std::path::{Path, PathBuf};

/// An agent program.
#[derive(Clone, Debug)]
pub(crate) struct AgentProgram {
    file: PathBuf,
    arguments: Vec<String>,
}

/// Why there is no agent to test.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    #[error("--agent is empty: give a command line such as --agent ./z4j")]
    Empty,
    #[error("--agent has a quote without its end")]
    Quotes,
    #[error("the agent {} is not there: build it (`cargo build -p z4j-agent`) or name one with --agent", .0.display())]
    Missing(PathBuf),
}

impl AgentProgram {
    /// The agent of a command line, or `z4j` beside this program. A name without `/` is looked up in `search`.
    ///
    /// # Errors
    /// There is no such program.
    pub(crate) fn find(command: Option<&str>, beside: &Path, search: &[PathBuf]) -> Result<Self, AgentError> {
        let Some(command) = command else {
            let file = beside.with_file_name("z4j");
            return Self::at(file, Vec::new());
        };
        let mut words = shlex::split(command).ok_or(AgentError::Quotes)?.into_iter();
        let program = PathBuf::from(words.next().ok_or(AgentError::Empty)?);
        let arguments = words.collect();
        if program.components().count() > 1 || program.is_absolute() {
            return Self::at(program, arguments);
        }
        let found = search.iter().map(|folder| folder.join(&program)).find(|file| file.is_file());
        Self::at(found.unwrap_or(program), arguments)
    }

    fn at(file: PathBuf, arguments: Vec<String>) -> Result<Self, AgentError> {
        match file.canonicalize() {
            Ok(file) if file.is_file() => Ok(Self { file, arguments }),
            _ => Err(AgentError::Missing(file)),
        }
    }

    /// The program's file on the real machine.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// The words that start it inside a sandbox, where its folder is on the search path.
    pub(crate) fn words(&self) -> Vec<String> {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        std::iter::once(name).chain(self.arguments.iter().cloned()).collect()
    }
}
