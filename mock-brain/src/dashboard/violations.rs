//! The list of violations.

use maud::{Markup, html};

use super::text::{Tone, badge, none, table};
use crate::hub::Hub;

/// Most rows.
const MOST: usize = 50;

pub(super) fn section(rows: &Markup) -> Markup {
    html! {
        section aria-labelledby="violations-title" {
            h2 #violations-title { "Violations" }
            (table("violations", "Violations, newest first", &["Rule", "What was seen", "Session"], None, rows))
        }
    }
}

pub(super) fn rows(hub: &Hub) -> Markup {
    let violations = hub.violations.newest(MOST);
    html! {
        @for (number, violation) in &violations {
            tr id={ "v-" (number) } {
                td { (badge(Tone::Bad, &violation.rule)) }
                td { (violation.detail) }
                td title=(violation.session) { code { (super::text::cut(&violation.session, 8).0) } }
            }
        }
        @if violations.is_empty() && hub.violations.is_strict() {
            (none("violations", 3, &html! { (badge(Tone::Good, "none")) " Agents behave." }))
        }
        @if violations.is_empty() && !hub.violations.is_strict() {
            (none("violations", 3, &html! { "Not looked for: start with " code { "serve --strict" } "." }))
        }
    }
}
