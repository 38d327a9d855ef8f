//! JSON text → [`Value`], with the semantics of Python's `json.loads`.
//!
//! Owns the grammar and its bounds. It must not recurse (hostile nesting must not reach the stack's end) and
//! must not judge what can be signed: `NaN`, `Infinity` and lone surrogates parse here, as they do there,
//! and are refused by `canonical`.

use crate::integer::Integer;
use crate::scan;
use crate::value::{Object, Value};

/// Deepest nesting of arrays and objects that is accepted (protocol.md asks for at least 500).
pub const MAX_DEPTH: usize = 900;

/// Longest integer, in digits: Python's `sys.set_int_max_str_digits` default.
pub const MAX_INTEGER_DIGITS: usize = 4_300;

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
    members: Vec<(String, Value)>,
    key: String,
    /// Whether any key so far holds a lone surrogate, which makes the whole object impossible to sign.
    lone_surrogate: bool,
}

impl OpenObject {
    fn close(self) -> Value {
        if self.lone_surrogate {
            Value::LoneSurrogate
        } else {
            Value::Object(Object::from_members(self.members))
        }
    }
}

pub(crate) fn parse(wire: &[u8]) -> Result<Value, ParseError> {
    let text = std::str::from_utf8(wire)
        .map_err(|error| ParseError { kind: ParseErrorKind::Utf8, offset: error.valid_up_to() })?;
    let mut parser = Parser { text, at: 0, open: Vec::new() };
    let value = parser.document()?;
    parser.skip_space();
    if parser.at < text.len() {
        return Err(parser.error(ParseErrorKind::Trailing));
    }
    Ok(value)
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    open: Vec<Open>,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<Value, ParseError> {
        loop {
            self.skip_space();
            let Some(mut value) = self.value_or_open()? else { continue };
            loop {
                match self.open.pop() {
                    None => return Ok(value),
                    Some(open) => match self.close_or_next(open, value)? {
                        Some(closed) => value = closed,
                        None => break,
                    },
                }
            }
        }
    }

    /// A complete value, or `None` after opening a container that has a first member.
    fn value_or_open(&mut self) -> Result<Option<Value>, ParseError> {
        match self.peek()? {
            b'{' => {
                self.enter()?;
                if self.eat(b'}') {
                    return Ok(Some(Value::Object(Object::default())));
                }
                self.push_object(Vec::new(), false)?;
                Ok(None)
            }
            b'[' => {
                self.enter()?;
                if self.eat(b']') {
                    return Ok(Some(Value::Array(Vec::new())));
                }
                self.open.push(Open::Array(Vec::new()));
                Ok(None)
            }
            b'"' => self.string().map(|text| Some(text.map_or(Value::LoneSurrogate, Value::String))),
            b'-' | b'0'..=b'9' => self.number().map(Some),
            _ => self.literal().map(Some),
        }
    }

    /// Adds a value to its container: `Some` when that container ends, `None` when another member follows.
    fn close_or_next(&mut self, open: Open, value: Value) -> Result<Option<Value>, ParseError> {
        self.skip_space();
        match open {
            Open::Array(mut items) => {
                items.push(value);
                if self.eat(b']') {
                    return Ok(Some(Value::Array(items)));
                }
                self.expect(b',')?;
                self.open.push(Open::Array(items));
            }
            Open::Object(mut object) => {
                object.members.push((std::mem::take(&mut object.key), value));
                if self.eat(b'}') {
                    return Ok(Some(object.close()));
                }
                self.expect(b',')?;
                self.skip_space();
                self.push_object(object.members, object.lone_surrogate)?;
            }
        }
        Ok(None)
    }

    fn enter(&mut self) -> Result<(), ParseError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(self.error(ParseErrorKind::Depth));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// Reads a key and its colon, and leaves the object open for the value.
    fn push_object(&mut self, members: Vec<(String, Value)>, lone: bool) -> Result<(), ParseError> {
        if self.peek()? != b'"' {
            return Err(self.error(ParseErrorKind::Unexpected));
        }
        let key = self.string()?;
        self.skip_space();
        self.expect(b':')?;
        let lone_surrogate = lone || key.is_none();
        self.open.push(Open::Object(OpenObject { members, key: key.unwrap_or_default(), lone_surrogate }));
        Ok(())
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

    /// A string's text, or `None` if it holds a lone surrogate.
    fn string(&mut self) -> Result<Option<String>, ParseError> {
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
