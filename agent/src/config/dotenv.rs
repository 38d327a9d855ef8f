//! A `.env` file in the working directory: whether it has what the environment lacks.
//!
//! It is looked at to explain, never loaded: systemd and the agent both take their settings from the
//! environment alone.

use std::path::Path;

/// Most of a file that is looked at, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Which of the wanted names a file sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Names that it sets.
    pub(crate) names: Vec<&'static str>,
    /// Whether one of those lines begins with `export`.
    pub(crate) exported: bool,
}

/// Looks for names in a file; nothing is found in one that cannot be read.
pub(crate) fn look(file: &Path, wanted: &[&'static str]) -> Found {
    let Ok(bytes) = crate::files::read(file, MAX_FILE_BYTES) else { return Found::default() };
    look_in(&String::from_utf8_lossy(&bytes), wanted)
}

fn look_in(text: &str, wanted: &[&'static str]) -> Found {
    let mut found = Found::default();
    // An editor of Windows may have put a byte order mark first.
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.trim_start();
        let (exported, line) = match line.strip_prefix("export ") {
            Some(rest) => (true, rest.trim_start()),
            None => (false, line),
        };
        let Some((name, value)) = line.split_once('=') else { continue };
        let name = wanted.iter().find(|wanted| **wanted == name.trim_end());
        if let (Some(name), false) = (name, value.trim().is_empty()) {
            found.names.push(name);
            found.exported |= exported;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_names_with_a_value() {
        let text = "\u{feff}Z4J_TOKEN=abc\n export Z4J_BRAIN_URL=\"https://h/\"\nZ4J_PROJECT_ID=\n";
        let found = look_in(text, &["Z4J_BRAIN_URL", "Z4J_TOKEN", "Z4J_PROJECT_ID"]);
        assert_eq!(found, Found { names: vec!["Z4J_TOKEN", "Z4J_BRAIN_URL"], exported: true });
    }
}
