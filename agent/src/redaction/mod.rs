//! Redaction: what must not leave the machine is replaced before an event reaches the buffer.
//!
//! Owns the walk through an event's `data` and its limits; `keys` and `values` own what is recognised by
//! default, `extra` what the operator adds. The categories and limits are the Python agent's, held by
//! `vectors.json`. Must not log: what it sees is what nobody else should.

mod extra;
mod keys;
#[cfg(test)]
mod tests;
mod values;

use z4j_protocol::{Object, Value};

use extra::{ExtraKeys, ExtraValues};
pub(crate) use extra::{PatternsOf, RedactionError, check_patterns};
use values::ValueMatcher;

/// What stands in place of what was there.
pub(crate) const MARKER: &str = "[REDACTED]";
/// What lies below this many containers becomes a marker.
const MAX_DEPTH: usize = 64;
/// A longer key is no name that anybody chose: what it leads to is hidden.
const MAX_KEY_CHARS: usize = 256;
/// The same where the operator's patterns are matched too.
const MAX_KEY_CHARS_WITH_EXTRAS: usize = 64;

/// Replaces what must not leave the machine.
#[derive(Debug)]
pub(crate) struct Redactor {
    /// Longest string that is kept whole, in bytes.
    string_bytes: usize,
    values: ValueMatcher,
    extra_keys: Option<ExtraKeys>,
    extra_values: Option<ExtraValues>,
}

impl Redactor {
    /// With the operator's patterns beside the fixed ones; a string over `string_bytes` is cut.
    ///
    /// # Errors
    /// A pattern cannot be used.
    pub(crate) fn new(
        extra_key_patterns: &[String],
        extra_value_patterns: &[String],
        string_bytes: usize,
    ) -> Result<Self, RedactionError> {
        Ok(Self {
            string_bytes,
            values: ValueMatcher::new()?,
            extra_keys: ExtraKeys::new(extra_key_patterns)?,
            extra_values: ExtraValues::new(extra_value_patterns)?,
        })
    }

    /// Redacts a value in place. Nothing is allocated where nothing is found.
    pub(crate) fn redact(&self, value: &mut Value) {
        self.walk(value, (0, self.string_bytes), false);
    }

    /// The same, and cuts nothing: for what has bounds of its own.
    pub(crate) fn redact_uncut(&self, value: &mut Value) {
        self.walk(value, (0, usize::MAX), false);
    }

    /// `most`: bytes of a string. `hidden`: a key above says that nothing here may be seen. The structure
    /// stays, its leaves go.
    fn walk(&self, value: &mut Value, (depth, most): (usize, usize), hidden: bool) {
        if depth >= MAX_DEPTH {
            *value = Value::from(MARKER);
            return;
        }
        match value {
            Value::Object(object) => self.walk_members(object, (depth, most), hidden),
            Value::Array(items) => {
                items.iter_mut().for_each(|item| self.walk(item, (depth + 1, most), hidden));
            }
            _ if hidden => *value = Value::from(MARKER),
            Value::String(text) => self.clean(text, most),
            _ => {}
        }
    }

    fn walk_members(&self, object: &mut Object, (depth, most): (usize, usize), hidden: bool) {
        let mut dirty_key = false;
        for (key, value) in object.iter_mut() {
            self.walk(value, (depth + 1, most), hidden || self.is_sensitive_key(key));
            dirty_key = dirty_key || key.len() > most || self.is_sensitive_text(key);
        }
        if dirty_key {
            let members = std::mem::take(object).into_members().into_iter();
            *object = members
                .map(|(mut key, value)| {
                    self.clean(&mut key, most);
                    (key, value)
                })
                .collect();
        }
    }

    /// Truncates first: what is matched is what would be sent.
    fn clean(&self, text: &mut String, most: usize) {
        if text.len() > most {
            *text = truncated(text, most);
        }
        if self.is_sensitive_text(text) {
            MARKER.clone_into(text);
        }
    }

    fn is_sensitive_key(&self, key: &str) -> bool {
        let most = if self.extra_keys.is_some() { MAX_KEY_CHARS_WITH_EXTRAS } else { MAX_KEY_CHARS };
        (key.len() > most && key.chars().nth(most).is_some())
            || keys::is_sensitive(key)
            || self.extra_keys.as_ref().is_some_and(|extra| extra.matches(key))
    }

    fn is_sensitive_text(&self, text: &str) -> bool {
        self.values.matches(text) || self.extra_values.as_ref().is_some_and(|extra| extra.matches(text))
    }
}

/// The part that is kept, and how much is missing. A character that is cut in two becomes U+FFFD.
fn truncated(text: &str, most: usize) -> String {
    let (kept, cut) = text.as_bytes().split_at(most);
    format!("{}[...{} more bytes truncated]", String::from_utf8_lossy(kept), cut.len())
}
