//! Answers as the real brain writes them: bodies, refusals, and the headers that go with them.
//!
//! Owns their forms. Must not decide which request gets which.

use axum::body::Body;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::proxy;

/// Marks a response that bears no request id.
pub(super) const NO_REQUEST_ID: HeaderName = HeaderName::from_static("x-mock-brain-no-request-id");

pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(crate) fn text(status: StatusCode, body: &str) -> Response<Body> {
    with_type(status, "text/plain", body.to_owned())
}

pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    with_type(status, "application/json", body.to_string())
}

/// A refusal of the framework's kind: `{"detail": …}`.
pub(crate) fn detail(status: StatusCode, detail: impl Into<Value>) -> Response<Body> {
    json_response(status, &json!({ "detail": detail.into() }))
}

/// A refusal of the brain's own kind.
pub(crate) fn domain_error(
    status: StatusCode,
    code: &str,
    message: &str,
    id: &str,
    details: &Value,
) -> Response<Body> {
    let body = json!({ "error": code, "message": message, "request_id": id, "details": details });
    json_response(status, &body)
}

pub(super) fn not_found() -> Response<Body> {
    detail(StatusCode::NOT_FOUND, "Not Found")
}

pub(crate) fn not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

pub(super) fn too_large(most: u64) -> Response<Body> {
    let body = json!({
        "error": "payload_too_large",
        "message": format!("request body exceeds {most} bytes"),
        "request_id": null,
        "details": { "reason": "content_length_exceeded" },
    });
    let mut response = json_response(StatusCode::PAYLOAD_TOO_LARGE, &body);
    response.headers_mut().insert(NO_REQUEST_ID, HeaderValue::from_static("1"));
    closing(response)
}

/// The metrics are for those with a token of their own, and none is emulated.
pub(super) fn unauthenticated() -> Response<Body> {
    let mut response = detail(StatusCode::UNAUTHORIZED, "Unauthorized");
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Any other page is the dashboard's on the real brain: an agent with a wrong base path sees HTML and 200.
pub(super) fn dashboard() -> Response<Body> {
    let page = "<!doctype html><html><head><title>z4j (mock)</title></head><body>mock-brain: the real \
                brain shows its dashboard here.</body></html>\n";
    with_type(StatusCode::OK, "text/html; charset=utf-8", page.to_owned())
}

/// Says that the connection ends with this answer.
pub(crate) fn closing(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

pub(crate) fn retry_later(mut response: Response<Body>, seconds: Option<u32>) -> Response<Body> {
    proxy::told(&mut response, seconds, None);
    response
}
