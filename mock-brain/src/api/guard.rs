//! Who may use the control API.
//!
//! Owns three rules: the Host header names this API (DNS rebinding), no web page asks (cross-site requests bear
//! Origin or Sec-Fetch-Site), and the bearer token is the one of `control.json`.

use std::sync::Arc;

use aws_lc_rs::constant_time;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::ORIGIN;

use super::{Api, ErrorCode, Refusal};
use crate::verdict;

/// What a browser says of where a request comes from (Fetch Metadata Request Headers, 2.3).
const FETCH_SITE: &str = "sec-fetch-site";

pub(super) async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    match check(&api, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn check(api: &Api, headers: &HeaderMap) -> Result<(), Refusal> {
    api.own_host(headers)?;
    // A person's own request, typed or by a bookmark, is "none"; a program's has no such header.
    let is_own = |site: &[u8]| site == b"none" || site == b"same-origin";
    let cross_site = headers.get_all(FETCH_SITE).iter().any(|site| !is_own(site.as_bytes()));
    if headers.contains_key(ORIGIN) || cross_site {
        return Err(Refusal::new(ErrorCode::ForeignOrigin, "requests of web pages are not taken"));
    }
    let token = verdict::bearer(headers).unwrap_or_default();
    if constant_time::verify_slices_are_equal(token.as_bytes(), api.token.as_bytes()).is_err() {
        let message = "the bearer token is the one in control.json of the state directory";
        return Err(Refusal::new(ErrorCode::Unauthenticated, message));
    }
    Ok(())
}
