//! The little of a brain's REST interface that minting takes: log in, make an agent, take it away.
//!
//! Owns one connection at a time, and the session's cookies, which no error shows.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::target::Target;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer.
const MAX_ANSWER: usize = 1 << 20;

/// A brain's REST interface.
pub(super) struct Rest<'t> {
    target: &'t Target,
    connection: Option<SendRequest<Body>>,
    cookies: String,
    csrf: String,
}

impl<'t> Rest<'t> {
    pub(super) fn new(target: &'t Target) -> Self {
        Self { target, connection: None, cookies: String::new(), csrf: String::new() }
    }

    /// Logs in; later requests carry the session.
    pub(super) async fn log_in(&mut self, email: &str, password: &str) -> Result<(), String> {
        let body = json!({ "email": email, "password": password });
        let (headers, _) = self.ask(Method::POST, "/api/v1/auth/login", Some(body)).await?;
        let cookies: Vec<&str> = headers
            .get_all(SET_COOKIE)
            .iter()
            .filter_map(|cookie| cookie.to_str().ok()?.split(';').next())
            .collect();
        // In production the names bear a prefix (reference: `__Host-`).
        let csrf = cookies
            .iter()
            .filter_map(|cookie| cookie.split_once('='))
            .find_map(|(name, value)| name.trim_start_matches("__Host-").eq("z4j_csrf").then_some(value));
        self.csrf = csrf.ok_or("the answer to the login bears no csrf cookie")?.to_owned();
        self.cookies = cookies.join("; ");
        Ok(())
    }

    /// Asks, and takes a refusal for an error that names what was asked.
    pub(super) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(HeaderMap, Value), String> {
        let what = format!("{method} {path}");
        let asked = timeout(TIMEOUT, self.exchange(method, path, body)).await;
        let (status, headers, bytes) = asked
            .map_err(|_| format!("{what}: no answer within {TIMEOUT:?}"))?
            .map_err(|error| format!("{what}: {error}"))?;
        let answer = serde_json::from_slice::<Value>(&bytes).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok((headers, answer));
        }
        let said = answer["message"].as_str().or(answer["detail"].as_str()).unwrap_or_default();
        let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
        Err(format!("{what}: {status} {said}").trim_end().to_owned())
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, HeaderMap, bytes::Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let mut request = Request::builder()
            .method(method)
            .uri(self.target.path(path))
            .header(HOST, self.target.authority());
        if !self.cookies.is_empty() {
            request = request.header(COOKIE, &self.cookies).header("x-csrf-token", &self.csrf);
        }
        let body = match body {
            None => Body::empty(),
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
        };
        let response = self.connection().await?.send_request(request.body(body)?).await?;
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(Body::new(body), MAX_ANSWER).await?;
        Ok((parts.status, parts.headers, bytes))
    }

    async fn connection(
        &mut self,
    ) -> Result<&mut SendRequest<Body>, Box<dyn std::error::Error + Send + Sync>> {
        let usable = match &mut self.connection {
            Some(connection) => connection.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            let stream = self.target.connect().await?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            self.connection = None;
            return Ok(self.connection.insert(sender));
        }
        self.connection.as_mut().ok_or_else(|| "no connection".into())
    }
}
