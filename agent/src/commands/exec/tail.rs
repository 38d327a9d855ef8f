//! The end of what a program complained about, without what is secret in it.
//!
//! Owns how free text is redacted: line by line, so that one secret does not hide the reason, and `NAME=value`
//! and `name: value` as a key with its value.

use z4j_protocol::Value;

use super::super::Redact;
use super::output::{Output, STDERR_BYTES};
use crate::words::printable;

/// The end of stderr as one line; what a cut may have left half of is left out.
pub(super) fn shown(output: &Output, redact: &Redact) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let whole = if output.stderr_cut {
        text.split_once(['\n', ' ', '\t']).map(|(_, rest)| rest).unwrap_or_default()
    } else {
        &text
    };
    let lines: Vec<String> = whole.lines().map(|line| clean(line, redact)).collect();
    printable(lines.join("\n").as_bytes(), STDERR_BYTES)
}

/// A line whose assignments were looked at one by one, and then as a whole.
fn clean(line: &str, redact: &Redact) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let mut out: Vec<String> = Vec::with_capacity(words.len());
    let mut key: Option<&str> = None;
    for word in words {
        match (key.take(), word.split_once(['=', ':'])) {
            // `token: abc`
            (Some(key), _) if !word.is_empty() => out.push(value_of(key, word, redact)),
            (_, Some((name, ""))) => {
                key = Some(name);
                out.push(word.to_owned());
            }
            (_, Some((name, value))) => {
                let separator = if word.as_bytes().get(name.len()) == Some(&b'=') { '=' } else { ':' };
                out.push(format!("{name}{separator}{}", value_of(name, value, redact)));
            }
            _ => out.push(word.to_owned()),
        }
    }
    let mut line = Value::String(out.join(" "));
    redact(&mut line);
    line.as_str().unwrap_or_default().to_owned()
}

/// What is shown of a value under a key.
fn value_of(key: &str, value: &str, redact: &Redact) -> String {
    let name: String = key.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
    let mut object = Value::object([(name.as_str(), value.into())]);
    redact(&mut object);
    let shown = object.get(&name).and_then(Value::as_str);
    shown.unwrap_or("[REDACTED]").to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::redaction::Redactor;

    #[test]
    fn secrets_go_and_reasons_stay() {
        let redactor = Redactor::new(&[], &[], 8_192).unwrap();
        let redact: Redact = Arc::new(move |value| redactor.redact(value));
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl";
        for (stderr, cut, wanted) in [
            ("no such task\n".to_owned(), false, "no such task".to_owned()),
            (
                "password=hunter2 refused: wrong".to_owned(),
                false,
                "password=[REDACTED] refused: wrong".to_owned(),
            ),
            ("api_key: abc123, try again".to_owned(), false, "api_key: [REDACTED] try again".to_owned()),
            (format!("it failed\nwith {jwt}\nagain"), false, "it failed [REDACTED] again".to_owned()),
            ("half-a-secret and why\nit failed".to_owned(), true, "and why it failed".to_owned()),
            ("half-a-secret".to_owned(), true, String::new()),
        ] {
            let output = Output { stderr: stderr.clone().into_bytes(), stderr_cut: cut, ..Output::default() };
            assert_eq!(shown(&output, &redact), wanted, "{stderr}");
        }
    }
}
