//! Text that is a secret or personal by its form: credentials with a known prefix, URLs with a password, keys,
//! e-mail addresses, US social security numbers. Found anywhere in a string, without regard to case.
//!
//! Owns the forms, and the one expression that finds them. It works on bytes: a string outside ASCII is first
//! reduced to what the forms can tell apart, which keeps the automaton small and its time linear.

use std::borrow::Cow;

use regex::bytes::{Regex, RegexBuilder};

use super::extra::RedactionError;
use super::keys::fold_foreign;

/// The forms, by what they are.
const FORMS: [(&str, &str); 14] = [
    ("JSON web token", r"eyJ[\w-]+(?:\.[\w-]+){2}"),
    ("bearer token", r"bearer[\s\x1c-\x1f]+[\w.-]{16}"),
    ("Stripe key", r"[spr]k_(?:live|test)_[a-z0-9]{24}|whsec_[a-z0-9]{24}"),
    ("Slack token", r"xox[abp]-[a-z0-9-]{10}"),
    ("Slack hook", r"https://hooks\.slack\.com/services/t[a-z0-9]+/b[a-z0-9]+/[a-z0-9]"),
    ("GitHub token", r"gh[ops]_[a-z0-9]{36}|github_pat_\w{82}"),
    ("AWS access key id", r"a[ks]ia[a-z0-9]{16}"),
    ("Google API key", r"aiza[\w-]{35}"),
    ("Twilio key", r"(?:^|[^\w\x80\x82])sk[0-9a-f]{32}(?:$|[^\w\x80\x82])"),
    ("SendGrid key", r"sg\.[\w-]{22}\.[\w-]{43}"),
    (
        "database or broker URL with a password",
        r"(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|rediss?|amqps?)://[^:\s\x1c-\x1f]+:[^@\s\x1c-\x1f]+@[^/\s\x1c-\x1f]",
    ),
    ("private key", r"-----begin (?:rsa|ec|dsa|openssh|pgp|encrypted|private) (?:private )?key-----"),
    ("e-mail address", r"[\w.%+-]@[a-z0-9.-]+\.[a-z]{2}"),
    (
        "social security number",
        r"(?:^|[^\w\x80\x82])[0-9\x82]{3}-[0-9\x82]{2}-[0-9\x82]{4}(?:$|[^\w\x80\x82])",
    ),
];

/// Shorter text has a form only if it holds an `@`, `.` or `-`: an address, a token in three parts, a number.
const SHORTEST_WITHOUT_MARK: usize = 20;
/// What a letter outside ASCII is reduced to.
const LETTER: u8 = 0x80;
/// What any other character outside ASCII is reduced to.
const OTHER: u8 = 0x81;
/// What a digit outside ASCII is reduced to.
const DIGIT: u8 = 0x82;

/// Finds the forms.
#[derive(Debug)]
pub(super) struct ValueMatcher(Regex);

impl ValueMatcher {
    pub(super) fn new() -> Result<Self, RedactionError> {
        let forms: Vec<&str> = FORMS.iter().map(|(_, form)| *form).collect();
        let built = RegexBuilder::new(&forms.join("|")).unicode(false).case_insensitive(true).build();
        built.map(Self).map_err(|error| RedactionError::Defaults(error.to_string()))
    }

    /// Whether any form is in it.
    pub(super) fn matches(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        if bytes.len() < SHORTEST_WITHOUT_MARK && !bytes.iter().any(|byte| matches!(byte, b'@' | b'.' | b'-'))
        {
            return false;
        }
        self.0.is_match(&reduced(text))
    }
}

/// The text with each character outside ASCII as one byte that says what it is.
fn reduced(text: &str) -> Cow<'_, [u8]> {
    if text.is_ascii() {
        return Cow::Borrowed(text.as_bytes());
    }
    Cow::Owned(text.chars().map(reduce).collect())
}

fn reduce(c: char) -> u8 {
    if let Some(byte) = u8::try_from(c).ok().filter(u8::is_ascii).or_else(|| fold_foreign(c)) {
        return byte;
    }
    match c {
        _ if c.is_whitespace() => b' ',
        _ if c.is_numeric() => DIGIT,
        _ if c.is_alphabetic() => LETTER,
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_an_expression_of_its_own() {
        for (name, form) in FORMS {
            assert!(RegexBuilder::new(form).unicode(false).case_insensitive(true).build().is_ok(), "{name}");
        }
    }
}
