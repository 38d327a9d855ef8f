//! The bearer token. Must not be printed: `Debug` shows its length, and there is no `Display`.

use std::fmt;

/// An agent's bearer token: printable ASCII without blanks, so it can stand in a header.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Token {
    /// Takes a token; `Err` says what is wrong with it, without any part of it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("it is empty");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it holds a blank, a control character or a letter outside ASCII");
        }
        Ok(Self(text.to_owned()))
    }

    /// The value of the `Authorization` header. Handle it as a secret.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} characters)", self.0.len())
    }
}
