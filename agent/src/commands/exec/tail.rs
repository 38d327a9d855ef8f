//! The end of what a program complained about, without what is secret in it.
//!
//! Owns how free text is redacted: line by line, so that one secret does not hide the reason, and `NAME=value`
//! and `name: value` as a key with its value.

use z4j_protocol::Value;

use super::super::Redact;
use super::output::{Output, STDERR_BYTES};
use crate::words::printable;

/// What stands in place of a secret (protocol.md, redaction).
const HIDDEN: &str = "[REDACTED]";

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

/// A line without the values of sensitive names; nothing of it, where it has a secret that bears no name.
fn clean(line: &str, redact: &Redact) -> String {
    let whole = redacted(line.into(), redact);
    if whole != line {
        return whole;
    }
    let (mut out, mut before) = (String::with_capacity(line.len()), "");
    for (at, word) in line.split(' ').enumerate() {
        if at > 0 {
            out.push(' ');
        }
        let value_at = value_in(word, before, redact);
        out.push_str(&word[..value_at.unwrap_or(word.len())]);
        if let Some(value_at) = value_at {
            if is_open(&word[value_at..]) {
                let space = if value_at == word.len() { " " } else { "" };
                return out + space + HIDDEN;
            }
            out.push_str(HIDDEN);
        }
        before = word;
    }
    out
}

/// Where the value of a sensitive name begins in a word: behind `NAME=` and `NAME:`, or at its end, where the
/// value is what follows (`--NAME`, and `=` behind a NAME of its own).
fn value_in(word: &str, before: &str, redact: &Redact) -> Option<usize> {
    let is_sensitive = |name: &str| {
        let name = name.trim_matches(|c: char| !c.is_alphanumeric());
        !name.is_empty() && redacted_under(name, redact)
    };
    if matches!(word, "=" | ":") && is_sensitive(before) || word.starts_with("--") && is_sensitive(word) {
        return Some(word.len());
    }
    let mut ends = word.match_indices(['=', ':']);
    ends.find_map(|(end, separator)| {
        let start =
            word[..end].rfind(['?', '&', ';', ',', '/', '{', '(', '=', ':']).map_or(0, |start| start + 1);
        is_sensitive(&word[start..end]).then_some(end + separator.len())
    })
}

/// Whether a value goes on behind its first word: that is a scheme of HTTP's, or a quote is not closed.
fn is_open(value: &str) -> bool {
    let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
    let is_scheme =
        ["basic", "bearer", "digest", "token"].iter().any(|word| value.eq_ignore_ascii_case(word));
    value.is_empty() || is_scheme || quote.is_some_and(|quote| !value[1..].contains(quote))
}

fn redacted_under(name: &str, redact: &Redact) -> bool {
    let mut object = Value::object([(name, "-".into())]);
    redact(&mut object);
    object.get(name).and_then(Value::as_str) != Some("-")
}

fn redacted(mut value: Value, redact: &Redact) -> String {
    redact(&mut value);
    value.as_str().unwrap_or(HIDDEN).to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::redaction::Redactor;

    #[test]
    fn a_value_goes_to_its_end() {
        let redactor = Redactor::new(&[], &[], 8_192).unwrap();
        let redact: Redact = Arc::new(move |value| redactor.redact(value));
        for (line, wanted) in [
            ("> Authorization: Bearer abcdef0123456789abcdef", None),
            ("Authorization: Basic dXNlcjpwYXNz", Some("Authorization: [REDACTED]")),
            ("< Set-Cookie: a=b; sessionid=xyz", None),
            ("Authorization=Token abcdef now", Some("Authorization=[REDACTED]")),
            ("password=\"two words\" refused", Some("password=[REDACTED]")),
            ("password='one' refused", Some("password=[REDACTED] refused")),
            ("password = hunter2", Some("password = [REDACTED]")),
            ("exec: tool --token abc --verbose", Some("exec: tool --token [REDACTED]")),
            ("tool --token=abc --verbose", Some("tool --token=[REDACTED] --verbose")),
            (
                "GET http://h/p?page=2&token=abc&x=1 failed",
                Some("GET http://h/p?page=2&token=[REDACTED] failed"),
            ),
            ("{\"password\": \"hunter2\", \"user\": \"u\"}", Some("{\"password\": [REDACTED]")),
            ("{\"password\":\"hunter2\"}", Some("{\"password\":[REDACTED]")),
            ("tokens left: 3, key not found: a:b", Some("tokens left: 3, key not found: a:b")),
            ("  indented  text", Some("  indented  text")),
        ] {
            let shown = clean(line, &redact);
            for secret in ["abc", "hunter2", "words", "one'", "xyz", "dXNl"] {
                assert!(!shown.contains(secret), "{line}: {shown}");
            }
            if let Some(wanted) = wanted {
                assert_eq!(shown, wanted, "{line}");
            }
        }
    }

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
            ("api_key: abc123, try again".to_owned(), false, "api_key: [REDACTED]".to_owned()),
            (format!("it failed\nwith {jwt}\nagain"), false, "it failed [REDACTED] again".to_owned()),
            ("half-a-secret and why\nit failed".to_owned(), true, "and why it failed".to_owned()),
            ("half-a-secret".to_owned(), true, String::new()),
        ] {
            let output = Output { stderr: stderr.clone().into_bytes(), stderr_cut: cut, ..Output::default() };
            assert_eq!(shown(&output, &redact), wanted, "{stderr}");
        }
    }
}
