//! JSON text → [`Value`], with the semantics of Python's `json.loads`.
//!
//! Owns the grammar and its bounds. It must not recurse (hostile nesting must not reach the stack's end) and
//! must not judge what can be signed: `NaN`, `Infinity` and lone surrogates parse here, as they do there,
//! and are refused by `canonical`.

use smol_str::SmolStr;

use crate::integer::Integer;
use crate::scan;
use crate::value::{Object, Value};

/// Deepest nesting of arrays and objects that is accepted (protocol.md asks for at least 500).
pub const MAX_DEPTH: usize = 900;

/// Longest integer, in digits: Python's `sys.set_int_max_str_digits` default.
pub const MAX_INTEGER_DIGITS: usize = 4_300;

/// Room for the members of an object, so that few are moved while it grows. More would let a frame of small
/// objects take much memory.
const USUAL_MEMBERS: usize = 6;

/// Text that is not acceptable JSON: what is wrong, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Offset in bytes from the start of the text.
    pub offset: usize,
}

/// What can be wrong with JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// The bytes are not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// The text ended too early.
    #[error("unexpected end of text")]
    End,
    /// A character that cannot stand there.
    #[error("unexpected character")]
    Unexpected,
    /// More text after the document.
    #[error("text after the end of the document")]
    Trailing,
    /// A control character inside a string.
    #[error("control character in a string")]
    Control,
    /// A `\` sequence that JSON does not have.
    #[error("invalid escape sequence")]
    Escape,
    /// More than [`MAX_DEPTH`] levels.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    Depth,
    /// An integer of more than [`MAX_INTEGER_DIGITS`] digits.
    #[error("integer of more than {MAX_INTEGER_DIGITS} digits")]
    IntegerDigits,
}

/// A container that is still open.
enum Open {
    Array(Vec<Value>),
    Object(OpenObject),
}

/// An object whose next value is still to come.
struct OpenObject {
    members: Vec<(SmolStr, Value)>,
    key: SmolStr,
    /// Whether any key so far holds a lone surrogate, which makes the whole object impossible to sign.
    lone_surrogate: bool,
}

impl OpenObject {
    /// Takes the next key, or none for one with a lone surrogate.
    fn expect(&mut self, key: Option<SmolStr>) {
        self.lone_surrogate |= key.is_none();
        self.key = key.unwrap_or_default();
    }
}

impl Open {
    fn close(self) -> Value {
        match self {
            Self::Array(items) => Value::Array(items),
            Self::Object(object) if object.lone_surrogate => Value::LoneSurrogate,
            Self::Object(object) => Value::Object(Object::from_members(object.members)),
        }
    }
}

pub(crate) fn parse(wire: &[u8]) -> Result<Value, ParseError> {
    let text = std::str::from_utf8(wire)
        .map_err(|error| ParseError { kind: ParseErrorKind::Utf8, offset: error.valid_up_to() })?;
    let mut parser = Parser { text, at: 0 };
    let value = document(&mut parser)?;
    parser.skip_space();
    if parser.at < text.len() {
        return Err(parser.error(ParseErrorKind::Trailing));
    }
    Ok(value)
}

fn document(parser: &mut Parser<'_>) -> Result<Value, ParseError> {
    let mut open = Vec::new();
    loop {
        parser.skip_space();
        let Some(value) = value_or_open(parser, &mut open)? else { continue };
        if let Some(document) = add(parser, &mut open, value)? {
            return Ok(document);
        }
    }
}

/// A complete value, or `None` after opening a container that has a first member.
fn value_or_open(parser: &mut Parser<'_>, open: &mut Vec<Open>) -> Result<Option<Value>, ParseError> {
    match parser.peek()? {
        b'{' => {
            parser.enter(open.len())?;
            if parser.eat(b'}') {
                return Ok(Some(Value::Object(Object::default())));
            }
            let members = Vec::with_capacity(USUAL_MEMBERS);
            let mut object = OpenObject { members, key: SmolStr::default(), lone_surrogate: false };
            object.expect(parser.key()?);
            open.push(Open::Object(object));
            Ok(None)
        }
        b'[' => {
            parser.enter(open.len())?;
            if parser.eat(b']') {
                return Ok(Some(Value::Array(Vec::new())));
            }
            open.push(Open::Array(Vec::new()));
            Ok(None)
        }
        b'"' => parser.string().map(|text| Some(text.map_or(Value::LoneSurrogate, Value::String))),
        b'-' | b'0'..=b'9' => parser.number().map(Some),
        _ => parser.literal().map(Some),
    }
}

/// Adds a value to the innermost container, and closes those that end with it: `Some` once all are closed,
/// `None` when another member follows.
fn add(parser: &mut Parser<'_>, open: &mut Vec<Open>, mut value: Value) -> Result<Option<Value>, ParseError> {
    loop {
        let Some(last) = open.last_mut() else { return Ok(Some(value)) };
        parser.skip_space();
        let ended = match last {
            Open::Array(items) => {
                items.push(value);
                parser.eat(b']')
            }
            Open::Object(object) => {
                object.members.push((std::mem::take(&mut object.key), value));
                parser.eat(b'}')
            }
        };
        if !ended {
            parser.expect(b',')?;
            if let Open::Object(object) = last {
                parser.skip_space();
                object.expect(parser.key()?);
            }
            return Ok(None);
        }
        let Some(closed) = open.pop() else { return Ok(None) };
        value = closed.close();
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    /// Steps into a container that is so many levels deep.
    fn enter(&mut self, depth: usize) -> Result<(), ParseError> {
        if depth >= MAX_DEPTH {
            return Err(self.error(ParseErrorKind::Depth));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// Reads a key and its colon; `None` for a key with a lone surrogate.
    fn key(&mut self) -> Result<Option<SmolStr>, ParseError> {
        if self.peek()? != b'"' {
            return Err(self.error(ParseErrorKind::Unexpected));
        }
        let key = match self.plain_string() {
            Some(plain) => Some(SmolStr::new(plain)),
            None => self.string()?.map(SmolStr::from),
        };
        self.skip_space();
        self.expect(b':')?;
        Ok(key)
    }

    fn literal(&mut self) -> Result<Value, ParseError> {
        let literals = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Float(f64::NAN)),
            ("Infinity", Value::Float(f64::INFINITY)),
        ];
        for (word, value) in literals {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.error(ParseErrorKind::Unexpected))
    }

    fn number(&mut self) -> Result<Value, ParseError> {
        let start = self.at;
        if self.rest().starts_with("-Infinity") {
            self.at += "-Infinity".len();
            return Ok(Value::Float(f64::NEG_INFINITY));
        }
        self.eat(b'-');
        let digits = self.at;
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.skip_digits(),
            _ => return Err(self.error(ParseErrorKind::Unexpected)),
        }
        let integer_digits = self.at - digits;
        let fraction = self.optional_fraction();
        let exponent = self.optional_exponent();
        let text = &self.text[start..self.at];
        if fraction || exponent {
            // The grammar just checked is a subset of what Rust's parser takes; overflow gives infinity.
            return Ok(Value::Float(text.parse().unwrap_or(f64::NAN)));
        }
        if integer_digits > MAX_INTEGER_DIGITS {
            return Err(ParseError { kind: ParseErrorKind::IntegerDigits, offset: start });
        }
        Ok(Value::Integer(Integer::from_json_digits(text)))
    }

    fn optional_fraction(&mut self) -> bool {
        let bytes = &self.text.as_bytes()[self.at..];
        let present = bytes.first() == Some(&b'.') && bytes.get(1).is_some_and(u8::is_ascii_digit);
        if present {
            self.at += 1;
            self.skip_digits();
        }
        present
    }

    fn optional_exponent(&mut self) -> bool {
        let bytes = &self.text.as_bytes()[self.at..];
        if !matches!(bytes.first(), Some(b'e' | b'E')) {
            return false;
        }
        let sign = usize::from(matches!(bytes.get(1), Some(b'+' | b'-')));
        let present = bytes.get(1 + sign).is_some_and(u8::is_ascii_digit);
        if present {
            self.at += 1 + sign;
            self.skip_digits();
        }
        present
    }

    fn skip_digits(&mut self) {
        let bytes = &self.text.as_bytes()[self.at..];
        self.at += bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    }

    /// A string's text where nothing in it is escaped. Otherwise nothing has been read.
    fn plain_string(&mut self) -> Option<&str> {
        let start = self.at + 1;
        let end = start + scan::plain_length(&self.text.as_bytes()[start..]);
        if self.text.as_bytes().get(end) != Some(&b'"') {
            return None;
        }
        self.at = end + 1;
        Some(&self.text[start..end])
    }

    /// A string's text, or `None` if it holds a lone surrogate.
    fn string(&mut self) -> Result<Option<String>, ParseError> {
        if let Some(plain) = self.plain_string() {
            return Ok(Some(plain.to_owned()));
        }
        self.at += 1;
        let mut text = String::new();
        let mut whole = true;
        loop {
            let rest = self.rest();
            let plain = scan::plain_length(rest.as_bytes());
            text.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(whole.then_some(text));
                }
                b'\\' => match self.escape()? {
                    Some(character) => text.push(character),
                    None => whole = false,
                },
                _ => return Err(self.error(ParseErrorKind::Control)),
            }
        }
    }

    /// One escape sequence; `None` for a surrogate without its other half.
    fn escape(&mut self) -> Result<Option<char>, ParseError> {
        let start = self.at;
        self.at += 1;
        let short = match self.peek()? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode_escape(start);
            }
            _ => return Err(ParseError { kind: ParseErrorKind::Escape, offset: start }),
        };
        self.at += 1;
        Ok(Some(short))
    }

    fn unicode_escape(&mut self, start: usize) -> Result<Option<char>, ParseError> {
        let invalid = ParseError { kind: ParseErrorKind::Escape, offset: start };
        let unit = self.four_hex().ok_or(invalid)?;
        if (0xd800..0xdc00).contains(&unit) && self.rest().starts_with("\\u") {
            let before = self.at;
            self.at += 2;
            let low = self.four_hex().ok_or(ParseError { offset: before, ..invalid })?;
            if (0xdc00..0xe000).contains(&low) {
                return Ok(char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)));
            }
            self.at = before;
        }
        Ok(char::from_u32(unit))
    }

    fn four_hex(&mut self) -> Option<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
        let mut unit = 0;
        for digit in digits {
            unit = unit * 16 + char::from(*digit).to_digit(16)?;
        }
        self.at += 4;
        Some(unit)
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Result<u8, ParseError> {
        self.text.as_bytes().get(self.at).copied().ok_or_else(|| self.error(ParseErrorKind::End))
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), ParseError> {
        self.peek()?;
        if self.eat(byte) { Ok(()) } else { Err(self.error(ParseErrorKind::Unexpected)) }
    }

    fn skip_space(&mut self) {
        let bytes = &self.text.as_bytes()[self.at..];
        self.at += bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    fn error(&self, kind: ParseErrorKind) -> ParseError {
        ParseError { kind, offset: self.at }
    }
}
