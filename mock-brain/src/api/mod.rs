//! The control API: `/mock/v1/…` on an address of its own, for the other subcommands and any test suite.
//!
//! Owns the routes and what all bodies share. Must not be reachable on the agent port, where the real brain's
//! REST API is (`rest`).

#![expect(unused_qualifications, reason = "utoipa's macros qualify what they expand to")]

pub(crate) mod agents;
pub(crate) mod certificates;
pub(crate) mod clock;
pub(crate) mod commands;
mod error;
pub(crate) mod faults;
mod guard;
pub(crate) mod journal;
mod openapi;
pub(crate) mod projects;
pub(crate) mod seen;
pub(crate) mod wait;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::routing::{delete, get, post};
use axum::{Router, middleware};
use http::HeaderMap;
use http::header::HOST;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use utoipa::ToSchema;

use crate::control::reachable;
use crate::dashboard;
use crate::hub::Hub;
pub(crate) use error::{ApiError, ErrorCode, Refusal};
pub use openapi::openapi_json;

/// Largest request body.
const MAX_BODY: usize = 64 << 10;

/// A list with a name, as every list here is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Items<T> {
    /// The list.
    pub(crate) items: Vec<T>,
}

/// The API of one brain.
pub(crate) struct Api {
    pub(crate) hub: Arc<Hub>,
    pub(crate) token: String,
    /// The API's own address, which the Host header must name.
    pub(crate) address: SocketAddr,
    pub(crate) brain_url: String,
    pub(crate) ca_file: Option<String>,
    pub(crate) state_dir: PathBuf,
    /// Told when the brain is to end.
    pub(crate) shutdown: Arc<Notify>,
}

impl Api {
    /// The Host header, if it names this address.
    pub(crate) fn own_host<'h>(&self, headers: &'h HeaderMap) -> Result<&'h str, Refusal> {
        let mut hosts = headers.get_all(HOST).iter();
        let only = hosts.next().filter(|_| hosts.next().is_none());
        let host = only.and_then(|value| value.to_str().ok()).unwrap_or_default();
        if is_own(self.address, host) {
            return Ok(host);
        }
        let message = format!("this API is reached as {}", reachable(self.address));
        Err(Refusal::new(ErrorCode::ForeignHost, message))
    }
}

/// Whether a Host header names the address that is listened on. Where that is every address of the machine, any
/// will do, behind a forwarded port too: a name can be pointed here (DNS rebinding), an address cannot.
fn is_own(address: SocketAddr, host: &str) -> bool {
    let by_address = || host.parse::<SocketAddr>().is_ok_and(|named| named.port() == address.port());
    host == address.to_string()
        || host == format!("localhost:{}", address.port())
        || address.ip().is_unspecified() && by_address()
}

/// Serves until the brain stops.
pub(crate) async fn serve(api: Api, listener: TcpListener) -> io::Result<()> {
    let api = Arc::new(api);
    let hub = Arc::clone(&api.hub);
    let stopping = async move { hub.stopping().await };
    let router = dashboard::router(&api).merge(router(api));
    axum::serve(listener, router).with_graceful_shutdown(stopping).await
}

fn router(api: Arc<Api>) -> Router {
    let unknown = || async { Refusal::new(ErrorCode::NotFound, "no such endpoint") };
    let wrong_method =
        || async { Refusal::new(ErrorCode::MethodNotAllowed, "this endpoint does not take that method") };
    Router::new()
        .route("/mock/v1/env", get(agents::env))
        .route("/mock/v1/agents", get(agents::list).post(agents::add).put(agents::ensure))
        .route("/mock/v1/agents/{name}", delete(agents::revoke))
        .route("/mock/v1/agents/{name}/token", post(agents::set_token))
        .route("/mock/v1/projects", get(projects::list).post(projects::add))
        .route("/mock/v1/projects/{slug}/archive", post(projects::archive))
        .route("/mock/v1/projects/{slug}/restore", post(projects::restore))
        .route("/mock/v1/login", post(projects::log_in))
        .route("/mock/v1/commands", get(commands::list).post(commands::send))
        .route("/mock/v1/commands/{id}", get(commands::one))
        .route("/mock/v1/faults", get(faults::list).post(faults::set).delete(faults::clear_all))
        .route("/mock/v1/faults/{name}", delete(faults::clear))
        .route("/mock/v1/events", get(seen::events))
        .route("/mock/v1/sessions", get(seen::sessions))
        .route("/mock/v1/violations", get(seen::violations).delete(seen::clear_violations))
        .route("/mock/v1/reset", post(seen::reset))
        .route("/mock/v1/journal", get(journal::page))
        .route("/mock/v1/certificates", get(certificates::show).post(certificates::issue))
        .route("/mock/v1/certificates/rotate", post(certificates::rotate))
        .route("/mock/v1/wait", post(wait::wait))
        .route("/mock/v1/clock", get(clock::get).put(clock::set))
        .route("/mock/v1/shutdown", post(wait::shutdown))
        .route("/mock/v1/openapi.json", get(openapi::document))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), guard::guard))
        .with_state(api)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_the_address_that_is_listened_on() {
        let cases = [
            ("127.0.0.1:7", "127.0.0.1:7", true),
            ("127.0.0.1:7", "localhost:7", true),
            ("127.0.0.1:7", "127.0.0.2:7", false),
            ("0.0.0.0:7", "127.0.0.1:7", true),
            ("0.0.0.0:7", "192.0.2.1:7", true),
            ("[::]:7", "[2001:db8::1]:7", true),
            ("[::]:7", "127.0.0.1:7", true),
            ("0.0.0.0:7", "localhost:7", true),
            ("0.0.0.0:7", "192.0.2.1:8", false),
            ("0.0.0.0:7", "192.0.2.1", false),
            ("0.0.0.0:7", "evil.example:7", false),
            ("0.0.0.0:7", "127.0.0.1.:7", false),
            ("0.0.0.0:7", "", false),
        ];
        for (address, host, expected) in cases {
            assert_eq!(is_own(address.parse().unwrap(), host), expected, "{address} {host}");
        }
    }
}
