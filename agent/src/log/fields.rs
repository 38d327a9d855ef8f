//! The fields of an event as JSON values, those that are named like a secret masked.

use std::fmt::Debug;

use serde_json::Value;
use tracing::field::{Field, Visit};

/// What a masked value is replaced by.
const MASK: &str = "***";
/// Longest text of a field or a message, in characters.
const MAX_CHARS: usize = 8192;
/// A field with one of these in its name holds a secret …
const SECRET_WORDS: [&str; 9] = [
    "secret",
    "password",
    "token",
    "api_key",
    "private_key",
    "passphrase",
    "credential",
    "authorization",
    "cookie",
];
/// … unless it ends like a number about one.
const HARMLESS_ENDS: [&str; 5] = ["_count", "_total", "_ttl", "_seconds", "_at"];

/// The message and the other fields, in the order of the event.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) message: String,
    pub(super) rest: Vec<(&'static str, Value)>,
}

/// Whether a field's value must not be shown.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
        && !HARMLESS_ENDS.iter().any(|end| name.ends_with(end))
}

fn cut(text: String) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            return;
        }
        let value = if is_secret(field.name()) { Value::from(MASK) } else { value };
        self.rest.push((field.name(), value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, Value::from(cut(format!("{value:?}"))));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::from(cut(value.to_owned())));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::from(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_a_secret() {
        for (name, secret) in [
            ("token", true),
            ("delivery_claim_Token", true),
            ("api_key_id", true),
            ("token_ttl", false),
            ("tokens_total", false),
            ("password_at", false),
            ("key", false),
        ] {
            assert_eq!(is_secret(name), secret, "{name}");
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(cut("ü".repeat(MAX_CHARS)).chars().count(), MAX_CHARS);
        assert_eq!(cut("ü".repeat(MAX_CHARS + 9)).chars().count(), MAX_CHARS + 1);
    }
}
