//! Projects over REST: list, make, rename, archive.
//!
//! Owns the shape of a project. There is no way back from the archive here, as on the real brain: that is the
//! control API's.

use std::sync::Arc;

use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use super::answer::{Answer, Refused, empty, json as answer, micros};
use super::body::Fields;
use crate::hub::Hub;
use crate::registry::{Project, RegistryError};
use crate::state::{About, StateError};
use crate::web::AgentRequest;

/// The real brain's rule for slugs.
const SLUG_RULE: &str = "slug must match ^[a-z0-9][a-z0-9-]{1,48}[a-z0-9]$";
/// Most names in a list.
const MAX_NAMES: usize = 32;

#[derive(Serialize)]
struct Shown<'p> {
    id: String,
    slug: &'p str,
    name: &'p str,
    description: Option<&'p str>,
    environment: &'p str,
    timezone: &'p str,
    is_active: bool,
    default_scheduler_owner: &'p str,
    allowed_schedulers: Option<&'p [String]>,
    created_at: String,
    updated_at: String,
}

impl<'p> Shown<'p> {
    fn of(project: &'p Project) -> Self {
        let about = &project.about;
        Self {
            id: project.id.to_string(),
            slug: &project.slug,
            name: if about.name.is_empty() { &project.slug } else { &about.name },
            description: about.description.as_deref(),
            environment: &about.environment,
            timezone: &about.timezone,
            is_active: !about.archived,
            default_scheduler_owner: &about.default_scheduler_owner,
            allowed_schedulers: about.allowed_schedulers.as_deref(),
            created_at: micros(about.created_at),
            updated_at: micros(about.updated_at),
        }
    }
}

/// What a request says of a project; none is left as it is.
#[derive(Default)]
struct Said {
    slug: Option<String>,
    name: Option<String>,
    description: Option<Option<String>>,
    environment: Option<String>,
    timezone: Option<String>,
    owner: Option<String>,
    allowed: Option<Option<Vec<String>>>,
}

impl Said {
    fn read(fields: &mut Fields) -> Self {
        let said = Self {
            slug: fields.optional("slug", 2..=63),
            name: fields.optional("name", 1..=200),
            description: fields.has("description").then(|| fields.optional("description", 0..=2_000)),
            environment: word(fields, "environment"),
            timezone: fields.optional("timezone", 0..=64),
            owner: word(fields, "default_scheduler_owner"),
            allowed: None,
        };
        if !fields.has("allowed_schedulers") {
            return said;
        }
        let names = serde_json::from_value::<Vec<String>>(fields.any("allowed_schedulers")).ok();
        let names = names.filter(|names| names.len() <= MAX_NAMES);
        if names.is_none() {
            fields.complain(
                "list_type",
                "allowed_schedulers",
                "Input should be a valid list of up to 32 names",
            );
        }
        Self { allowed: Some(names), ..said }
    }

    fn put(self, about: &mut About) {
        let Self { slug: _, name, description, environment, timezone, owner, allowed } = self;
        about.name = name.unwrap_or(std::mem::take(&mut about.name));
        about.description = description.unwrap_or(about.description.take());
        about.environment = environment.unwrap_or(std::mem::take(&mut about.environment));
        about.timezone = timezone.unwrap_or(std::mem::take(&mut about.timezone));
        about.default_scheduler_owner = owner.unwrap_or(std::mem::take(&mut about.default_scheduler_owner));
        about.allowed_schedulers = allowed.unwrap_or(about.allowed_schedulers.take());
    }
}

/// A word of `^[a-z][a-z0-9_-]{0,39}$`.
fn word(fields: &mut Fields, name: &str) -> Option<String> {
    let word = fields.optional(name, 0..=40)?;
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if !(word.bytes().all(inner) && word.starts_with(|c: char| c.is_ascii_lowercase())) {
        let message = "String should match pattern '^[a-z][a-z0-9_-]{0,39}$'";
        fields.complain("string_pattern_mismatch", name, message);
    }
    Some(word)
}

pub(super) fn list(hub: &Hub) -> Answer {
    let projects = hub.registry.projects();
    let active = projects.iter().filter(|project| !project.about.archived);
    answer(StatusCode::OK, &active.map(|project| Shown::of(project)).collect::<Vec<_>>())
}

pub(super) fn one(hub: &Hub, slug: &str) -> Answer {
    answer(StatusCode::OK, &Shown::of(&*super::active(hub, slug)?))
}

pub(super) async fn add(hub: &Arc<Hub>, request: AgentRequest) -> Answer {
    let mut fields = Fields::read(request, &hub.limits).await?;
    for name in ["slug", "name"] {
        if !fields.has(name) {
            fields.missing(name);
        }
    }
    let said = Said::read(&mut fields);
    fields.done()?;
    let slug = said.slug.clone().unwrap_or_default();
    let mut about = About::default();
    said.put(&mut about);
    let project = hub.registry.add_project(&slug, about).map_err(|error| refused(&error, &slug))?;
    answer(StatusCode::CREATED, &Shown::of(&project))
}

/// Changes what is said, also of an archived project, as the real brain does.
pub(super) async fn change(hub: &Arc<Hub>, slug: &str, request: AgentRequest) -> Answer {
    let mut fields = Fields::read(request, &hub.limits).await?;
    let said = Said::read(&mut fields);
    fields.done()?;
    let new_slug = said.slug.clone();
    let told = new_slug.clone().unwrap_or_else(|| slug.to_owned());
    let changed = hub.registry.change_project(slug, |project| {
        if let Some(slug) = new_slug {
            project.slug = slug;
        }
        said.put(&mut project.about);
    });
    answer(StatusCode::OK, &Shown::of(&*changed.map_err(|error| refused(&error, &told))?))
}

pub(super) fn archive(hub: &Hub, slug: &str) -> Answer {
    let archived = hub.archive(slug).map_err(|error| refused(&error, slug))?;
    tracing::info!(project = %archived.slug, "project archived");
    Ok(empty())
}

fn refused(error: &RegistryError, slug: &str) -> Refused {
    let details: Value = json!({ "slug": slug });
    match error {
        RegistryError::NoProject(_) => Refused::not_found("project not found", details),
        RegistryError::Taken(_) => Refused::conflict("project slug already in use", details),
        RegistryError::LastProject(_) => {
            Refused::conflict("cannot archive the last remaining project", details)
        }
        RegistryError::State(StateError::Slug(_)) => Refused::conflict(SLUG_RULE, details),
        error => Refused::internal(error),
    }
}
