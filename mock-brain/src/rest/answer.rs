//! Answers and refusals in the real brain's two forms.
//!
//! Owns both forms, and how times are written: UTC without a zone, as the real brain on SQLite does.

use axum::body::Body;
use http::header::RETRY_AFTER;
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use z4j_protocol::Timestamp;

use crate::journal::JournalError;
use crate::web::{self, detail, domain_error};

/// An answer, or why there is none.
pub(super) type Answer = Result<Response<Body>, Refused>;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Refused {
    /// `{"error", "message", "request_id", "details"}`.
    Domain(StatusCode, &'static str, String, Value),
    /// `{"detail": …}`.
    Framework(StatusCode, Value),
    /// Too often; it may be tried again in so many seconds.
    Limited(u64, &'static str),
}

impl Refused {
    pub(super) fn not_found(message: impl Into<String>, details: Value) -> Self {
        Self::Domain(StatusCode::NOT_FOUND, "not_found", message.into(), details)
    }

    pub(super) fn conflict(message: impl Into<String>, details: Value) -> Self {
        Self::Domain(StatusCode::CONFLICT, "conflict", message.into(), details)
    }

    pub(super) fn unauthenticated(message: &str, details: Value) -> Self {
        Self::Domain(StatusCode::UNAUTHORIZED, "unauthenticated", message.to_owned(), details)
    }

    /// Complaints about parameters or a body.
    pub(super) fn invalid(complaints: Vec<Value>) -> Self {
        Self::Framework(StatusCode::UNPROCESSABLE_ENTITY, complaints.into())
    }

    /// No such path.
    pub(super) fn nothing() -> Self {
        Self::Framework(StatusCode::NOT_FOUND, "Not Found".into())
    }

    /// This program's fault, or the disk's.
    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "a request cannot be answered");
        let message = "internal server error".to_owned();
        Self::Domain(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message, json!({}))
    }

    pub(super) fn response(self, request_id: &str) -> Response<Body> {
        match self {
            Self::Domain(status, code, message, details) => {
                domain_error(status, code, &message, request_id, &details)
            }
            Self::Framework(status, value) => detail(status, value),
            Self::Limited(seconds, bucket) => {
                let text = format!("too many requests; retry in {seconds} seconds ({bucket})");
                let mut response = detail(StatusCode::TOO_MANY_REQUESTS, text);
                response.headers_mut().insert(RETRY_AFTER, seconds.into());
                response
            }
        }
    }
}

impl From<JournalError> for Refused {
    fn from(error: JournalError) -> Self {
        Self::internal(&error)
    }
}

/// A JSON answer. It is written as it stands: numbers of events may be beyond what `serde_json::Value` holds.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let text = serde_json::to_string(body).map_err(|error| Refused::internal(&error))?;
    Ok(web::with_type(status, "application/json", text))
}

/// An answer without a body.
pub(super) fn empty() -> Response<Body> {
    web::with_type(StatusCode::NO_CONTENT, "application/json", String::new())
}

/// A time.
pub(super) fn time(time: Timestamp) -> String {
    without_zone(&time.to_string())
}

/// A time in microseconds since 1970.
pub(super) fn micros(micros: i64) -> String {
    time(Timestamp::from_unix_micros(micros))
}

/// A time of ours without its `Z`.
pub(super) fn without_zone(text: &str) -> String {
    text.trim_end_matches('Z').to_owned()
}

/// Does what may wait for the disk, where others do not wait for it.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Refused::internal(&error))?
}
