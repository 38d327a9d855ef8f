//! The end of what a program complained about, without what is secret in it.
//!
//! Owns how free text is redacted: line by line, so that one secret does not hide the reason, and what goes on over
//! several lines. Where a value stands in a line is `named`'s.

use super::super::Redact;
use super::named::{is_scheme, open_quote, redacted, value_in};
use super::output::{Output, STDERR_BYTES};
use crate::redaction::MARKER;
use crate::words::printable;

/// Around keys and certificates (RFC 7468).
const PEM_BEGIN: &str = "-----BEGIN";
const PEM_END: &str = "-----END";

/// What the next lines are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Shown,
    /// The next one is a value, or the rest of one.
    Hidden,
    /// All are, up to one that has this.
    HiddenUntil(&'static str),
}

/// The end of stderr as one line; what a cut may have left half of is left out.
pub(super) fn shown(output: &Output, redact: &Redact) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let whole = if output.stderr_cut {
        text.split_once(['\n', ' ', '\t']).map(|(_, rest)| rest).unwrap_or_default()
    } else {
        &text
    };
    printable(clean(whole, redact).join("\n").as_bytes(), STDERR_BYTES)
}

/// The lines, with a marker in place of each run of those that are hidden.
fn clean(text: &str, redact: &Redact) -> Vec<String> {
    let (mut out, mut next) = (Vec::<String>::new(), Next::Shown);
    for line in text.lines() {
        let ends_pem = line.contains(PEM_END);
        if ends_pem && next == Next::Shown && !line.contains(PEM_BEGIN) {
            // Its beginning was cut off.
            out.clear();
        }
        let is_hidden = next != Next::Shown || ends_pem || line.contains(PEM_BEGIN);
        next = match next {
            Next::HiddenUntil(end) if !line.contains(end) => next,
            _ if is_hidden && (ends_pem || !line.contains(PEM_BEGIN)) => Next::Shown,
            _ if is_hidden => Next::HiddenUntil(PEM_END),
            _ => {
                let (line, next) = clean_line(line, redact);
                out.push(line);
                next
            }
        };
        if is_hidden && out.last().is_none_or(|last| last != MARKER) {
            out.push(MARKER.to_owned());
        }
    }
    out
}

/// A line without the values of sensitive names; nothing of it, where it has a secret that bears no name.
fn clean_line(line: &str, redact: &Redact) -> (String, Next) {
    let whole = redacted(line.into(), redact);
    if whole != line {
        return (whole, Next::Shown);
    }
    let (mut out, mut before, mut at) = (String::with_capacity(line.len()), "", 0);
    for part in line.split_inclusive(char::is_whitespace) {
        let word = part.trim_end();
        let rest = &line[at + word.len()..];
        at += part.len();
        let Some(value_at) = value_in(word, before, redact) else {
            out.push_str(part);
            before = if word.is_empty() { before } else { word };
            continue;
        };
        out.push_str(&word[..value_at]);
        let value = &word[value_at..];
        if value.is_empty() || is_scheme(value) || open_quote(value).is_some() {
            let rest = if open_quote(value).is_some() { value } else { rest.trim() };
            let space = if value.is_empty() { " " } else { "" };
            let next = if rest.is_empty() { Next::Hidden } else { Next::Shown };
            return (out + space + MARKER, open_quote(rest).map_or(next, Next::HiddenUntil));
        }
        out.push_str(MARKER);
        out.push_str(&part[word.len()..]);
        before = word;
    }
    (out, Next::Shown)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::redaction::Redactor;

    fn redact() -> Redact {
        let redactor = Redactor::new(&[], &[], 8_192).unwrap();
        Arc::new(move |value| redactor.redact(value))
    }

    #[test]
    fn a_value_goes_to_its_end() {
        let redact = redact();
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
            ("password  =  hunter2 x", Some("password  = [REDACTED]")),
            ("password\t=\thunter2", Some("password\t= [REDACTED]")),
            ("password =hunter2 x", Some("password =[REDACTED] x")),
            (
                "{\"user\":\"u\",\"password\":\"ab\\\" hunter4\"}",
                Some("{\"user\":\"u\",\"password\":[REDACTED]"),
            ),
            ("user=a|password=hunter5", Some("user=a|password=[REDACTED]")),
            (
                "  \"password\":\n    \"hunter2\"\nit failed",
                Some("  \"password\": [REDACTED]\n[REDACTED]\nit failed"),
            ),
            ("password: \"one\nbelow\" x\nit failed", Some("password: [REDACTED]\n[REDACTED]\nit failed")),
            (
                "no\n-----BEGIN PRIVATE KEY-----\nMIIabc\nMIIxyz\n-----END PRIVATE KEY-----\ngood",
                Some("no\n[REDACTED]\ngood"),
            ),
            ("MIIxyz\nMIIabc==\n-----END PRIVATE KEY-----\nit failed", Some("[REDACTED]\nit failed")),
            ("a\n-----BEGIN X-----\nMIIabc", Some("a\n[REDACTED]")),
            ("tokens left: 3, key not found: a:b", Some("tokens left: 3, key not found: a:b")),
            ("  indented  text", Some("  indented  text")),
        ] {
            let shown = clean(line, &redact).join("\n");
            for secret in ["abc", "hunter", "words", "one'", "xyz", "dXNl", "MII", "below"] {
                assert!(!shown.contains(secret), "{line}: {shown}");
            }
            if let Some(wanted) = wanted {
                assert_eq!(shown, wanted, "{line}");
            }
        }
    }

    #[test]
    fn secrets_go_and_reasons_stay() {
        let redact = redact();
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
