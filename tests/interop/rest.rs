//! The little of HTTP that the tests need: JSON over loopback, with a session's cookies or a bearer token.

use anyhow::Context;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{HeaderMap, Request, Response};

/// A client of one server.
pub(crate) struct Client {
    agent: Agent,
    base: String,
    headers: Vec<(&'static str, String)>,
}

impl Client {
    pub(crate) fn new(base: &str) -> Self {
        let configuration = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(super::program::LIMIT))
            .build();
        let base = base.trim_end_matches('/').to_owned();
        Self { agent: Agent::new_with_config(configuration), base, headers: Vec::new() }
    }

    /// A client that shows a bearer token.
    pub(crate) fn with_token(base: &str, token: &str) -> Self {
        let mut client = Self::new(base);
        client.headers.push(("authorization", format!("Bearer {token}")));
        client
    }

    /// Logs in to a real brain; later requests carry its session.
    pub(crate) fn log_in(&mut self, email: &str, password: &str) -> anyhow::Result<()> {
        let body = serde_json::json!({ "email": email, "password": password });
        let (status, headers, answer) = self.send("POST", "/api/v1/auth/login", Some(&body))?;
        anyhow::ensure!(status == 200, "login: {status} {answer}");
        let cookies: Vec<_> = headers
            .get_all("set-cookie")
            .iter()
            .filter_map(|cookie| cookie.to_str().ok()?.split(';').next().map(str::to_owned))
            .collect();
        let csrf = cookies.iter().find_map(|cookie| cookie.strip_prefix("z4j_csrf="));
        self.headers.push(("x-csrf-token", csrf.context("a csrf cookie")?.to_owned()));
        self.headers.push(("cookie", cookies.join("; ")));
        Ok(())
    }

    /// A GET that must succeed.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let (status, _, answer) = self.send("GET", path, None)?;
        anyhow::ensure!(status == 200, "GET {path}: {status} {answer}");
        Ok(answer)
    }

    /// A POST that must succeed.
    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let (status, _, answer) = self.send("POST", path, Some(body))?;
        anyhow::ensure!((200..300).contains(&status), "POST {path}: {status} {answer}");
        Ok(answer)
    }

    /// A DELETE that must succeed.
    pub(crate) fn delete(&self, path: &str) -> anyhow::Result<()> {
        let (status, _, answer) = self.send("DELETE", path, None)?;
        anyhow::ensure!((200..300).contains(&status), "DELETE {path}: {status} {answer}");
        Ok(())
    }

    /// Any request: its status and answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let (status, _, answer) = self.send(method, path, (!body.is_null()).then_some(body))?;
        Ok((status, answer))
    }

    /// Whether the server answers at all.
    pub(crate) fn is_up(&self, path: &str) -> bool {
        self.send("GET", path, None).is_ok_and(|(status, ..)| status == 200)
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(u16, HeaderMap, Value)> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let text = body.map(Value::to_string);
        let mut response: Response<ureq::Body> = match text {
            Some(text) => self.agent.run(request.header("content-type", "application/json").body(text)?)?,
            None => self.agent.run(request.body(())?)?,
        };
        let answer = response.body_mut().read_to_string()?;
        let answer = serde_json::from_str(&answer).unwrap_or(Value::String(answer));
        Ok((response.status().as_u16(), response.headers().clone(), answer))
    }
}
