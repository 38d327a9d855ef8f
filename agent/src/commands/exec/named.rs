//! Sensitive names in a line of free text, and their values: `NAME=value`, `name: value`, `--name value`.
//!
//! Pure. Owns where a value begins and whether it goes on. Must not decide what is shown in its place.

use z4j_protocol::Value;

use super::super::Redact;
use crate::redaction::MARKER;

/// Where the value of a sensitive name begins in a word: behind `NAME=` and `NAME:`, or at its end, where the
/// value is what follows (`--NAME`, and `=` behind a NAME of its own).
pub(super) fn value_in(word: &str, before: &str, redact: &Redact) -> Option<usize> {
    let is_sensitive = |name: &str| {
        let name = name.trim_matches(|c: char| !c.is_alphanumeric());
        !name.is_empty() && redacted_under(name, redact)
    };
    let stands_alone = matches!(word, "=" | "==" | ":");
    if stands_alone && is_sensitive(before) || word.starts_with("--") && is_sensitive(word) {
        return Some(word.len());
    }
    if let Some(rest) = word.strip_prefix(['=', ':'])
        && is_sensitive(before)
    {
        return Some(word.len() - rest.len());
    }
    let separators = ['?', '&', ';', ',', '/', '{', '(', '[', '<', '|', '=', ':'];
    let mut ends = word.match_indices(['=', ':']);
    ends.find_map(|(end, separator)| {
        let start = word[..end].rfind(separators).map_or(0, |start| start + 1);
        is_sensitive(&word[start..end]).then_some(end + separator.len())
    })
}

/// The quote that a value begins with and that does not end in it.
pub(super) fn open_quote(value: &str) -> Option<&'static str> {
    let quote = match value.as_bytes().first()? {
        b'"' => "\"",
        b'\'' => "'",
        _ => return None,
    };
    let mut rest = value[1..].chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => _ = rest.next(),
            c if quote.starts_with(c) => return None,
            _ => {}
        }
    }
    Some(quote)
}

/// Whether a value is a scheme of HTTP's, behind which the value comes.
pub(super) fn is_scheme(value: &str) -> bool {
    ["basic", "bearer", "digest", "token"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

fn redacted_under(name: &str, redact: &Redact) -> bool {
    let mut object = Value::object([(name, "-".into())]);
    redact(&mut object);
    object.get(name).and_then(Value::as_str) != Some("-")
}

pub(super) fn redacted(mut value: Value, redact: &Redact) -> String {
    redact(&mut value);
    value.as_str().unwrap_or(MARKER).to_owned()
}
