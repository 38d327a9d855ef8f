//! The other subcommands' way to a running `serve`.
//!
//! Owns one request and its answer, with a time limit. Must not print.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::api::ApiError;
use crate::control::Control;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer: all events of a full store.
const MAX_ANSWER: usize = 4 << 30;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(
        "no mock-brain is running on state directory {0:?}; start one with `mock-brain serve --state-dir {0:?}`"
    )]
    NotRunning(PathBuf),
    #[error("the mock-brain of {dir:?} cannot be asked: {error}; is this its user?")]
    Unreadable { dir: PathBuf, error: io::Error },
    #[error("the mock-brain of {dir:?} did not answer: {why}")]
    NoAnswer { dir: PathBuf, why: String },
    #[error("{}", .0.message)]
    Refused(ApiError),
}

/// A running `serve`.
pub(crate) struct Client {
    dir: PathBuf,
    control: Control,
}

impl Client {
    /// Finds the `serve` of a state directory.
    pub(crate) fn find(dir: &Path) -> Result<Self, ClientError> {
        let control = Control::read(dir)
            .map_err(|error| ClientError::Unreadable { dir: dir.to_owned(), error })?
            .ok_or_else(|| ClientError::NotRunning(dir.to_owned()))?;
        Ok(Self { dir: dir.to_owned(), control })
    }

    /// Where it is, and what it takes to use it.
    pub(crate) const fn control(&self) -> &Control {
        &self.control
    }

    /// Asks and reads the answer.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<T, ClientError> {
        let (status, bytes) = timeout(TIMEOUT, self.exchange(method, path, body))
            .await
            .map_err(|_| self.no_answer("it took too long"))??;
        if !status.is_success() {
            let refusal: Option<ApiError> = serde_json::from_slice(&bytes).ok();
            return Err(match refusal {
                Some(refusal) => ClientError::Refused(refusal),
                None => self.no_answer(format!("HTTP status {status}")),
            });
        }
        serde_json::from_slice(&bytes).map_err(|error| self.no_answer(error))
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is what map_err calls with an error")]
    fn no_answer(&self, why: impl ToString) -> ClientError {
        ClientError::NoAnswer { dir: self.dir.clone(), why: why.to_string() }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<(http::StatusCode, bytes::Bytes), ClientError> {
        let address = self.control.url.strip_prefix("http://").unwrap_or_default();
        let socket = TcpStream::connect(address).await.map_err(|error| match error.kind() {
            // It was killed, and control.json stayed.
            io::ErrorKind::ConnectionRefused => ClientError::NotRunning(self.dir.clone()),
            _ => self.no_answer(error),
        })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(socket)).await.map_err(|error| self.no_answer(error))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, address)
            .header(AUTHORIZATION, format!("Bearer {}", self.control.token))
            .header(CONTENT_TYPE, "application/json")
            .body(body.map_or_else(Body::empty, Body::from))
            .map_err(|error| self.no_answer(error))?;
        let response = sender.send_request(request).await.map_err(|error| self.no_answer(error))?;
        let status = response.status();
        let body = to_bytes(Body::new(response.into_body()), MAX_ANSWER).await;
        Ok((status, body.map_err(|error| self.no_answer(error))?))
    }
}
