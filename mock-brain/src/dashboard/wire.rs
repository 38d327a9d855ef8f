//! The stream of everything else that the journal notes: connections, handshakes, frames, faults that struck.

use maud::{Markup, html};

use super::secrets::Secrets;
use super::text::{Tone, badge, none, on_demand, size, table, time_of_day};
use crate::journal::Line;

/// Most rows.
pub(super) const MOST: usize = 100;

pub(super) fn section(lines: &[Line], secrets: &Secrets) -> Markup {
    html! {
        section aria-labelledby="wire-title" {
            h2 #wire-title { "Frames and connections" }
            (table("wire", "Frames and connections, newest first",
                &["Time", "What", "Agent", "Size", "Verdict"], Some(MOST), &html! {
                (added(lines, secrets))
                @if lines.is_empty() { (none("wire", 5, &html! { "Nobody has connected yet." })) }
            }))
        }
    }
}

/// What came, newest first.
pub(super) fn added(lines: &[Line], secrets: &Secrets) -> Markup {
    let lines: Vec<_> = lines.iter().rev().filter(|line| line.event.is_none()).take(MOST).collect();
    html! { @for line in lines { (row(line, secrets)) } }
}

/// In place of entries that were too many to be shown.
pub(super) fn left_out(count: u64) -> Markup {
    html! {
        tr.left-out { td colspan="5" { (super::text::number(count)) " entries went by too fast to be shown" } }
    }
}

fn row(line: &Line, secrets: &Secrets) -> Markup {
    let (sign, about) = match line.kind.as_str() {
        "frame-in" => ("←", "frame from the agent"),
        "frame-out" => ("→", "frame to the agent"),
        kind => ("·", kind),
    };
    let agent = line.agent.as_deref();
    let who = agent.or(line.session.as_deref()).unwrap_or("–");
    let session = line.session.as_deref().unwrap_or_default();
    let what = html! { code { (secrets.hide(agent, &line.type_)) } };
    html! {
        tr id={ "w-" (line.seq) } class=(line.kind) {
            td { (time_of_day(&line.at)) }
            td.what {
                span.sign title=(about) { span aria-hidden="true" { (sign) } span.unseen { (about) } }
                @match &line.raw {
                    Some(raw) => (on_demand(&what, &secrets.hide(agent, raw))),
                    None => (what),
                }
                @if sign == "·" { " " span.hint { (about) } }
            }
            td.figure title=(session) { (super::text::cut(who, 24).0) }
            td.figure { @if let Some(bytes) = line.size { (size(bytes)) } }
            td.text { (verdict(&line.kind, &secrets.hide(agent, &line.detail))) }
        }
    }
}

fn verdict(kind: &str, detail: &str) -> Markup {
    match kind {
        "frame-in" | "handshake" if detail == "ok" => badge(Tone::Good, "ok"),
        "frame-in" if !detail.is_empty() => html! { (badge(Tone::Bad, "refused")) " " (detail) },
        "fault" => html! { (badge(Tone::Warn, "fault")) " " (detail) },
        "violation" => html! { (badge(Tone::Bad, "violation")) " " (detail) },
        _ => html! { span.hint { (detail) } },
    }
}
