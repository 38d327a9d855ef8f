//! Commands over REST: issue, list, look at one.
//!
//! Owns the shape of a command, which agents are refused before anything is sent, and idempotency keys.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;
use z4j_protocol::Value;

use super::answer::{Answer, Refused, json as answer, without_zone};
use super::body::Fields;
use super::events::Page;
use super::query::{Query, cursor};
use super::tasks;
use super::verb::{self, Wish};
use super::worker;
use crate::clock;
use crate::commands::{CommandError, CommandInfo, CommandState, NewCommand};
use crate::hub::Hub;
use crate::registry::{Agent, Project};
use crate::web::AgentRequest;

/// How long an answer waits for the frame to be written.
const DISPATCH: Duration = Duration::from_secs(1);

/// Parameters of a retry that are its task's.
const TOLD: [&str; 3] = ["task_name", "priority", "original_had_args"];
/// The parameter of a retry that is the clock's.
const ETA: &str = "eta";

#[derive(Serialize)]
struct Shown {
    id: String,
    project_id: String,
    agent_id: String,
    issued_by: Option<String>,
    action: String,
    target_type: String,
    target_id: Option<String>,
    payload: Value,
    status: CommandState,
    result: Option<Value>,
    error: Option<String>,
    issued_at: String,
    dispatched_at: Option<String>,
    completed_at: Option<String>,
    timeout_at: String,
}

impl Shown {
    fn of(command: CommandInfo) -> Self {
        let target = |key: &str| command.target.get(key).and_then(Value::as_str).map(str::to_owned);
        let (target_type, target_id) = (target("type").unwrap_or_default(), target("id"));
        let time = |text: Option<String>| text.as_deref().map(without_zone);
        let mut payload = command.parameters;
        if let Value::Object(parameters) = &mut payload
            && parameters.get("confirm_token").is_some()
        {
            parameters.insert("confirm_token", "<redacted>".into());
        }
        Self {
            target_type,
            target_id,
            id: command.id,
            project_id: command.project_id,
            agent_id: command.agent_id,
            issued_by: command.issued_by,
            action: command.action,
            payload,
            status: command.status,
            result: command.result.filter(|result| !result.is_null()),
            error: command.error,
            issued_at: without_zone(&command.issued_at),
            dispatched_at: time(command.dispatched_at),
            completed_at: time(command.completed_at),
            timeout_at: without_zone(&command.timeout_at),
        }
    }
}

/// A UUID of a path.
pub(super) fn uuid(text: &str, name: &str) -> Result<Uuid, Refused> {
    Uuid::try_parse(text).map_err(|error| {
        let message = format!("Input should be a valid UUID, {error}");
        Refused::invalid(vec![json!({
            "type": "uuid_parsing", "loc": ["path", name], "msg": message, "input": text,
            "ctx": { "error": error.to_string() },
        })])
    })
}

/// The newest first. A status that is none is no filter.
pub(super) fn list(hub: &Hub, slug: &str, query: &Query) -> Answer {
    let (limit, before) = (query.limit()?, query.cursor());
    let project = super::active(hub, slug)?.id.to_string();
    let states = [
        CommandState::Pending,
        CommandState::Dispatched,
        CommandState::Completed,
        CommandState::Failed,
        CommandState::Timeout,
    ];
    let status = query.get("status").and_then(|word| states.into_iter().find(|state| state.as_str() == word));
    let own = |command: &CommandInfo| {
        command.project_id == project && status.is_none_or(|status| command.status == status)
    };
    let all = (1..).zip(hub.commands.list().into_iter().filter(own)).collect::<Vec<(u64, _)>>();
    let older = all.into_iter().rev().filter(|(place, _)| before.is_none_or(|before| *place < before));
    let page: Vec<_> = older.take(limit).collect();
    // Of a full page the real brain does not know whether it is the last one.
    let is_full = page.len() == limit;
    let next_cursor = page.last().filter(|_| is_full).map(|(place, _)| cursor(*place));
    let items = page.into_iter().map(|(_, command)| Shown::of(command)).collect();
    answer(StatusCode::OK, &Page { items, next_cursor })
}

pub(super) fn one(hub: &Hub, slug: &str, id: &str) -> Answer {
    uuid(id, "command_id")?;
    let project = super::active(hub, slug)?.id.to_string();
    let command = hub.commands.get(id).filter(|command| command.project_id == project);
    let details = json!({ "command_id": id });
    answer(
        StatusCode::OK,
        &Shown::of(command.ok_or_else(|| Refused::not_found("command not found", details))?),
    )
}

/// Issues a command. One for an agent that is away is kept for it, and refused all the same, as the real brain
/// does.
pub(super) async fn issue(hub: &Arc<Hub>, slug: &str, word: &str, request: AgentRequest) -> Answer {
    let mut fields = Fields::read(request, &hub.limits).await?;
    let mut wish = verb::wish(word, &mut fields);
    fields.done()?;
    let project = super::active(hub, slug)?;
    let details = json!({ "agent_id": wish.agent });
    let agents = super::agents::of_project(hub, &project);
    let agent = agents.into_iter().find(|agent| agent.id == wish.agent);
    let agent =
        agent.ok_or_else(|| Refused::not_found("agent not found in this project", details.clone()))?;
    confirm(&project, &mut wish);
    wish = worker::checked(hub, &project, wish).await?;
    if let Some(known) = known(hub, &project, &wish)? {
        return answer(StatusCode::ACCEPTED, &Shown::of(known));
    }
    check(hub, &agent, &wish)?;
    let wish = if wish.action == "retry_task" { told_of_task(hub, &project, wish).await? } else { wish };
    let command = send(hub, &agent, wish)?;
    if !hub.sessions.presence(agent.id).is_some_and(|presence| presence.is_online(clock::now())) {
        let message = "agent is not connected".to_owned();
        return Err(Refused::Domain(StatusCode::SERVICE_UNAVAILABLE, "agent_offline", message, details));
    }
    if hub.sessions.is_connected(agent.id) {
        let id = command.id.as_str();
        let sent = || hub.commands.get(id).is_none_or(|command| command.status != CommandState::Pending);
        hub.wait_until(DISPATCH, sent).await;
    }
    let now = hub.commands.get(&command.id).unwrap_or(command);
    answer(StatusCode::ACCEPTED, &Shown::of(now))
}

/// A purge that tells how full the queue was, and is not forced, is confirmed for just that depth.
fn confirm(project: &Project, wish: &mut Wish) {
    let is_set =
        |key: &str| wish.parameters.get(key).is_some_and(|value| value.is_string() || *value == true);
    let Some(depth) = wish.observed_depth.filter(|_| !is_set("force") && !is_set("confirm_token")) else {
        return;
    };
    let queue = wish.parameters.get("queue").and_then(serde_json::Value::as_str).unwrap_or_default();
    let token = project.secret.purge_token(queue, depth);
    wish.parameters.insert("confirm_token".to_owned(), token.into());
}

/// A retry tells what is known of its task, and when it is due.
async fn told_of_task(hub: &Arc<Hub>, project: &Project, mut wish: Wish) -> Result<Wish, Refused> {
    let text = |key: &str| wish.parameters.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
    let key = text("engine").unwrap_or_default();
    let key = (key, text("task_id").unwrap_or_default());
    if let Some(task) = tasks::find(hub, project.id.to_string(), key).await? {
        let had_args = !task.args.is_null() || !task.kwargs.is_null();
        let told = [task.name.into(), task.priority.into(), had_args.into()];
        wish.parameters.extend(TOLD.map(str::to_owned).into_iter().zip(told));
    }
    if let Some(seconds) = wish.parameters.get("eta_seconds").and_then(serde_json::Value::as_i64) {
        #[expect(clippy::cast_precision_loss, reason = "microseconds of this century fit")]
        let due = hub.now().plus_seconds(seconds).unix_micros() as f64 / 1e6;
        wish.parameters.insert(ETA.to_owned(), due.into());
    }
    Ok(wish)
}

fn send(hub: &Hub, agent: &Agent, wish: Wish) -> Result<CommandInfo, Refused> {
    let key = wish.idempotency_key.clone();
    let command = NewCommand {
        agent: None,
        action: wish.action.to_owned(),
        target: Some(wish.target),
        parameters: wish.parameters,
        timeout_seconds: None,
        issued_by: Some(hub.registry.administrator().id.to_string()),
        delivery_claim_token: None,
        idempotency_key: key,
    };
    hub.send_command_to(agent, command).map_err(|error| match error {
        CommandError::Full(_) => Refused::Limited(60, "commands"),
        error => Refused::internal(&error),
    })
}

/// The command that was issued under the same key.
fn known(hub: &Hub, project: &Project, wish: &Wish) -> Result<Option<CommandInfo>, Refused> {
    let Some(key) = &wish.idempotency_key else { return Ok(None) };
    let project = project.id.to_string();
    let same = |command: &CommandInfo| {
        command.project_id == project && command.idempotency_key.as_ref() == Some(key)
    };
    let Some(found) = hub.commands.list().into_iter().find(same) else { return Ok(None) };
    let parameters = Value::from_serialize(&wish.parameters).map_err(|error| Refused::internal(&error))?;
    let is_same = found.agent_id == wish.agent.to_string()
        && found.action == wish.action
        && said(&found.parameters) == said(&parameters);
    if is_same {
        return Ok(Some(found));
    }
    let message = "idempotency_key already in use for a different command";
    Err(Refused::conflict(message, json!({ "idempotency_key": key })))
}

/// Parameters without those that a retry got from its task and the clock.
fn said(parameters: &Value) -> Vec<(&str, &Value)> {
    let members = parameters.as_object().into_iter().flat_map(z4j_protocol::Object::iter);
    members.filter(|(key, _)| !TOLD.contains(key) && *key != ETA).collect()
}

/// Whether the agent's last hello lists what the command needs. One that never said hello is not refused.
fn check(hub: &Hub, agent: &Agent, wish: &Wish) -> Result<(), Refused> {
    let greeting = hub.sessions.presence(agent.id).and_then(|presence| presence.greeting);
    let Some((greeting, engine)) = greeting.zip(wish.engine.as_ref()) else { return Ok(()) };
    let tokens = greeting.capabilities.get(engine).map(Vec::as_slice).unwrap_or_default();
    let lists = |token: &str| tokens.iter().any(|known| known == token);
    let error = if !greeting.engines.contains(engine) {
        format!("the agent does not advertise engine '{engine}': it has {:?}", greeting.engines)
    } else if !lists(wish.action) {
        format!("the agent does not advertise {} for engine '{engine}'", wish.action)
    } else if wish.action == "retry_task" && !lists("retry_by_reference_v1") {
        format!("the agent does not advertise retry_by_reference_v1 for engine '{engine}'")
    } else {
        return Ok(());
    };
    let details = json!({ "error": error, "engine": engine, "action": wish.action, "agent_id": agent.id });
    Err(Refused::Framework(StatusCode::UNPROCESSABLE_ENTITY, details))
}
