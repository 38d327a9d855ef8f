//! Which worker of an engine a command is for.
//!
//! Owns the rules: the worker is one that events name, of one engine, and only one agent told of itself of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::StatusCode;
use serde_json::json;
use z4j_protocol::Value;

use super::answer::{Refused, on_disk};
use super::verb::Wish;
use crate::hub::Hub;
use crate::registry::Project;

/// What events say of a worker's name.
#[derive(Default)]
struct Known {
    engines: BTreeSet<String>,
    /// Those whose `worker.…` events name it.
    agents: BTreeSet<String>,
}

impl Known {
    fn of(hub: &Hub, project: &str, name: &str, engine: Option<&str>) -> Result<Self, Refused> {
        let mut known = Self::default();
        hub.each_event(|event| {
            let is_named = event.payload.get("worker").and_then(Value::as_str) == Some(name);
            let is_own = event.project_id == project && engine.is_none_or(|engine| engine == event.engine);
            if is_named && is_own {
                known.engines.insert(event.engine.clone());
                if event.kind.starts_with("worker.") {
                    known.agents.insert(event.agent_id.clone());
                }
            }
        })?;
        Ok(known)
    }
}

/// The wish, with its worker's engine where it said none. Another command than one for a worker is left alone.
pub(super) async fn checked(hub: &Arc<Hub>, project: &Project, mut wish: Wish) -> Result<Wish, Refused> {
    if wish.target["type"] != "worker" {
        return Ok(wish);
    }
    let (hub, project) = (Arc::clone(hub), project.id.to_string());
    let (name, engine) = (wish.target["id"].as_str().unwrap_or_default().to_owned(), wish.engine.clone());
    let known = on_disk(move || Known::of(&hub, &project, &name, engine.as_deref())).await?;
    let mut engines = known.engines.into_iter();
    let (Some(engine), None) = (engines.next(), engines.next()) else {
        return Err(refused("the worker is not known, or is of several engines; say its engine"));
    };
    if !known.agents.iter().eq([&wish.agent.to_string()]) {
        return Err(refused("no other agent may report the worker, and this one must, in a worker event"));
    }
    wish.parameters.insert("engine".to_owned(), engine.clone().into());
    wish.engine = Some(engine);
    Ok(wish)
}

fn refused(message: &str) -> Refused {
    let message = message.to_owned();
    Refused::Domain(StatusCode::UNPROCESSABLE_ENTITY, "validation_error", message, json!({}))
}
