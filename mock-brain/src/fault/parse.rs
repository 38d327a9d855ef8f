//! The grammar of faults: `NAME[(key=value, …)] [at POINT] [first N | every K | after T] [for N|T] [p=X]
//! [who=…]`.
//!
//! Owns the one parser. A value is a bare word or a quoted text with `\"` and `\\`; a time is a number with
//! `ms`, `s`, `m` or `h`. Selectors may come in any order.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use super::catalog::{self, Entry, Kind, join};
use super::shape::unfit;
use super::{Chance, Fault, FaultError, FaultSpec, Lasts, Point, When, Who, duration};
use crate::place::closest;

/// Longest fault text.
const MAX_TEXT: usize = 1_024;
/// What can stand after the name.
const EXPECTED: &str =
    "`at POINT`, `first N`, `every K`, `after T`, `for N` or a time, `p=X` or `who=…` is expected";

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

/// A fault's parameters, checked.
pub(super) struct Values(Vec<(&'static str, String)>);

impl Values {
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
    }

    pub(super) fn u32(&self, name: &str) -> Option<u32> {
        self.text(name)?.parse().ok()
    }

    pub(super) fn u16(&self, name: &str) -> Option<u16> {
        self.text(name)?.parse().ok()
    }

    /// A time; a bare number is milliseconds.
    pub(super) fn time(&self, name: &str) -> Option<Duration> {
        let text = self.text(name)?;
        duration::parse(&text).or_else(|| Some(Duration::from_millis(text.parse().ok()?)))
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

pub(super) fn parse(text: &str) -> Result<FaultSpec, FaultError> {
    let too_long = || FaultError::at(text, 0, text, format!("longer than {MAX_TEXT} bytes"));
    if text.len() > MAX_TEXT {
        return Err(too_long());
    }
    let mut parser = Parser { text, at: 0 };
    let name = parser.word();
    let entry = catalog::find(name.text).ok_or_else(|| parser.unknown_name(name))?;
    let arguments = parser.arguments()?;
    let fault = parser.fault(entry, name, &arguments)?;
    let spec = parser.selectors(FaultSpec::new(fault, entry.points[0]), entry)?;
    parser.heeded(&spec, entry, &arguments)?;
    // It is told in its own words, with quotes where none were written, and taken again from those.
    if spec.to_string().len() > MAX_TEXT { Err(too_long()) } else { Ok(spec) }
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
        if let Some(owner) = catalog::elsewhere(name.text) {
            return self.error(name, owner);
        }
        let near = closest(name.text, catalog::entries().map(|entry| entry.name));
        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
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
        for argument in arguments {
            let parameter = entry.parameters.iter().find(|p| p.name == argument.key.text);
            if let Some(complaint) = parameter.and_then(|parameter| unfit(parameter, &argument.value)) {
                return Err(self.error(Word { text: &argument.value, at: argument.value_at }, complaint));
            }
        }
        let fault = match &entry.kind {
            Kind::Plain(fault) => Some(fault.clone()),
            Kind::Made(make) => {
                let named = entry.parameters.iter().filter_map(|p| Some((p.name, value(p.name)?)));
                make(&Values(named.map(|(name, argument)| (name, argument.value.clone())).collect()))
            }
        };
        fault.ok_or_else(|| self.error(name, "cannot be made of these parameters"))
    }

    fn selectors(&mut self, mut spec: FaultSpec, entry: &Entry) -> Result<FaultSpec, FaultError> {
        let mut given: Vec<&str> = Vec::new();
        loop {
            self.skip_space();
            if self.rest().is_empty() {
                return self.complete(spec);
            }
            let selector = self.here();
            let key = match selector.text {
                key @ ("at" | "for" | "p" | "who") => key,
                "first" | "every" | "after" => "first",
                _ => return Err(self.error(selector, EXPECTED)),
            };
            if given.contains(&key) {
                let message =
                    if key == "first" { "one of first, every and after may be given" } else { "given twice" };
                return Err(self.error(selector, message));
            }
            given.push(key);
            let timed = matches!(selector.text, "at" | "after" | "for");
            if !entry.counted && !timed {
                return Err(self.error(selector, uncounted(entry)));
            }
            self.selector(selector, &mut spec, entry)?;
        }
    }

    fn selector(
        &mut self,
        selector: Word<'_>,
        spec: &mut FaultSpec,
        entry: &Entry,
    ) -> Result<(), FaultError> {
        match selector.text {
            "at" => (spec.at, spec.number) = self.point(entry)?,
            "first" => spec.when = When::First(self.count("a number of arrivals")?),
            "every" => spec.when = When::Every(self.count("a number of arrivals")?),
            "after" => spec.when = When::After(self.time()?),
            "for" => spec.lasts = Some(self.lasts(entry)?),
            "p" => {
                let (text, word) = self.assigned("p")?;
                let chance = Chance::parse(&text);
                let message = "a probability is above 0 and up to 1, as in p=0.25";
                spec.chance = Some(chance.ok_or_else(|| self.error(word, message))?);
            }
            _ => {
                let (text, word) = self.assigned("who")?;
                let message = "agent:NAME, token:FINGERPRINT (from `agent list`), worker:ID, project:SLUG or address:IP is \
                     expected";
                spec.who = Some(Who::parse(&text).ok_or_else(|| self.error(word, message))?);
            }
        }
        Ok(())
    }

    /// Checks what only the whole can tell.
    fn complete(&self, spec: FaultSpec) -> Result<FaultSpec, FaultError> {
        let whole = Word { text: spec.name(), at: self.text.len() - self.text.trim_start().len() };
        if spec.at == Point::AfterBytes && spec.number.is_none() {
            return Err(self.error(whole, "after how many bytes? as in `at after-bytes 1000`"));
        }
        match &spec.who {
            Some(who) if spec.at < who.known_from() => {
                let known = who.known_from().as_str();
                let message =
                    format!("at {} it is not known {who} yet: only from {known} on", spec.at.as_str());
                Err(self.error(whole, message))
            }
            _ => Ok(spec),
        }
    }

    /// Checks that something comes of each parameter at the fault's point.
    fn heeded(&self, spec: &FaultSpec, entry: &Entry, arguments: &[Argument<'_>]) -> Result<(), FaultError> {
        for argument in arguments {
            let points = entry.parameters.iter().find(|p| p.name == argument.key.text).map(|p| p.only_at);
            let points = points.unwrap_or_default();
            if !points.is_empty() && !points.contains(&spec.at) {
                let way_out: Vec<_> = points.iter().map(|point| format!("`at {}`", point.as_str())).collect();
                let (at, way_out) = (spec.at.as_str(), way_out.join(" or "));
                return Err(
                    self.error(argument.key, format!("nothing comes of it at {at}: it needs {way_out}"))
                );
            }
        }
        Ok(())
    }

    fn point(&mut self, entry: &Entry) -> Result<(Point, Option<NonZeroU64>), FaultError> {
        let word = self.here();
        let name = if word.text == "client-hello" { "handshake" } else { word.text };
        let point = Point::ALL.into_iter().find(|point| point.as_str() == name);
        let point = point.filter(|point| entry.points.contains(point)).ok_or_else(|| {
            let points = join(entry.points.iter().map(|point| point.as_str()));
            self.error(word, format!("{} strikes at: {points}", entry.name))
        })?;
        let before = self.at;
        let number = self.word();
        if number.text.is_empty() || !number.text.bytes().all(|byte| byte.is_ascii_digit()) {
            self.at = before;
            return Ok((point, None));
        }
        if !point.is_numbered() {
            return Err(self.error(number, format!("there is no number at {}", point.as_str())));
        }
        let parsed = number.text.parse().map_err(|_| self.error(number, "a number from 1 on is expected"))?;
        Ok((point, Some(parsed)))
    }

    fn count(&mut self, what: &str) -> Result<NonZeroU32, FaultError> {
        let word = self.here();
        word.text.parse().map_err(|_| self.error(word, format!("{what}, 1 or more, is expected")))
    }

    fn time(&mut self) -> Result<Duration, FaultError> {
        let word = self.here();
        duration::parse(word.text)
            .ok_or_else(|| self.error(word, "a time is expected, such as 500ms, 10s or 2m"))
    }

    fn lasts(&mut self, entry: &Entry) -> Result<Lasts, FaultError> {
        let before = self.at;
        let word = self.here();
        if let Ok(count) = word.text.parse() {
            let times = Lasts::Times(count);
            return if entry.counted { Ok(times) } else { Err(self.error(word, uncounted(entry))) };
        }
        self.at = before;
        let message = "a number of strikes or a time, above 0, is expected, such as 3 or 10s";
        let time = duration::parse(self.here().text).filter(|time| !time.is_zero());
        time.map(Lasts::Time).ok_or_else(|| self.error(word, message))
    }

    /// The value after `key=`, and the place of it.
    fn assigned(&mut self, key: &str) -> Result<(String, Word<'t>), FaultError> {
        if !self.eat('=') {
            let here = self.here();
            return Err(self.error(here, format!("`=` is expected after `{key}`")));
        }
        self.skip_space();
        let at = self.at;
        let value = self.value()?;
        Ok((value, Word { text: self.text.get(at..self.at).unwrap_or_default(), at }))
    }
}

fn uncounted(entry: &Entry) -> String {
    format!("{} has no arrivals to count: it lasts until it is cleared, or `for` a time", entry.name)
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
