//! A complaint about a word in a text that somebody wrote: a fault, a certificate profile.
//!
//! Owns its one line: the text, the place in it, and the way out. Must not know any grammar.

use std::fmt;

use crate::quote::quote;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misplaced {
    what: &'static str,
    text: String,
    column: usize,
    word: String,
    message: String,
}

impl Misplaced {
    /// A complaint about the word that starts at a byte offset of a text; `what` says what the text is.
    pub(crate) fn at(
        what: &'static str,
        text: &str,
        offset: usize,
        word: &str,
        message: impl Into<String>,
    ) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let column = before.chars().count() + 1;
        Self { what, text: text.to_owned(), column, word: word.to_owned(), message: message.into() }
    }

    /// The column, counted in characters from 1.
    pub(crate) const fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, column {}", self.what, quote(&self.text), self.column)?;
        if self.word.is_empty() {
            write!(f, " (the end): {}", self.message)
        } else {
            write!(f, ", at {}: {}", quote(&self.word), self.message)
        }
    }
}

/// The known name that is nearest to a word, if it is near.
pub(crate) fn closest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let near = names.into_iter().map(|name| (distance(word, name), name));
    near.min().filter(|(distance, _)| *distance <= 3).map(|(_, name)| name)
}

/// Levenshtein's edit distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
