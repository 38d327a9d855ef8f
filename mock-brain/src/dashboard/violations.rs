//! The list of violations.

use maud::{Markup, html};

use super::text::{Tone, badge, cut, none, on_demand, table, time_of_day};
use crate::hub::Hub;
use crate::violation::{RULES, Violation};

/// Most rows.
const MOST: usize = 50;

pub(super) fn section(rows: &Markup) -> Markup {
    html! {
        section aria-labelledby="violations-title" {
            h2 #violations-title { "Violations" }
            (table("violations", "Violations, newest first", &["Time", "Rule", "What was seen", "Agent"], None, rows))
        }
    }
}

pub(super) fn rows(hub: &Hub) -> Markup {
    let violations = hub.violations.newest(MOST);
    html! {
        @for (number, violation) in &violations { (row(*number, violation)) }
        @if violations.is_empty() {
            (none("violations", 4, &html! {
                (badge(Tone::Good, "none")) " Agents behave."
                @if !hub.violations.is_strict() { " More rules are looked at under " code { "serve --strict" } "." }
            }))
        }
    }
}

fn row(number: usize, violation: &Violation) -> Markup {
    let rule = RULES.iter().find(|rule| rule.name == violation.rule);
    let who = violation.agent.as_deref().unwrap_or(&violation.session);
    html! {
        tr id={ "v-" (number) } {
            td { (time_of_day(&violation.at)) }
            td.text { (badge(Tone::Bad, &violation.rule)) @if let Some(rule) = rule { div.hint { (rule.about) } } }
            td.text {
                @match &violation.raw {
                    Some(raw) => (on_demand(&html! { (violation.detail) }, raw)),
                    None => (violation.detail),
                }
            }
            td title=(violation.session) { (cut(who, 24).0) }
        }
    }
}
