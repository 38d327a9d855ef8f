//! The grammar of faults: `NAME[(key=value, …)] [at POINT] [first N]`.
//!
//! Owns the one parser. A value is a bare word or a quoted text with `\"` and `\\`.

use std::num::NonZeroU32;

use super::catalog::{self, Entry, Kind, join};
use super::{Fault, FaultError, FaultSpec, Http, Point, Ws};

/// Longest fault text.
const MAX_TEXT: usize = 1_024;
/// Longest reason of a close frame (RFC 6455, 5.5: a control frame has up to 125 bytes, two are the code).
const MAX_REASON: usize = 123;
/// Selectors of the full grammar that this brain does not have.
const LATER: [&str; 5] = ["every", "after", "for", "p", "who"];

/// A word with its offset.
#[derive(Clone, Copy)]
struct Word<'t> {
    text: &'t str,
    at: usize,
}

/// A parameter as written.
struct Argument<'t> {
    key: Word<'t>,
    value: String,
    value_at: usize,
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

pub(super) fn parse(text: &str) -> Result<FaultSpec, FaultError> {
    if text.len() > MAX_TEXT {
        return Err(FaultError::at(text, 0, text, format!("longer than {MAX_TEXT} bytes")));
    }
    let mut parser = Parser { text, at: 0 };
    let name = parser.word();
    let entry = catalog::find(name.text).ok_or_else(|| parser.unknown_name(name))?;
    let arguments = parser.arguments()?;
    let fault = parser.fault(entry, name, &arguments)?;
    parser.selectors(FaultSpec { fault, at: entry.points[0], first: None }, entry)
}

impl<'t> Parser<'t> {
    fn error(&self, word: Word<'_>, message: impl Into<String>) -> FaultError {
        FaultError::at(self.text, word.at, word.text, message)
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// The next run of word characters; empty if another character stands there.
    fn word(&mut self) -> Word<'t> {
        self.skip_space();
        let in_word = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '/' | '%');
        let rest = self.rest();
        let text = &rest[..rest.find(|c| !in_word(c)).unwrap_or(rest.len())];
        let word = Word { text, at: self.at };
        self.at += text.len();
        word
    }

    /// What stands here, for a complaint: a word, or else one character.
    fn here(&mut self) -> Word<'t> {
        let word = self.word();
        if !word.text.is_empty() {
            return word;
        }
        let length = self.rest().chars().next().map_or(0, char::len_utf8);
        Word { text: &self.rest()[..length], at: self.at }
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn unknown_name(&self, name: Word<'_>) -> FaultError {
        if name.text.starts_with("dns.") {
            return self.error(name, "name resolution is not the brain's: the harness makes dns faults");
        }
        let near = closest(name.text).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        self.error(name, format!("no such fault{near} (known: {})", catalog::names()))
    }

    fn arguments(&mut self) -> Result<Vec<Argument<'t>>, FaultError> {
        let mut arguments = Vec::new();
        if !self.eat('(') || self.eat(')') {
            return Ok(arguments);
        }
        loop {
            let key = self.word();
            if key.text.is_empty() {
                let here = self.here();
                return Err(self.error(here, "a parameter `key=value` is expected"));
            }
            if !self.eat('=') {
                let here = self.here();
                return Err(self.error(here, format!("`=` is expected after `{}`", key.text)));
            }
            self.skip_space();
            let value_at = self.at;
            arguments.push(Argument { key, value: self.value()?, value_at });
            if self.eat(')') {
                return Ok(arguments);
            }
            if !self.eat(',') {
                let here = self.here();
                return Err(self.error(here, "`,` or `)` is expected"));
            }
        }
    }

    fn value(&mut self) -> Result<String, FaultError> {
        if !self.eat('"') {
            let word = self.word();
            if word.text.is_empty() {
                let here = self.here();
                return Err(self.error(here, "a value is expected: a word, or a text in quotes"));
            }
            return Ok(word.text.to_owned());
        }
        let start = self.at;
        let mut value = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((index, c)) = chars.next() {
            match c {
                '"' => {
                    self.at = start + index + 1;
                    return Ok(value);
                }
                '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
                c => value.push(c),
            }
        }
        let opening = Word { text: "\"", at: start - 1 };
        Err(self.error(opening, "the quoted text has no end"))
    }

    fn fault(&self, entry: &Entry, name: Word<'_>, arguments: &[Argument<'_>]) -> Result<Fault, FaultError> {
        for (index, argument) in arguments.iter().enumerate() {
            if !entry.parameters.iter().any(|parameter| parameter.name == argument.key.text) {
                let known = join(entry.parameters.iter().map(|parameter| parameter.name));
                let known =
                    if known.is_empty() { "it has none".to_owned() } else { format!("known: {known}") };
                let message = format!("{} has no such parameter ({known})", entry.name);
                return Err(self.error(argument.key, message));
            }
            if arguments[..index].iter().any(|earlier| earlier.key.text == argument.key.text) {
                return Err(self.error(argument.key, "given twice"));
            }
        }
        let value = |key| arguments.iter().find(|argument| argument.key.text == key);
        if let Some(missing) = entry.parameters.iter().find(|p| p.required && value(p.name).is_none()) {
            let message = format!("needs `{}` ({}), as in `{}`", missing.name, missing.about, entry.example);
            return Err(self.error(name, message));
        }
        match &entry.kind {
            Kind::Plain(fault) => Ok(fault.clone()),
            Kind::Status => self.status(value("code")),
            Kind::Close => self.close(value("code"), value("reason")),
        }
    }

    fn status(&self, code: Option<&Argument<'_>>) -> Result<Fault, FaultError> {
        let value = code.map_or("", |argument| &argument.value);
        let status = value.parse::<u16>().ok().filter(|code| (200..600).contains(code));
        let status = status.and_then(|code| http::StatusCode::from_u16(code).ok());
        let at = code.map_or(0, |argument| argument.value_at);
        let status = status.ok_or_else(|| self.error(Word { text: value, at }, "a status is 200..=599"))?;
        Ok(Fault::Http(Http::Status(status)))
    }

    fn close(&self, code: Option<&Argument<'_>>, reason: Option<&Argument<'_>>) -> Result<Fault, FaultError> {
        let complain = |argument: &Argument<'_>, message: &str| {
            self.error(Word { text: &argument.value, at: argument.value_at }, message)
        };
        let number = code.and_then(|argument| argument.value.parse::<u16>().ok()).filter(|c| is_sendable(*c));
        let code = match (number, code) {
            (Some(number), _) => number,
            (None, Some(argument)) => {
                return Err(complain(
                    argument,
                    "a close code is 1000..=4999, without 1004, 1005, 1006, 1015",
                ));
            }
            (None, None) => 0,
        };
        match reason {
            Some(argument) if argument.value.len() > MAX_REASON => {
                Err(complain(argument, "a reason has up to 123 bytes (RFC 6455, 5.5)"))
            }
            reason => {
                let reason = reason.map(|argument| argument.value.clone()).unwrap_or_default();
                Ok(Fault::Ws(Ws::Close { code, reason }))
            }
        }
    }

    fn selectors(&mut self, mut spec: FaultSpec, entry: &Entry) -> Result<FaultSpec, FaultError> {
        let (mut at_given, mut first_given) = (false, false);
        loop {
            self.skip_space();
            if self.rest().is_empty() {
                return Ok(spec);
            }
            let selector = self.here();
            match selector.text {
                "at" if !at_given => {
                    spec.at = self.point(entry)?;
                    at_given = true;
                }
                "first" if !first_given => {
                    spec.first = Some(self.count(selector, entry)?);
                    first_given = true;
                }
                "at" | "first" => return Err(self.error(selector, "given twice")),
                later if LATER.contains(&later) => {
                    let message = format!("the selector `{later}` is not available; `at` and `first` are");
                    return Err(self.error(selector, message));
                }
                _ => return Err(self.error(selector, "`at POINT` or `first N` is expected")),
            }
        }
    }

    fn point(&mut self, entry: &Entry) -> Result<Point, FaultError> {
        let word = self.here();
        let point = Point::ALL.into_iter().find(|point| point.as_str() == word.text);
        point.filter(|point| entry.points.contains(point)).ok_or_else(|| {
            let points = join(entry.points.iter().map(|point| point.as_str()));
            self.error(word, format!("{} strikes at: {points}", entry.name))
        })
    }

    fn count(&mut self, selector: Word<'_>, entry: &Entry) -> Result<NonZeroU32, FaultError> {
        if !entry.counted {
            let message = format!("{} has no connections to count: it lasts until it is cleared", entry.name);
            return Err(self.error(selector, message));
        }
        let word = self.here();
        word.text.parse().map_err(|_| self.error(word, "a number of connections, 1 or more, is expected"))
    }
}

/// Close codes that may stand in a close frame (RFC 6455, 7.4).
const fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=4999) && !matches!(code, 1004 | 1005 | 1006 | 1015)
}

/// The known name that is nearest, if it is near.
fn closest(name: &str) -> Option<&'static str> {
    let names = catalog::ENTRIES.iter().map(|entry| (distance(name, entry.name), entry.name));
    names.min().filter(|(distance, _)| *distance <= 3).map(|(_, name)| name)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_round_trip() {
        let cases = [
            ("tls.expired", "tls.expired"),
            ("  tcp.reset  ", "tcp.reset"),
            ("http.status( code = 502 )", "http.status(code=502)"),
            ("tcp.reset at accept", "tcp.reset"),
            ("tcp.reset at upgrade first 2", "tcp.reset at upgrade first 2"),
            ("tcp.reset first 2 at hello", "tcp.reset at hello first 2"),
            ("tls.expired() first 1", "tls.expired first 1"),
            ("ws.close(code=4401)", "ws.close(code=4401)"),
            (
                "ws.close( reason=x ,code = 4401 )at hello-ack",
                "ws.close(code=4401, reason=\"x\") at hello-ack",
            ),
            (
                r#"ws.close(code=1012, reason="a \"b\" \\ c")"#,
                r#"ws.close(code=1012, reason="a \"b\" \\ c")"#,
            ),
        ];
        for (text, canonical) in cases {
            let spec: FaultSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), canonical, "{text}");
            assert_eq!(canonical.parse(), Ok(spec));
        }
    }

    #[test]
    fn every_example_parses_to_its_own_fault() {
        for entry in catalog::ENTRIES {
            let spec: FaultSpec = entry.example.parse().unwrap();
            assert_eq!(spec.name(), entry.name);
        }
    }

    #[test]
    fn errors_show_the_place_and_the_way_out() {
        let cases = [
            ("", 1, "no such fault"),
            ("ws.clse(code=1)", 1, "did you mean ws.close?"),
            ("dns.not-found", 1, "harness"),
            ("tls.expired(x=1)", 13, "it has none"),
            ("ws.close", 1, "needs `code`"),
            ("http.status", 1, "needs `code`"),
            ("http.status(code=101)", 18, "200..=599"),
            ("ws.close(code)", 14, "`=` is expected"),
            ("ws.close(code=4401", 19, "`,` or `)`"),
            ("ws.close(code=99999)", 15, "1000..=4999"),
            ("ws.close(code=1006)", 15, "1006"),
            ("ws.close(code=4401, code=4402)", 21, "twice"),
            ("ws.close(code=4401, why=x)", 21, "known: code, reason"),
            ("ws.close(code=4401, reason=\"x", 28, "no end"),
            ("tls.expired at hello", 16, "strikes at: handshake"),
            ("tcp.reset at", 13, "strikes at: accept, upgrade, hello"),
            ("tcp.reset first 0", 17, "1 or more"),
            ("tcp.reset first", 16, "1 or more"),
            ("tcp.refused first 1", 13, "until it is cleared"),
            ("tcp.reset every 3", 11, "`every` is not available"),
            ("tcp.reset p=0.5", 11, "`p` is not available"),
            ("tcp.reset at hello at hello", 20, "twice"),
            ("tcp.reset, tls.expired", 10, "`at POINT` or `first N`"),
        ];
        for (text, column, part) in cases {
            let error = text.parse::<FaultSpec>().unwrap_err();
            assert_eq!(error.column(), column, "{error}");
            assert!(error.to_string().contains(part), "{error}");
            assert!(!error.to_string().contains('\n'));
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_parses_round_trips(text in "(ws\\.close|tcp\\.reset|tls\\.expired)?[ -~é]{0,40}") {
            if let Ok(spec) = text.parse::<FaultSpec>() {
                prop_assert_eq!(spec.to_string().parse(), Ok(spec));
            }
        }

        #[test]
        fn any_reason_round_trips(reason in ".{0,30}", code in 3000_u16..5000) {
            let spec = FaultSpec { fault: Fault::Ws(Ws::Close { code, reason }), at: Point::Hello, first: None };
            prop_assert_eq!(spec.to_string().parse(), Ok(spec));
        }
    }
}
