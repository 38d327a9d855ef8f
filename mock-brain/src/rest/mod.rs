//! The real brain's REST API, on the agent port as there: the part of it that people script against, so that
//! one client works on both.
//!
//! Owns the paths, their methods, and who may ask: whoever logged in, and for what changes something also shows
//! the CSRF token. Everything that the real brain does not have is the control API's (`api`).

mod agents;
mod answer;
mod body;
mod commands;
mod events;
mod health;
mod login;
mod projects;
mod query;
mod stats;
mod tasks;
mod verb;
mod worker;

use std::sync::Arc;

use axum::body::Body;
use http::{Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::json;

use crate::hub::Hub;
use crate::registry::Project;
use crate::web::{AgentRequest, Peer, not_allowed};
use answer::{Answer, Refused, json};
pub(crate) use login::Logins;

/// Where everything is.
const BASE: &str = "/api/v1/";

/// What a path means. Texts are decoded.
enum Endpoint {
    Login,
    Logout,
    Me,
    SetupStatus,
    HealthDeep,
    HealthSystem,
    Projects,
    Project(String),
    /// Something of a project.
    Of(String, Part),
}

enum Part {
    Agents,
    Agent(String),
    AgentWorkers,
    Events,
    Tasks,
    Task(String, String),
    Commands,
    Command(String),
    Queues,
    Workers,
    Stats,
}

impl Endpoint {
    fn of(path: &str) -> Option<Self> {
        let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let parts: Vec<String> = path.strip_prefix(BASE)?.split('/').map(decode).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Some(match parts.as_slice() {
            ["auth", "login"] => Self::Login,
            ["auth", "logout"] => Self::Logout,
            ["auth", "me"] => Self::Me,
            ["setup", "status"] => Self::SetupStatus,
            ["health", "deep"] => Self::HealthDeep,
            ["health", "system"] => Self::HealthSystem,
            ["projects"] => Self::Projects,
            ["projects", slug] => Self::Project((*slug).to_owned()),
            ["projects", slug, rest @ ..] => Self::Of((*slug).to_owned(), Part::of(rest)?),
            _ => return None,
        })
    }

    /// The methods that it takes; a refusal names the first one, as the real brain's does.
    fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Login | Self::Logout => &["POST"],
            Self::Me | Self::SetupStatus | Self::HealthDeep | Self::HealthSystem => &["GET"],
            Self::Projects | Self::Of(_, Part::Agents) => &["GET", "POST"],
            Self::Project(_) => &["GET", "PATCH", "DELETE"],
            Self::Of(_, Part::Agent(_)) => &["DELETE"],
            Self::Of(_, Part::Command(word)) if verb::is_known(word) => &["GET", "POST"],
            Self::Of(..) => &["GET"],
        }
    }
}

impl Part {
    fn of(parts: &[&str]) -> Option<Self> {
        Some(match parts {
            ["agents"] => Self::Agents,
            ["agents", id] => Self::Agent((*id).to_owned()),
            ["agent-workers"] => Self::AgentWorkers,
            ["events"] => Self::Events,
            ["tasks"] => Self::Tasks,
            ["tasks", engine, task] => Self::Task((*engine).to_owned(), (*task).to_owned()),
            ["commands"] => Self::Commands,
            ["commands", word] => Self::Command((*word).to_owned()),
            ["queues"] => Self::Queues,
            ["workers"] => Self::Workers,
            ["stats"] => Self::Stats,
            _ => return None,
        })
    }
}

/// Whether a path is one of these.
pub(crate) fn is_here(path: &str) -> bool {
    Endpoint::of(path).is_some()
}

/// Answers a request whose path is one of these.
pub(crate) async fn answer(
    hub: &Arc<Hub>,
    peer: &Peer,
    request: AgentRequest,
    request_id: &str,
) -> Response<Body> {
    let Some(endpoint) = Endpoint::of(request.uri().path()) else {
        return crate::web::detail(StatusCode::NOT_FOUND, "Not Found");
    };
    let methods = endpoint.methods();
    if !methods.contains(&request.method().as_str()) {
        return not_allowed(methods[0]);
    }
    let answered = dispatch(hub, peer, endpoint, request).await;
    answered.unwrap_or_else(|refused| refused.response(request_id))
}

async fn dispatch(hub: &Arc<Hub>, peer: &Peer, endpoint: Endpoint, request: AgentRequest) -> Answer {
    match endpoint {
        Endpoint::Login => login::log_in(hub, peer, request).await,
        Endpoint::SetupStatus => json(StatusCode::OK, &json!({ "first_boot": false })),
        endpoint => {
            let changes = request.method() != Method::GET;
            let cookie = login::check(hub, request.headers(), changes)?;
            inside(hub, endpoint, request, &cookie).await
        }
    }
}

/// What is for those who logged in.
async fn inside(hub: &Arc<Hub>, endpoint: Endpoint, request: AgentRequest, cookie: &str) -> Answer {
    let method = request.method().clone();
    match (endpoint, method) {
        (Endpoint::Logout, _) => login::log_out(hub, cookie),
        (Endpoint::Me, _) => login::me(hub),
        (Endpoint::HealthDeep, _) => health::deep(),
        (Endpoint::HealthSystem, _) => health::system(),
        (Endpoint::Projects, Method::POST) => projects::add(hub, request).await,
        (Endpoint::Projects, _) => projects::list(hub),
        (Endpoint::Project(slug), Method::PATCH) => projects::change(hub, &slug, request).await,
        (Endpoint::Project(slug), Method::DELETE) => projects::archive(hub, &slug),
        (Endpoint::Project(slug), _) => projects::one(hub, &slug),
        (Endpoint::Of(slug, part), method) => of_project(hub, &slug, part, method, request).await,
        (Endpoint::Login | Endpoint::SetupStatus, _) => Err(Refused::nothing()),
    }
}

async fn of_project(hub: &Arc<Hub>, slug: &str, part: Part, method: Method, request: AgentRequest) -> Answer {
    let query = query::Query::of(request.uri());
    match part {
        Part::Agents if method == Method::POST => agents::mint(hub, slug, request).await,
        Part::Agents => agents::list(hub, &*active(hub, slug)?),
        Part::Agent(id) => agents::revoke(hub, slug, &id),
        Part::AgentWorkers => agents::workers(hub, &*active(hub, slug)?),
        Part::Events => events::list(hub, slug, &query).await,
        Part::Tasks => tasks::list(hub, slug, &query).await,
        Part::Task(engine, task) => tasks::one(hub, slug, (engine, task)).await,
        Part::Commands => commands::list(hub, slug, &query),
        Part::Command(verb) if method == Method::POST => commands::issue(hub, slug, &verb, request).await,
        Part::Command(id) => commands::one(hub, slug, &id),
        Part::Queues => stats::queues(hub, active(hub, slug)?).await,
        Part::Workers => stats::workers(hub, active(hub, slug)?).await,
        Part::Stats => stats::all(hub, active(hub, slug)?).await,
    }
}

/// A project that is not archived.
fn active(hub: &Hub, slug: &str) -> Result<Arc<Project>, Refused> {
    let project = hub.registry.project(slug).filter(|project| !project.about.archived);
    let message = format!("project '{slug}' not found");
    project.ok_or_else(|| Refused::not_found(message, json!({ "slug": slug })))
}
