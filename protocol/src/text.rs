//! Canonical text that is kept as text: what a buffer stores, and what is signed without being parsed again.
//!
//! Owns the type that says "this is canonical". Must not parse: text comes from a [`Value`], or from where
//! this crate's text was kept.

use serde::Serialize;

use crate::canonical::CanonicalError;
use crate::value::Value;

/// The canonical JSON text of one value (protocol.md, Signing).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalText(String);

impl CanonicalText {
    /// The text of a value.
    ///
    /// # Errors
    /// The value holds a number that is not finite or a lone surrogate.
    pub fn of(value: &Value) -> Result<Self, CanonicalError> {
        value.to_canonical().map(Self)
    }

    /// The text of anything serde can write as JSON.
    ///
    /// # Errors
    /// The type cannot be written as JSON.
    pub fn from_serialize<T: Serialize>(source: &T) -> Result<Self, serde_json::Error> {
        let value = Value::from_serialize(source)?;
        Self::of(&value).map_err(serde::ser::Error::custom)
    }

    /// Text that this crate wrote and somebody kept. Nothing is checked: other text makes frames that do not
    /// verify.
    #[must_use]
    pub const fn kept(text: String) -> Self {
        Self(text)
    }

    /// The payload of an `event_batch` whose events are canonical texts.
    #[must_use]
    pub fn event_batch<'a>(events: impl IntoIterator<Item = &'a str>) -> Self {
        let mut out = String::from("{\"events\":[");
        for (index, event) in events.into_iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            out.push_str(event);
        }
        out.push_str("]}");
        Self(out)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its length in bytes as it stands in a string inside JSON: quotes and backslashes take a byte more, and
    /// characters that would take more than that are escaped in a canonical text already.
    #[must_use]
    pub fn quoted_len(&self) -> usize {
        self.0.len() + self.0.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count()
    }

    /// The text, to keep.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}
