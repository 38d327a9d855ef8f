//! A fault text that cannot be used, with the place in it.

use std::fmt;

use super::FaultSpec;
use crate::place::Misplaced;

/// Why a fault cannot be set. Its text is one line that shows the place and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultError(Misplaced);

impl FaultError {
    /// A complaint about the word that starts at a byte offset.
    pub(crate) fn at(text: &str, offset: usize, word: &str, message: impl Into<String>) -> Self {
        Self(Misplaced::at("fault", text, offset, word, message))
    }

    /// A complaint about a well-formed fault as a whole.
    pub(crate) fn of_spec(spec: &FaultSpec, message: &str) -> Self {
        Self::at(&spec.to_string(), 0, spec.name(), message)
    }

    /// The column that the complaint is about, counted in characters from 1.
    #[must_use]
    pub const fn column(&self) -> usize {
        self.0.column()
    }
}

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for FaultError {}
