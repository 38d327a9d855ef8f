//! A fault text that cannot be used, with the place in it.

use std::fmt;

use super::FaultSpec;
use crate::quote::quote;

/// Why a fault cannot be set. Its text is one line that shows the place and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultError {
    text: String,
    column: usize,
    word: String,
    message: String,
}

impl FaultError {
    /// A complaint about the word that starts at a byte offset.
    pub(crate) fn at(text: &str, offset: usize, word: &str, message: impl Into<String>) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        Self {
            text: text.to_owned(),
            column: before.chars().count() + 1,
            word: word.to_owned(),
            message: message.into(),
        }
    }

    /// A complaint about a well-formed fault as a whole.
    pub(crate) fn of_spec(spec: &FaultSpec, message: &str) -> Self {
        Self::at(&spec.to_string(), 0, spec.name(), message)
    }

    /// The column that the complaint is about, counted in characters from 1.
    #[must_use]
    pub const fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fault {}, column {}", quote(&self.text), self.column)?;
        if self.word.is_empty() {
            write!(f, " (the end): {}", self.message)
        } else {
            write!(f, ", at {}: {}", quote(&self.word), self.message)
        }
    }
}

impl std::error::Error for FaultError {}
