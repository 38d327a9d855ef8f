//! The OpenAPI document of the control API.
//!
//! Owns the list of endpoints in it; each one is described where it is answered.

use axum::Json;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{agents, certificates, clock, commands, faults, journal, projects, seen, wait};

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "mock-brain control API",
        description = "Everything about a running mock-brain that the real brain does not have. Address and \
                       bearer token are in `control.json` in its state directory. Requests with a foreign \
                       `Host`, an `Origin` or a cross-site `Sec-Fetch-Site` are refused."
    ),
    paths(
        agents::env, agents::list, agents::add, agents::ensure, agents::revoke, agents::set_token,
        projects::list, projects::add, projects::archive, projects::restore, projects::log_in,
        commands::list, commands::send, commands::one,
        certificates::show, certificates::rotate, certificates::issue,
        faults::list, faults::set, faults::clear_all, faults::clear,
        seen::events, seen::sessions, seen::violations, seen::clear_violations, seen::reset,
        journal::page, wait::wait, wait::shutdown, clock::get, clock::set, document,
    ),
    modifiers(&Bearer),
    security(("bearer" = []))
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The document as JSON text.
///
/// # Errors
/// It cannot be written, which is a mistake of this program.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    Document::openapi().to_pretty_json().map(|text| text + "\n")
}

/// This document.
#[utoipa::path(get, path = "/mock/v1/openapi.json", operation_id = "get_openapi", tag = "brain", 
    responses((status = 200, description = "this document", body = Object)))]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
