//! One client's way through a brain's REST API, whichever brain it is.
//!
//! Owns the way: every endpoint that both have, with refusals, before, while and after a published agent is
//! connected. Each step's status and answer are kept for a comparison (`shapes`).

use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::program::eventually;
use crate::python_agent;
use crate::rest::Client;

/// The project that the tour is in.
const PROJECT: &str = "shop";
/// An id that nobody has.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// What was asked, with its status and answer.
pub(crate) type Step = (String, u16, Value);

/// A way through one brain.
struct Tour<'c> {
    client: &'c Client,
    steps: Vec<Step>,
}

impl Tour<'_> {
    /// Asks below `/api/v1`, keeps the answer under the request's words, and returns it.
    fn ask(&mut self, line: &str, body: Value) -> anyhow::Result<Value> {
        let (method, path) = line.split_once(' ').context("a method and a path")?;
        let (status, answer) = self.client.ask(method, &format!("/api/v1/{path}"), &body)?;
        let words = if body.is_null() { line.to_owned() } else { format!("{line} {body}") };
        self.steps.push((words, status, answer.clone()));
        Ok(answer)
    }

    fn get(&mut self, paths: &[&str]) -> anyhow::Result<()> {
        paths.iter().try_for_each(|path| self.ask(&format!("GET {path}"), Value::Null).map(drop))
    }

    fn projects(&mut self) -> anyhow::Result<()> {
        self.get(&[
            "health",
            "health/ready",
            "health/deep",
            "health/system",
            "setup/status",
            "auth/me",
            "projects",
            "nothing",
        ])?;
        for body in [
            json!({ "slug": "store", "name": "Store" }),
            json!({ "slug": "store", "name": "Store" }),
            json!({ "slug": "Bad_Slug", "name": "Store" }),
            json!({ "slug": "x", "name": "Store" }),
            json!({ "slug": 5, "name": "" }),
            json!({}),
            json!([]),
        ] {
            self.ask("POST projects", body)?;
        }
        for body in [
            json!({ "slug": PROJECT, "name": "Shop", "unknown": 1 }),
            json!({ "slug": "Bad_Slug" }),
            json!({ "name": "" }),
            json!({ "description": "d", "environment": "staging", "timezone": "Europe/Berlin" }),
            json!({}),
        ] {
            let slug = if body.get("unknown").is_some() { "store" } else { PROJECT };
            self.ask(&format!("PATCH projects/{slug}"), body)?;
        }
        self.ask("PATCH projects/store", json!({ "name": "x" }))?;
        self.ask("PUT projects/shop", json!({}))?;
        self.get(&["projects/shop", "projects/store"])
    }

    /// Makes an agent, and returns the variables that it needs, and its id.
    fn mint(&mut self, base: &str, name: &str) -> anyhow::Result<(Vec<(String, String)>, String)> {
        let minted = self.ask("POST projects/shop/agents", json!({ "name": name }))?;
        let text = |value: &Value| value.as_str().map(str::to_owned).with_context(|| minted.to_string());
        let id = text(&minted["agent"]["id"])?;
        let variables = vec![
            ("Z4J_BRAIN_URL".to_owned(), base.to_owned()),
            ("Z4J_TOKEN".to_owned(), text(&minted["token"])?),
            ("Z4J_HMAC_SECRET".to_owned(), text(&minted["hmac_secret"])?),
            ("Z4J_PROJECT_ID".to_owned(), PROJECT.to_owned()),
            ("Z4J_AGENT_NAME".to_owned(), name.to_owned()),
            ("Z4J_AGENT_ID".to_owned(), id.clone()),
        ];
        Ok((variables, id))
    }

    fn refused_agents(&mut self) -> anyhow::Result<()> {
        for name in [json!("live"), json!(""), json!(null)] {
            self.ask("POST projects/shop/agents", json!({ "name": name }))?;
        }
        self.ask("POST projects/none/agents", json!({ "name": "x" }))?;
        self.ask("POST projects/shop/agents", json!({}))?;
        for id in ["x", NOBODY] {
            self.ask(&format!("DELETE projects/shop/agents/{id}"), Value::Null)?;
        }
        Ok(())
    }

    fn lists(&mut self) -> anyhow::Result<()> {
        self.get(&[
            "projects/shop/agents",
            "projects/shop/agent-workers",
            "projects/shop/events",
            "projects/shop/events?engine=celery&task_id=",
            "projects/shop/events?engine=celery&task_id=interop-1",
            "projects/shop/events?engine=celery&task_id=interop-1&limit=0",
            "projects/shop/events?engine=celery&task_id=interop-1&limit=9999",
            "projects/shop/events?engine=celery&task_id=none&cursor=zz",
            "projects/shop/tasks",
            "projects/shop/tasks?limit=1&include_total=true",
            "projects/shop/tasks?limit=2",
            "projects/shop/events?engine=celery&task_id=interop-1&limit=1",
            "projects/shop/tasks?state=success",
            "projects/shop/tasks?state=bogus",
            "projects/shop/tasks?priority=bogus",
            "projects/shop/tasks?priority=high,normal",
            "projects/shop/tasks?since=bad",
            "projects/shop/tasks?until=bad",
            "projects/shop/tasks?since=2026-01-01T00:00:00Z",
            "projects/shop/tasks/celery/interop-1",
            "projects/shop/tasks/celery/none",
            "projects/shop/queues",
            "projects/shop/workers",
            "projects/shop/stats",
            "projects/none/stats",
        ])
    }

    fn commands(&mut self, agent: &str) -> anyhow::Result<()> {
        let cancel = "POST projects/shop/commands/cancel-task";
        let body = json!({ "agent_id": agent, "engine": "celery", "task_id": "t1", "idempotency_key": "k" });
        let issued = self.ask(cancel, body.clone())?;
        let path = format!("projects/shop/commands/{}", issued["id"].as_str().unwrap_or_default());
        let client = self.client;
        eventually("a result", || {
            let command = client.get(&format!("/api/v1/{path}"))?;
            Ok(matches!(command["status"].as_str(), Some("completed" | "failed")).then_some(()))
        })?;
        self.get(&[&path, "projects/shop/commands", "projects/shop/commands?status=completed&limit=1"])?;
        self.ask(cancel, body)?;
        for (verb, body) in [
            (
                "cancel-task",
                json!({ "agent_id": agent, "engine": "celery", "task_id": "t2", "idempotency_key": "k" }),
            ),
            ("cancel-task", json!({ "agent_id": agent, "engine": "rq", "task_id": "t1" })),
            ("cancel-task", json!({ "agent_id": NOBODY, "engine": "celery", "task_id": "t1" })),
            ("cancel-task", json!({ "agent_id": agent })),
            ("purge-queue", json!({ "agent_id": agent, "queue": "default", "force": true })),
            ("purge-queue", json!({ "agent_id": agent, "queue": "default", "observed_depth": 3 })),
            ("rate-limit", json!({ "agent_id": agent, "task_name": "x", "rate": "5/m" })),
            ("rate-limit", json!({ "agent_id": agent, "task_name": "x", "rate": "5/q" })),
            ("pool-resize", json!({ "agent_id": agent, "worker_name": "none", "delta": 0 })),
            ("restart-worker", json!({ "agent_id": agent, "worker_name": "none" })),
            ("add-consumer", json!({ "agent_id": agent, "worker_name": "none", "queue": "q" })),
            (
                "retry-task",
                json!({ "agent_id": agent, "engine": "celery", "task_id": "none", "override_args": [] }),
            ),
            (
                "retry-task",
                json!({ "agent_id": agent, "engine": "celery", "task_id": "none", "eta_seconds": 60 }),
            ),
            ("retry-task", json!({ "agent_id": agent, "engine": "celery", "task_id": "interop-1" })),
            ("no-such-thing", json!({ "agent_id": agent })),
        ] {
            self.ask(&format!("POST projects/shop/commands/{verb}"), body)?;
        }
        let nobody = format!("projects/shop/commands/{NOBODY}");
        self.get(&[&nobody, "projects/shop/commands/x", "projects/shop/commands?limit=9999"])
    }

    fn end(&mut self, agent: &str, away: &str) -> anyhow::Result<()> {
        let body = json!({ "agent_id": away, "engine": "celery", "task_id": "t1" });
        self.ask("POST projects/shop/commands/cancel-task", body)?;
        for _ in 0..2 {
            self.ask(&format!("DELETE projects/shop/agents/{agent}"), Value::Null)?;
        }
        self.get(&["projects/shop/agents"])?;
        self.ask("DELETE projects/shop", Value::Null)?;
        self.get(&["projects/shop", "projects", "projects/shop/agents"])?;
        self.ask("PATCH projects/shop", json!({ "is_active": true }))?;
        self.ask("POST projects", json!({ "slug": PROJECT, "name": "Shop" }))?;
        self.ask("POST auth/logout", Value::Null)?;
        self.get(&["auth/me", "projects"])?;
        self.ask("POST projects", json!({ "slug": "late", "name": "x" }))?;
        self.ask("POST auth/login", json!({ "email": "you@dev.local", "password": "wrong" }))?;
        self.ask("POST auth/login", json!({ "email": "you@dev.local" })).map(drop)
    }
}

/// Goes all the way. The client has logged in.
pub(crate) fn tour(client: &Client, base: &str, folder: &Path) -> anyhow::Result<Vec<Step>> {
    let mut tour = Tour { client, steps: Vec::new() };
    tour.projects()?;
    let (variables, live) = tour.mint(base, "live")?;
    tour.refused_agents()?;
    tour.lists()?;
    let mut agent = python_agent::start("1.13.0", folder, &variables, 2)?;
    eventually("the agent's events", || {
        let events = client.get("/api/v1/projects/shop/events?engine=celery&task_id=interop-1")?;
        Ok(events["items"].as_array().filter(|items| !items.is_empty()).map(drop))
    })?;
    tour.lists()?;
    tour.commands(&live)?;
    let (_, away) = tour.mint(base, "away")?;
    agent.close_stdin();
    let stopped = agent.line("the agent to stop", |line| line["stopped"] == true)?;
    ensure!(stopped["stopped"] == true, "{stopped}");
    eventually("the agent to be offline", || {
        let agents = client.get("/api/v1/projects/shop/agents")?;
        let agents = agents.as_array().context("agents")?;
        Ok(agents.iter().any(|agent| agent["state"] == "offline").then_some(()))
    })?;
    tour.get(&["projects/shop/agent-workers"])?;
    tour.end(&live, &away)?;
    Ok(tour.steps)
}
