//! The dashboard on the control address: what this brain sees, what it is to break, how agents connect to it.
//!
//! Owns the pages, and who may see them ([`access`]). The server writes every row; the script only puts rows
//! in their place. Text of agents is escaped by `html!`, which escapes everything. Must not hold rules of the
//! brain's own: it shows the parts of the hub, and acts through it.

mod access;
mod actions;
mod certificates;
mod commands;
mod connect;
mod events;
mod faults;
mod live;
mod page;
mod secrets;
mod sessions;
mod summary;
mod text;
mod violations;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::HeaderName;
use http::header::CONTENT_TYPE;
use maud::Markup;
use tokio::sync::Semaphore;

use crate::api::Api;
use crate::control::Control;
use crate::hub::Hub;
use access::Access;

/// Largest form.
const MAX_FORM: usize = 16 << 10;
/// Most pages that are kept up to date at a time.
const MAX_VIEWERS: usize = 16;

/// What the handlers share.
struct Board {
    api: Arc<Api>,
    access: Access,
    viewers: Arc<Semaphore>,
}

impl Board {
    fn hub(&self) -> &Hub {
        &self.api.hub
    }

    /// The lists, each with the id of the element whose children its rows are.
    fn lists(&self) -> [(&'static str, Markup); 6] {
        let hub = self.hub();
        [
            ("summary", summary::items(hub)),
            ("sessions", sessions::rows(hub)),
            ("violations", violations::rows(hub)),
            ("faults", faults::rows(hub, self.access.form_token())),
            ("certificates", certificates::rows(hub)),
            ("commands", commands::rows(hub)),
        ]
    }
}

/// The link that lets a browser in.
pub(crate) fn link(control: &Control) -> String {
    format!("{}/?token={}", control.url, Access::new(&control.token, 0).link_token())
}

/// The dashboard's routes.
pub(crate) fn router(api: &Arc<Api>) -> Router {
    let access = Access::new(&api.token, api.address.port());
    let viewers = Arc::new(Semaphore::new(MAX_VIEWERS));
    let board = Arc::new(Board { api: Arc::clone(api), access, viewers });
    Router::new()
        .route("/", get(page::show))
        .route("/live", get(live::follow))
        .route("/faults/set", post(actions::set_fault))
        .route("/faults/clear", post(actions::clear_faults))
        .route("/certificates/rotate", post(actions::rotate))
        .layer(middleware::from_fn_with_state(Arc::clone(&board), access::let_in))
        .route("/dashboard.css", asset("text/css; charset=utf-8", include_str!("assets/dashboard.css")))
        .route("/dashboard.js", asset("text/javascript; charset=utf-8", include_str!("assets/dashboard.js")))
        .route("/icon.svg", asset("image/svg+xml", include_str!("assets/icon.svg")))
        .layer(axum::extract::DefaultBodyLimit::max(MAX_FORM))
        .layer(middleware::from_fn_with_state(Arc::clone(&board), access::own_pages_only))
        .layer(middleware::map_response(|mut response: axum::response::Response| async move {
            for (name, value) in HEADERS {
                response
                    .headers_mut()
                    .insert(HeaderName::from_static(name), http::HeaderValue::from_static(value));
            }
            response
        }))
        .with_state(board)
}

/// Of every answer. Not `no-referrer`: browsers would send `Origin: null` with our own forms.
const HEADERS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("cache-control", "no-store"),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

fn asset(content_type: &'static str, text: &'static str) -> axum::routing::MethodRouter<Arc<Board>> {
    get(move || async move { ([(CONTENT_TYPE, content_type)], text).into_response() })
}
