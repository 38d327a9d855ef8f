//! The list of sessions: live ones, and those that ended last.

use maud::{Markup, html};

use super::secrets::Secrets;
use super::text::{Tone, badge, none, number, table, time_of_day};
use crate::hub::Hub;
use crate::sessions::{SessionInfo, Transport};

/// Most rows.
const MOST: usize = 50;

pub(super) fn section(rows: &Markup) -> Markup {
    html! {
        section aria-labelledby="sessions-title" {
            h2 #sessions-title { "Sessions" }
            (table("sessions", "Sessions", &["State", "Agent", "Worker", "Frames", "Since", "Ended"], None, rows))
        }
    }
}

pub(super) fn rows(hub: &Hub) -> Markup {
    let sessions = hub.sessions.newest(MOST);
    let live = hub.sessions.live();
    let secrets = Secrets::of(hub, sessions.iter().filter_map(|session| session.agent_name.as_deref()));
    html! {
        @for session in &sessions { (row(session, &secrets)) }
        @if live > MOST {
            tr #sessions-more { td colspan="6" { "and " (number((live - MOST) as u64)) " more live ones" } }
        }
        @if sessions.is_empty() {
            (none("sessions", 6, &html! { "No agent has come yet. " a href="#connect-title" { "Connect one" } "." }))
        }
    }
}

fn row(session: &SessionInfo, secrets: &Secrets) -> Markup {
    let hide = |text: &str| secrets.hide(session.agent_name.as_deref(), text);
    let (tone, word) = match (&session.ended_at, session.accepted) {
        (None, true) => (Tone::Live, "live"),
        (None, false) => (Tone::Warn, "greeting"),
        (Some(_), true) => (Tone::Idle, "ended"),
        (Some(_), false) => (Tone::Bad, "refused"),
    };
    let over = match session.transport {
        Transport::Websocket => "WebSocket",
        Transport::LongPoll => "long-poll",
    };
    let made_with = [session.framework.as_deref(), session.agent_version.as_deref()];
    html! {
        tr id={ "s-" (session.id) } {
            td { (badge(tone, word)) }
            td.text {
                strong { (session.agent_name.as_deref().unwrap_or("unknown")) }
                div.hint { @for part in made_with.into_iter().flatten() { (hide(part)) " " } (hide(&session.engines.join(", "))) }
            }
            td.text { (hide(session.worker_id.as_deref().unwrap_or("–"))) div.hint { (over) ", " (session.peer) } }
            td.figure { (number(session.frames)) div.hint { (number(session.heartbeats)) " heartbeats" } }
            td { (time_of_day(&session.opened_at)) }
            td.text { (end(session, hide)) }
        }
    }
}

fn end(session: &SessionInfo, hide: impl Fn(&str) -> String) -> Markup {
    let Some(at) = &session.ended_at else { return html! { "–" } };
    let by = session.closed_by.map_or("nobody", |by| by.as_str());
    html! {
        (time_of_day(at)) " by " (by)
        @if let Some(code) = session.close_code { ", " strong { (code) } }
        @if let Some(why) = session.detail.as_deref().or(session.close_reason.as_deref()) { div.hint { (hide(why)) } }
    }
}
