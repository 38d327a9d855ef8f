//! Who is logged in: the one user there is.
//!
//! Owns the sessions, in memory, and the bound on attempts. Must not log a password, cookie or token.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use aws_lc_rs::constant_time;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::answer::{Answer, Refused, empty, json, micros};
use super::body::Fields;
use crate::hub::Hub;
use crate::lock::lock;
use crate::random;
use crate::state::Administrator;
use crate::web::{AgentRequest, Peer};

/// The cookies. Those of the real brain in production have names and flags that need TLS.
const SESSION_COOKIE: &str = "z4j_session";
const CSRF_COOKIE: &str = "z4j_csrf";
const CSRF_HEADER: &str = "x-csrf-token";
/// How long a cookie lives, in seconds.
const MAX_AGE: u64 = 604_800;
/// Most logins at a time; the oldest goes first.
const MAX_LOGINS: usize = 1_000;
/// Attempts of one address within the window; those that were refused for it do not count.
const MAX_ATTEMPTS: usize = 20;
const WINDOW: Duration = Duration::from_secs(60);
/// Most addresses that are counted.
const MAX_ADDRESSES: usize = 10_000;

/// A login: what a browser keeps in its cookies.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) session: String,
    pub(crate) csrf: String,
}

impl Login {
    /// The Cookie header of a browser that has it.
    pub(crate) fn cookie_header(&self) -> String {
        format!("{SESSION_COOKIE}={}; {CSRF_COOKIE}={}", self.session, self.csrf)
    }
}

#[derive(Default)]
struct Inner {
    logins: VecDeque<Login>,
    attempts: HashMap<IpAddr, VecDeque<Instant>>,
}

/// Who is logged in to one brain.
#[derive(Default)]
pub(crate) struct Logins(Mutex<Inner>);

impl Logins {
    /// Logs in.
    pub(crate) fn open(&self) -> Login {
        let text = || URL_SAFE_NO_PAD.encode(random::bytes::<32>());
        let login = Login { session: text(), csrf: text() };
        let mut inner = lock(&self.0);
        if inner.logins.len() >= MAX_LOGINS {
            inner.logins.pop_front();
        }
        inner.logins.push_back(login.clone());
        login
    }

    fn find(&self, session: &str) -> Option<Login> {
        lock(&self.0).logins.iter().find(|login| is_same(&login.session, session)).cloned()
    }

    fn close(&self, session: &str) {
        lock(&self.0).logins.retain(|login| !is_same(&login.session, session));
    }

    /// Counts an attempt; if there were too many, tells in how many seconds there may be one.
    fn attempt(&self, address: IpAddr, now: Instant) -> Result<(), u64> {
        let mut inner = lock(&self.0);
        if inner.attempts.len() >= MAX_ADDRESSES {
            inner.attempts.retain(|_, times| times.back().is_some_and(|last| now - *last < WINDOW));
        }
        let room = inner.attempts.len() < MAX_ADDRESSES || inner.attempts.contains_key(&address);
        if !room {
            return Err(WINDOW.as_secs());
        }
        let times = inner.attempts.entry(address).or_default();
        while times.front().is_some_and(|first| now - *first >= WINDOW) {
            times.pop_front();
        }
        match times.front() {
            Some(first) if times.len() >= MAX_ATTEMPTS => Err((WINDOW - (now - *first)).as_secs().max(1)),
            _ => {
                times.push_back(now);
                Ok(())
            }
        }
    }
}

fn is_same(one: &str, other: &str) -> bool {
    constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

pub(super) async fn log_in(hub: &Hub, peer: &Peer, request: AgentRequest) -> Answer {
    let attempt = hub.logins.attempt(peer.address.ip(), Instant::now());
    attempt.map_err(|seconds| Refused::Limited(seconds, "login"))?;
    let mut fields = Fields::read(request, &hub.limits).await?;
    let (email, password) = (fields.text("email", 3..=320), fields.text("password", 1..=256));
    fields.flag("remember_me");
    fields.done()?;
    let administrator = hub.registry.administrator();
    let is_right = email.trim().eq_ignore_ascii_case(&administrator.email);
    if !is_same(&password, &administrator.password) || !is_right {
        let why = "invalid_credentials";
        return Err(Refused::unauthenticated(why, json!({ "reason": why })));
    }
    let login = hub.logins.open();
    let body = json!({
        "user": user(&administrator), "mfa_required": false, "mfa_enrollment_required": false,
        "mfa_enrollment_deadline": null,
    });
    let mut response = json(StatusCode::OK, &body)?;
    let cookies = [
        format!("{SESSION_COOKIE}={}; HttpOnly; Max-Age={MAX_AGE}; Path=/; SameSite=lax", login.session),
        format!("{CSRF_COOKIE}={}; Max-Age={MAX_AGE}; Path=/; SameSite=strict", login.csrf),
    ];
    for cookie in cookies.iter().filter_map(|cookie| HeaderValue::from_str(cookie).ok()) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

pub(super) fn log_out(hub: &Hub, session: &str) -> Answer {
    hub.logins.close(session);
    let mut response = empty();
    for name in [SESSION_COOKIE, CSRF_COOKIE] {
        let cookie = format!("{name}=\"\"; Max-Age=0; Path=/; SameSite=lax");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
    Ok(response)
}

pub(super) fn me(hub: &Hub) -> Answer {
    let mut body = user(&hub.registry.administrator());
    let member = |project: &std::sync::Arc<crate::registry::Project>| json!({ "project_id": project.id, "project_slug": project.slug, "role": "admin" });
    let active = hub.registry.projects().into_iter().filter(|project| !project.about.archived);
    body["memberships"] = active.map(|project| member(&project)).collect();
    json(StatusCode::OK, &body)
}

fn user(administrator: &Administrator) -> Value {
    let Administrator { id, email, created_at, .. } = administrator;
    json!({
        "id": id, "email": email, "first_name": null, "last_name": null,
        "display_name": email.split('@').next(), "is_admin": true, "timezone": "UTC",
        "created_at": micros(*created_at),
    })
}

/// Whether a request is of somebody who logged in, and, where it changes something, shows the CSRF token.
/// Returns the session's cookie.
pub(super) fn check(hub: &Hub, headers: &HeaderMap, changes: bool) -> Result<String, Refused> {
    let login = cookie(headers, SESSION_COOKIE).and_then(|session| hub.logins.find(session));
    let Some(login) = login else {
        let csrf = if changes { " for csrf check" } else { "" };
        return Err(Refused::unauthenticated(&format!("authentication required{csrf}"), json!({})));
    };
    let shown = headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kept = cookie(headers, CSRF_COOKIE).unwrap_or_default();
    if changes && !(is_same(shown, &login.csrf) && is_same(kept, &login.csrf)) {
        let details = json!({ "reason": "csrf_mismatch" });
        return Err(Refused::Domain(
            StatusCode::FORBIDDEN,
            "forbidden",
            "csrf token mismatch".to_owned(),
            details,
        ));
    }
    Ok(login.session)
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"')).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_bounded_by_address() {
        let logins = Logins::default();
        let [one, other]: [IpAddr; 2] = [[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
        let begun = Instant::now();
        for _ in 0..MAX_ATTEMPTS {
            assert_eq!(logins.attempt(one, begun), Ok(()));
        }
        assert_eq!(logins.attempt(one, begun + Duration::from_secs(20)), Err(40));
        assert_eq!(logins.attempt(other, begun), Ok(()));
        assert_eq!(logins.attempt(one, begun + WINDOW), Ok(()));
    }

    #[test]
    fn logins_are_bounded() {
        let logins = Logins::default();
        let first = logins.open();
        assert!(logins.find(&first.session).is_some());
        for _ in 0..MAX_LOGINS {
            logins.open();
        }
        assert!(logins.find(&first.session).is_none());
        assert!(logins.find("").is_none());
    }
}
