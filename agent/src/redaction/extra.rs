//! The patterns that an operator adds (`Z4J_REDACTION_EXTRA_KEY_PATTERNS`, `…_VALUE_PATTERNS`).
//!
//! Owns their check at start and their matching: a key as a whole, a value anywhere, both without regard to
//! case. The expressions run in linear time whatever they say; only their size has a bound.

use regex::{RegexBuilder, RegexSet, RegexSetBuilder};

/// Largest compiled pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// Why there is no redaction, and so no start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RedactionError {
    /// A pattern of the operator's cannot be used.
    #[error("{setting}: pattern {position}, {pattern:?}: {problem}")]
    Pattern {
        /// The variable.
        setting: &'static str,
        /// Which of its patterns, from 1.
        position: usize,
        /// The pattern.
        pattern: String,
        /// What is wrong with it, and what to write instead where that is known.
        problem: String,
    },
    /// All patterns together are too much.
    #[error("{setting}: the patterns cannot be combined: {problem}")]
    Together {
        /// The variable.
        setting: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The built-in patterns do not compile: a defect of this program.
    #[error("the default redaction patterns do not compile: {0}")]
    Defaults(String),
}

impl RedactionError {
    /// What is wrong, for who names the setting already.
    pub(crate) fn problem(&self) -> String {
        match self {
            Self::Pattern { pattern, problem, .. } => format!("{pattern:?}: {problem}"),
            Self::Together { problem, .. } => format!("the patterns cannot be combined: {problem}"),
            Self::Defaults(_) => self.to_string(),
        }
    }
}

/// What patterns are matched with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatternsOf {
    /// Names of keys.
    Keys,
    /// Values.
    Values,
}

/// Whether patterns of the operator's can be used.
///
/// # Errors
/// Which cannot, and why.
pub(crate) fn check_patterns(of: PatternsOf, patterns: &[String]) -> Result<(), RedactionError> {
    match of {
        PatternsOf::Keys => ExtraKeys::new(patterns).map(drop),
        PatternsOf::Values => ExtraValues::new(patterns).map(drop),
    }
}

/// Patterns for names of keys.
#[derive(Debug)]
pub(super) struct ExtraKeys(RegexSet);

impl ExtraKeys {
    /// The operator's patterns; `None` if there are none.
    pub(super) fn new(patterns: &[String]) -> Result<Option<Self>, RedactionError> {
        let whole = |pattern: &String| format!(r"\A(?:{pattern})\z");
        Ok(compile("Z4J_REDACTION_EXTRA_KEY_PATTERNS", patterns, whole, false)?.map(Self))
    }

    pub(super) fn matches(&self, key: &str) -> bool {
        self.0.is_match(key)
    }
}

/// Patterns for values.
#[derive(Debug)]
pub(super) struct ExtraValues(RegexSet);

impl ExtraValues {
    /// The operator's patterns; `None` if there are none.
    pub(super) fn new(patterns: &[String]) -> Result<Option<Self>, RedactionError> {
        Ok(compile("Z4J_REDACTION_EXTRA_VALUE_PATTERNS", patterns, String::clone, true)?.map(Self))
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

/// `searched`: the patterns are looked for anywhere, so that one which matches nothing matches everything.
fn compile(
    setting: &'static str,
    patterns: &[String],
    form: impl Fn(&String) -> String,
    searched: bool,
) -> Result<Option<RegexSet>, RedactionError> {
    if patterns.is_empty() {
        return Ok(None);
    }
    for (index, pattern) in patterns.iter().enumerate() {
        let refuse = |problem: String| RedactionError::Pattern {
            setting,
            position: index + 1,
            pattern: pattern.clone(),
            problem,
        };
        // Alone first: `a)|(?:b` must not become a pattern by what is put around it.
        for text in [pattern.clone(), form(pattern)] {
            let mut builder = RegexBuilder::new(&text);
            let built = builder.case_insensitive(true).size_limit(MAX_PATTERN_BYTES).build();
            let regex = built.map_err(|error| refuse(problem(&error)))?;
            if searched && regex.is_match("") {
                return Err(refuse("it matches the empty text, and so would redact every value".to_owned()));
            }
        }
    }
    let mut builder = RegexSetBuilder::new(patterns.iter().map(form));
    builder.case_insensitive(true).size_limit(MAX_PATTERN_BYTES.saturating_mul(patterns.len()));
    let together = |error| RedactionError::Together { setting, problem: problem(&error) };
    builder.build().map(Some).map_err(together)
}

/// One line: the library draws a picture of the pattern first, and says at the end what is wrong.
fn problem(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("it needs more than {limit} bytes when compiled; use smaller repetitions")
        }
        _ => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("it is no regular expression: {}", last.trim_start_matches("error: "))
        }
    }
}
