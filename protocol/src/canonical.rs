//! The canonical text of a value: what is signed.
//!
//! Python's `json.dumps(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)` of the
//! parsed value (protocol.md, Signing). It is not RFC 8785, which sorts by UTF-16 and prints numbers as
//! ECMAScript does. Must not know frames.

use std::fmt::Write;

use crate::float;
use crate::scan;
use crate::value::{Object, Value};

/// Room for an event of the usual size, so that its text is not moved while it grows.
const USUAL_BYTES: usize = 512;

/// A value that has no canonical text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// `NaN`, an infinity, or a number that overflows to one.
    #[error("a number is not finite")]
    NotFinite,
    /// A string or key with half of a surrogate pair.
    #[error("a string holds a lone surrogate")]
    LoneSurrogate,
}

impl Value {
    /// The canonical text.
    ///
    /// # Errors
    /// The value holds a number that is not finite or a lone surrogate.
    pub fn to_canonical(&self) -> Result<String, CanonicalError> {
        let mut out = String::with_capacity(USUAL_BYTES);
        write_value(&mut out, self)?;
        Ok(out)
    }
}

/// Appends a value. Recursion is bounded by the parser's depth limit.
pub(crate) fn write_value(out: &mut String, value: &Value) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Integer(number) => {
            let _ = write!(out, "{number}");
        }
        Value::Float(number) if number.is_finite() => float::write_repr(out, *number),
        Value::Float(_) => return Err(CanonicalError::NotFinite),
        Value::String(text) => write_string(out, text),
        Value::LoneSurrogate => return Err(CanonicalError::LoneSurrogate),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, item)?;
            }
            out.push(']');
        }
        Value::Object(object) => write_object(out, object)?,
    }
    Ok(())
}

fn write_object(out: &mut String, object: &Object) -> Result<(), CanonicalError> {
    out.push('{');
    for (index, (key, value)) in object.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(out, key);
        out.push(':');
        write_value(out, value)?;
    }
    out.push('}');
    Ok(())
}

/// Appends a string: only `"`, `\` and characters below 0x20 are escaped.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    loop {
        let plain = scan::plain_length(rest.as_bytes());
        out.push_str(&rest[..plain]);
        let Some(byte) = rest.as_bytes().get(plain) else { break };
        rest = &rest[plain + 1..];
        match *byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0x08 => out.push_str("\\b"),
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            0x0c => out.push_str("\\f"),
            b'\r' => out.push_str("\\r"),
            byte => {
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
    }
    out.push('"');
}
