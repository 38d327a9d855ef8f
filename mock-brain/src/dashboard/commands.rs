//! Commands sent, and what came of them.

use maud::{Markup, html};

use super::secrets::Secrets;
use super::text::{Tone, badge, none, on_demand, table, time_of_day};
use crate::commands::{CommandInfo, CommandState};
use crate::hub::Hub;

/// Most rows.
const MOST: usize = 50;

pub(super) fn section(rows: &Markup) -> Markup {
    html! {
        section aria-labelledby="commands-title" {
            h2 #commands-title { "Commands" }
            (table("commands", "Commands, newest first", &["State", "Command", "Agent", "Issued", "Result"], None, rows))
        }
    }
}

pub(super) fn rows(hub: &Hub) -> Markup {
    let commands = hub.commands.newest(MOST);
    let secrets = Secrets::of(hub, commands.iter().map(|command| command.agent_name.as_str()));
    html! {
        @for command in &commands { (row(command, &secrets)) }
        @if commands.is_empty() {
            (none("commands", 5, &html! {
                "None sent. " code { "mock-brain command send reconcile_task --param task_id=t1 --wait" } " sends one."
            }))
        }
    }
}

fn row(command: &CommandInfo, secrets: &Secrets) -> Markup {
    let tone = match command.status {
        CommandState::Completed => Tone::Good,
        CommandState::Failed | CommandState::Timeout => Tone::Bad,
        CommandState::Pending | CommandState::Dispatched => Tone::Idle,
    };
    let hide = |text: &str| secrets.hide(Some(&command.agent_name), text);
    let target = command.target.to_canonical().unwrap_or_default();
    let parameters = command.parameters.to_canonical().unwrap_or_default();
    let told = hide(&format!("{}\ntarget {target}\nparameters {parameters}", command.id));
    let result = command.result.as_ref().and_then(|result| result.to_canonical().ok());
    html! {
        tr id={ "k-" (command.id) } {
            td { (badge(tone, command.status.as_str())) }
            td.text { (on_demand(&html! { code { (hide(&command.action)) } }, &told)) }
            td.text { (command.agent_name) }
            td { (time_of_day(&command.issued_at)) }
            td.text {
                @if let Some(error) = &command.error { (hide(error)) }
                @if let Some(result) = &result { (on_demand(&html! { "result" }, &hide(result))) }
                @if command.error.is_none() && result.is_none() { "–" }
                @if command.deliveries > 1 { div.hint { "sent " (command.deliveries) " times" } }
            }
        }
    }
}
