//! Why a stage cannot be put up, or does not carry a step.

use crate::sandbox::{LayoutError, SandboxError};

/// Why a stage cannot be put up, or does not carry a step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    /// This machine cannot show the scenario.
    #[error("{0}")]
    Unavailable(String),
    /// The scenario contradicts itself.
    #[error(transparent)]
    Layout(LayoutError),
    #[error(transparent)]
    Sandbox(SandboxError),
    #[error("the mock brain does not start: {0}")]
    Brain(#[from] mock_brain::StartError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The scenario would prove nothing.
    #[error("void: {0}")]
    Void(String),
}

impl From<SandboxError> for StageError {
    fn from(error: SandboxError) -> Self {
        match error {
            SandboxError::Unavailable(reason) => Self::Unavailable(reason),
            other => Self::Sandbox(other),
        }
    }
}

impl From<LayoutError> for StageError {
    fn from(error: LayoutError) -> Self {
        match error {
            LayoutError::NeedsRoot { .. } => Self::Unavailable(error.to_string()),
            other => Self::Layout(other),
        }
    }
}
