//! A profile: words joined by `+` that say what a server shows, as in `expired+rsa`.
//!
//! Owns the one parser; its errors point at the place. No word at all is `valid`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::word::{RESPECTS, Respect, WORDS, Word};
use crate::fault::duration;
use crate::place::{Misplaced, closest};

/// What a server shows, as words: at most one for each respect. Its text joins them by `+`; serde uses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Profile([Option<Word>; RESPECTS]);

/// The text of a profile without words.
const VALID: &str = "valid";
/// Longest text.
const MAX_TEXT: usize = 512;

impl Profile {
    /// This profile with a word more; it takes the place of one that says otherwise.
    #[must_use]
    pub fn with(mut self, word: Word) -> Self {
        if let Some(slot) = self.0.get_mut(word.respect() as usize) {
            *slot = Some(word);
        }
        self
    }

    pub(super) fn word(&self, respect: Respect) -> Option<Word> {
        self.0.get(respect as usize).copied().flatten()
    }

    /// Whether it has this word.
    pub(crate) fn has(&self, word: Word) -> bool {
        self.word(word.respect()) == Some(word)
    }

    pub(super) fn words(&self) -> impl Iterator<Item = Word> {
        self.0.iter().copied().flatten()
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.words().map(|word| word.to_string()).collect();
        f.write_str(if words.is_empty() { VALID } else { "" })?;
        f.write_str(&words.join("+"))
    }
}

/// Why a text is no profile. One line that shows the place and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileError(Misplaced);

impl ProfileError {
    /// The column that the complaint is about, counted in characters from 1.
    #[must_use]
    pub const fn column(&self) -> usize {
        self.0.column()
    }
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ProfileError {}

impl FromStr for Profile {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, ProfileError> {
        let complain = |at: usize, word: &str, message: String| {
            ProfileError(Misplaced::at("certificate profile", text, at, word, message))
        };
        if text.len() > MAX_TEXT {
            return Err(complain(0, text, format!("longer than {MAX_TEXT} bytes")));
        }
        let mut profile = Self::default();
        let mut next = 0;
        for part in text.split('+') {
            let at = next + (part.len() - part.trim_start().len());
            next += part.len() + 1;
            let part = part.trim();
            if part == VALID {
                continue;
            }
            let word = parse_word(part).map_err(|(offset, message)| {
                complain(at + offset, part.get(offset..).unwrap_or_default(), message)
            })?;
            match profile.word(word.respect()) {
                Some(earlier) => {
                    return Err(complain(at, part, format!("{earlier} and {word} exclude each other")));
                }
                None => profile = profile.with(word),
            }
        }
        Ok(profile)
    }
}

/// A word, or the place in it and what is wrong there.
fn parse_word(text: &str) -> Result<Word, (usize, String)> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let names = || WORDS.iter().map(|word| word.name());
    let Some(word) = WORDS.iter().find(|word| word.name() == name) else {
        let near = closest(name, names()).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        let known = names().collect::<Vec<_>>().join(", ");
        return Err((0, format!("no such word{near} (known: {VALID}, {known})")));
    };
    match (word, value) {
        (Word::ExpiresIn(_), None) => Err((0, format!("{name} takes a time, as in {name}=20s"))),
        (Word::ExpiresIn(_), Some(value)) => {
            let time = duration::parse(value).filter(|time| time.as_secs() > 0);
            let message = "a time of a second or more is expected, such as 20s, 10m or 1h";
            time.map(Word::ExpiresIn).ok_or_else(|| (name.len() + 1, message.to_owned()))
        }
        (_, Some(_)) => Err((name.len(), format!("{name} takes no value"))),
        (word, None) => Ok(*word),
    }
}

impl TryFrom<String> for Profile {
    type Error = ProfileError;

    fn try_from(text: String) -> Result<Self, ProfileError> {
        text.parse()
    }
}

impl From<Profile> for String {
    fn from(profile: Profile) -> Self {
        profile.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_round_trip() {
        let cases = [
            ("valid", "valid"),
            ("expired", "expired"),
            ("rsa+expired", "expired+rsa"),
            (" wildcard + tls-1.2 ", "wildcard+tls-1.2"),
            ("valid+rsa", "rsa"),
            ("expires-in=20s+untrusted-ca", "expires-in=20s+untrusted-ca"),
            ("expires-in=60s", "expires-in=1m"),
        ];
        for (text, canonical) in cases {
            let profile: Profile = text.parse().unwrap();
            assert_eq!(profile.to_string(), canonical, "{text}");
            assert_eq!(canonical.parse(), Ok(profile));
        }
    }

    #[test]
    fn every_word_is_its_own_profile() {
        for word in WORDS {
            let text = match word {
                Word::ExpiresIn(_) => "expires-in=5s".to_owned(),
                word => word.name().to_owned(),
            };
            let profile: Profile = text.parse().unwrap();
            assert_eq!(profile.to_string(), text);
            assert_eq!(profile.words().next().map(Word::name), Some(word.name()));
        }
    }

    #[test]
    fn errors_show_the_place_and_the_way_out() {
        let cases = [
            ("", 1, "no such word"),
            ("expird", 1, "did you mean expired?"),
            ("rsa+expird", 5, "did you mean expired?"),
            ("rsa+", 5, "no such word"),
            ("expired+not-yet-valid", 9, "expired and not-yet-valid exclude each other"),
            ("expired+expired", 9, "exclude each other"),
            ("expires-in", 1, "as in expires-in=20s"),
            ("rsa+expires-in=soon", 16, "20s"),
            ("expires-in=500ms", 12, "a second or more"),
            ("expired=1", 8, "takes no value"),
        ];
        for (text, column, part) in cases {
            let error = text.parse::<Profile>().unwrap_err();
            assert_eq!(error.column(), column, "{error}");
            assert!(error.to_string().contains(part), "{error}");
            assert!(!error.to_string().contains('\n'));
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_parses_round_trips(text in "(expired|rsa|expires-in=)?[ -~é]{0,30}") {
            if let Ok(profile) = text.parse::<Profile>() {
                prop_assert_eq!(profile.to_string().parse(), Ok(profile));
            }
        }
    }
}
