//! The page as a whole.
//!
//! Owns its frame and the order of its sections. It is complete as it is sent; `live` only keeps it so.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;

use super::{Board, certificates, commands, connect, events, faults, live, sessions, violations, wire};
use crate::api::Refusal;

/// What the page is asked for.
#[derive(Default, Deserialize)]
pub(super) struct Asked {
    /// Whom the commands to connect are for.
    agent: Option<String>,
}

/// Why a form did nothing.
pub(super) struct Notice<'n> {
    pub(super) why: &'n str,
    /// The fault as it was written, to be mended.
    pub(super) spec: &'n str,
}

pub(super) async fn show(
    State(board): State<Arc<Board>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    match asked {
        Ok(Query(asked)) => render(&board, &asked, None).await,
        Err(error) => Refusal::unreadable(error.body_text()).into_response(),
    }
}

/// The page now.
pub(super) async fn render(board: &Arc<Board>, asked: &Asked, notice: Option<Notice<'_>>) -> Response {
    match body(board, asked, notice).await {
        Ok(body) => Html(body.into_string()).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn body(board: &Arc<Board>, asked: &Asked, notice: Option<Notice<'_>>) -> Result<Markup, Refusal> {
    let hub = board.hub();
    let agent = hub.registry.named(asked.agent.as_deref())?;
    // The number comes first: what is noted meanwhile comes over `live` too, and finds its row.
    let seen = live::seen(&board.api.hub).await?;
    let [summary, sessions, violations, faults, certificates, commands] = board.lists().map(|(_, rows)| rows);
    let form = board.access.form_token();
    let spec = notice.as_ref().map_or("", |notice| notice.spec);
    let content = html! {
        (head(board))
        main #main {
            @if let Some(notice) = &notice { p.notice role="alert" { strong { "Not done. " } (notice.why) } }
            dl #summary { (summary) }
            div.columns {
                div {
                    (sessions::section(&sessions))
                    (events::section(&seen.events, hub))
                    (wire::section(&seen.lines, &seen.secrets))
                    (violations::section(&violations))
                    (commands::section(&commands))
                }
                div {
                    (connect::section(board, &agent))
                    (faults::section(&faults, form, spec))
                    (certificates::section(hub, &certificates, form))
                }
            }
        }
        footer { p { "Times are UTC. " code { "mock-brain tail" } " follows the same in a terminal." } }
    };
    Ok(document("mock-brain", &content, Some(seen.after)))
}

fn head(board: &Board) -> Markup {
    let hub = board.hub();
    html! {
        a.skip href="#main" { "Skip to the content" }
        header {
            img src="/icon.svg" alt="" width="28" height="28";
            h1 { "mock-brain" }
            p {
                code { (board.api.brain_url) }
                span.hint { " as release " (hub.release.to_string()) @if hub.violations.is_strict() { ", strict" } }
            }
            p #live role="status" data-state="still" { "As of now: reload for more" }
            button #pause type="button" hidden aria-pressed="false" { "Pause" }
        }
    }
}

/// For those who have not come by the link.
pub(super) fn closed() -> Html<String> {
    let content = html! {
        main.closed #main {
            img src="/icon.svg" alt="" width="48" height="48";
            h1 { "mock-brain" }
            p { "This dashboard opens by the link that " code { "mock-brain serve" } " printed. This prints it again:" }
            pre { "mock-brain dashboard" }
            p { "If you have just come by that link, " a href="/" { "go on" } "." }
        }
    };
    Html(document("mock-brain: closed", &content, None).into_string())
}

fn document(title: &str, content: &Markup, after: Option<u64>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                link rel="icon" href="/icon.svg";
                link rel="stylesheet" href="/dashboard.css";
                @if after.is_some() { script src="/dashboard.js" defer {} }
            }
            body data-after=[after] { (content) }
        }
    }
}
