//! A peer's text in a message: escaped, so that it cannot forge log lines, and cut, so that it cannot fill them.

/// Most characters quoted.
const MAX_CHARS: usize = 80;

/// The text in quotes.
pub(crate) fn quote(text: &str) -> String {
    let mut chars = text.chars();
    let cut: String = chars.by_ref().take(MAX_CHARS).collect();
    let more = if chars.next().is_some() { "…" } else { "" };
    format!("{cut:?}{more}")
}
