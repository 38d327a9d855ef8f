//! Small pieces that rows are made of: times, states, sizes, long texts.
//!
//! Owns how they look in words. A state is a sign and a word, and its colour says nothing that they do not.

use maud::{Markup, html};

/// How good a state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Live,
    Good,
    Warn,
    Bad,
    Idle,
}

impl Tone {
    const fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Live => ("good", "●"),
            Self::Good => ("good", "✓"),
            Self::Warn => ("warn", "▲"),
            Self::Bad => ("bad", "✕"),
            Self::Idle => ("idle", "○"),
        }
    }
}

/// A state.
pub(super) fn badge(tone: Tone, word: &str) -> Markup {
    let (class, sign) = tone.parts();
    html! { span class={ "badge " (class) } { span aria-hidden="true" { (sign) } " " (word) } }
}

/// The time of day of an ISO 8601 text, to the millisecond; the whole text is its title.
pub(super) fn time_of_day(at: &str) -> Markup {
    let time = at.split_once('T').map_or(at, |(_, time)| time);
    let time = time.trim_end_matches('Z').split('+').next().unwrap_or_default();
    let short: String = time.chars().take(12).collect();
    html! { time datetime=(at) title=(at) { (short) } }
}

/// So many of a thing.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{}.{} KiB", bytes / 1_024, bytes % 1_024 * 10 / 1_024),
        _ => format!("{}.{} MiB", bytes / 1_048_576, bytes % 1_048_576 * 10 / 1_048_576),
    }
}

/// A number with its thousands apart.
pub(super) fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A span of time in its largest unit.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The first characters of a text, and whether there were more.
pub(super) fn cut(text: &str, most: usize) -> (&str, bool) {
    match text.char_indices().nth(most) {
        Some((end, _)) => (&text[..end], true),
        None => (text, false),
    }
}

/// Most characters of a text that is shown on demand.
const MAX_SHOWN: usize = 2_000;

/// A text that is shown on demand, cut if it is long.
pub(super) fn on_demand(summary: &Markup, text: &str) -> Markup {
    let (shown, more) = cut(text, MAX_SHOWN);
    html! {
        details {
            summary { (summary) }
            pre { (shown) @if more { "…" } }
            @if more { p.hint { "the first " (number(MAX_SHOWN as u64)) " characters of " (size(text.len() as u64)) } }
        }
    }
}

/// What stands in a list without rows. It goes once there is another row.
pub(super) fn none(id: &str, columns: usize, text: &Markup) -> Markup {
    html! { tr.none id={ (id) "-none" } { td colspan=(columns) { (text) } } }
}

/// A table that scrolls by itself; `rows` are the children of the element `id`.
pub(super) fn table(id: &str, name: &str, heads: &[&str], most: Option<usize>, rows: &Markup) -> Markup {
    html! {
        div.scroll role="region" tabindex="0" aria-label=(name) {
            table {
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody id=(id) data-most=[most] { (rows) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(number),
            ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]
        );
        assert_eq!([1, 1_536, 3 << 20].map(size), ["1 B", "1.5 KiB", "3.0 MiB"]);
        assert_eq!([59, 3_600, 86_400, 864_000].map(span), ["59 s", "60 min", "24 h", "10 days"]);
        assert_eq!((cut("grün", 3), cut("grün", 4)), (("grü", true), ("grün", false)));
        let time = time_of_day("2026-11-26T09:05:00.123456+00:00").into_string();
        assert!(time.ends_with(">09:05:00.123</time>"), "{time}");
    }

    #[test]
    fn text_of_others_is_escaped() {
        let shown = on_demand(&html! { "x" }, "<script>\"'&").into_string();
        assert!(shown.contains("&lt;script&gt;") && !shown.contains("<script"), "{shown}");
    }
}
