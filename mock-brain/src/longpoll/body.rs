//! The body of `POST /api/v1/agent/events`: `{"frames": ["…", …]}`.
//!
//! Owns its shape and bounds.

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::hub::Limits;
use crate::web::{AgentRequest, closing, detail};

/// Most frames of one request.
const MAX_FRAMES: usize = 500;

#[derive(Deserialize)]
struct Frames {
    frames: Vec<String>,
}

/// How a body is refused, and as much of it as was read.
type Refused = (Box<Response<Body>>, Bytes);

/// Reads the frames.
///
/// A body that does not come is not waited for beyond the limit: the connection holds a place.
pub(super) async fn read(request: AgentRequest, limits: &Limits) -> Result<Vec<String>, Refused> {
    let is_json = is_json(request.headers());
    let most = usize::try_from(limits.body_bytes).unwrap_or(usize::MAX);
    let bytes = timeout(limits.body, to_bytes(Body::new(request.into_body()), most))
        .await
        .map_err(|_| (timed_out(), Bytes::new()))?
        .map_err(|_| {
            (Box::new(detail(StatusCode::BAD_REQUEST, "There was an error parsing the body")), Bytes::new())
        })?;
    if !is_json {
        return Err((
            unprocessable("model_attributes_type", "the body is not JSON by its content type"),
            bytes,
        ));
    }
    let frames = serde_json::from_slice::<Frames>(&bytes);
    match frames.map(|body| body.frames) {
        Ok(frames) if (1..=MAX_FRAMES).contains(&frames.len()) => Ok(frames),
        Ok(_) => Err((unprocessable("list_length", "frames holds 1 to 500 texts"), bytes)),
        Err(_) => Err((unprocessable("json_invalid", "the body is {\"frames\": [texts]}"), bytes)),
    }
}

fn timed_out() -> Box<Response<Body>> {
    Box::new(closing(detail(StatusCode::REQUEST_TIMEOUT, "Request Timeout")))
}

/// Whether a request says that its body is JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

fn unprocessable(kind: &str, message: &str) -> Box<Response<Body>> {
    let complaints: Value =
        json!([{ "type": kind, "loc": ["body", "frames"], "msg": message, "input": null }]);
    Box::new(detail(StatusCode::UNPROCESSABLE_ENTITY, complaints))
}
