//! What agents log: levels, messages, secrets that must not be there.
//!
//! Owns reading a line, in text and JSON formats.

use serde_json::Value;

use super::StepError;
use crate::scenario::{Level, LogExpectation};
use crate::stage::Stage;

/// How many lines are shown of a log, and how many of the words of a line may come before its level.
const SHOWN_LINES: usize = 20;
const WORDS_BEFORE_LEVEL: usize = 6;

/// What a log does not have that it should have, or the other way round.
pub(super) fn problem(lines: &[String], wanted: &LogExpectation) -> Option<String> {
    let matching = lines.iter().filter(|line| {
        let level = wanted.level.is_none_or(|level| level_of(line) == Some(level));
        level && wanted.pattern.as_ref().is_none_or(|pattern| pattern.0.is_match(line))
    });
    let matching: Vec<_> = matching.collect();
    if wanted.every
        && let Some(other) = lines.iter().find(|line| !matching.contains(line))
    {
        return Some(format!("not every log line is as wanted:\n    {other}"));
    }
    if wanted.count.holds(matching.len() as u64) {
        return None;
    }
    let level = wanted.level.map(|level| format!(" of level {level:?}")).unwrap_or_default();
    let pattern = wanted.pattern.as_ref().map(|pattern| format!(" like `{}`", pattern.0)).unwrap_or_default();
    let mut problem = format!("{} log lines{level}{pattern} instead of {}", matching.len(), wanted.count);
    for line in matching.iter().take(SHOWN_LINES) {
        problem.push_str("\n    ");
        problem.push_str(line);
    }
    Some(problem)
}

fn level_of(line: &str) -> Option<Level> {
    if let Ok(Value::Object(fields)) = serde_json::from_str(line) {
        return fields.get("level").and_then(Value::as_str).and_then(Level::of);
    }
    let words = line.split([' ', '\t', '[', ']', ':']).filter(|word| !word.is_empty());
    words.take(WORDS_BEFORE_LEVEL).find_map(|word| {
        // A word in the message is not a level: those are written in capitals, or with a colon.
        Level::of(word).filter(|_| word.chars().all(|c| c.is_ascii_uppercase()))
    })
}

/// No agent may log a secret.
pub(super) fn leaks_nothing(stage: &Stage) -> Result<(), StepError> {
    let secrets = stage.secrets();
    let leak = stage.journal().look_at_all(|all| {
        all.iter().find_map(|(name, record)| {
            let at =
                record.lines.iter().position(|line| secrets.iter().any(|secret| line.contains(secret)))?;
            Some(format!("{name} logged a secret, in line {} of its log", at + 1))
        })
    });
    leak.map_or(Ok(()), |leak| Err(StepError::Failed(leak)))
}

/// The ends of all logs, without secrets.
pub(super) fn last_words(stage: &Stage) -> String {
    let mut text = String::new();
    stage.journal().look_at_all(|all| {
        for (name, record) in all {
            let from = record.lines.len().saturating_sub(SHOWN_LINES);
            let lines: Vec<_> = record.lines[from..].iter().map(|line| format!("    {line}")).collect();
            let shown = if lines.is_empty() { "    (nothing)".to_owned() } else { lines.join("\n") };
            text.push_str(&format!("\n  the log of {name} ends with:\n{shown}"));
        }
    });
    stage.secrets().iter().fold(text, |text, secret| text.replace(secret, "{secret}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_of_a_line_is_found_in_each_format() {
        for (line, level) in [
            ("2026-11-23T21:29:04.1Z  WARN z4j::buffer: falling back", Some(Level::Warning)),
            ("WARNING:z4j:falling back", Some(Level::Warning)),
            ("[2026-11-23 21:29:04] ERROR in x: y", Some(Level::Error)),
            (r#"{"time":"t","level":"INFO","message":"an ERROR"}"#, Some(Level::Info)),
            (r#"{"level":"warn","message":"m"}"#, Some(Level::Warning)),
            ("it says: info about an error", None),
            ("", None),
        ] {
            assert_eq!(level_of(line), level, "{line}");
        }
    }

    #[test]
    fn lines_are_counted_by_level_and_pattern() {
        let lines = ["WARN falling back", "WARN again", "INFO falling back"].map(str::to_owned);
        let wanted = |text: &str| toml::from_str::<LogExpectation>(text).unwrap();
        for (text, says) in [
            ("level = \"WARNING\"\npattern = \"falling\"\ncount = 1", None),
            ("pattern = \"falling\"", None),
            ("level = \"ERROR\"\ncount = 0", None),
            ("level = \"WARN\"\ncount = 1", Some("2 log lines of level Warning instead of 1")),
            ("pattern = \"falling|again\"\nevery = true", None),
            ("pattern = \"falling\"\nevery = true", Some("not every log line is as wanted:")),
            ("pattern = \"gone\"", Some("0 log lines like `gone` instead of at least 1")),
        ] {
            let problem = problem(&lines, &wanted(text));
            assert_eq!(problem.as_deref().and_then(|text| text.lines().next()), says, "{text}");
        }
    }
}
