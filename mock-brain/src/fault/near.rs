//! The name that was probably meant.

use super::catalog;

/// The known name that is nearest, if it is near.
pub(super) fn closest(name: &str) -> Option<&'static str> {
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
