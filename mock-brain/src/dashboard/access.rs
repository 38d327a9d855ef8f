//! Who may see the dashboard and act on it: whoever opened the link that `serve` printed.
//!
//! Owns the link's token, the cookie that it is exchanged for, and the token of forms. All three follow from
//! the control API's token and none of them is it, so that a browser never holds it: cookies go to every port
//! of a host. For the same reason a cookie alone does nothing: forms bear a token, and come from our own pages.

use std::sync::Arc;

use aws_lc_rs::{constant_time, hmac};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{COOKIE, ORIGIN, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{Board, page};
use crate::api::{ErrorCode, Refusal};

/// The tokens of one running brain.
pub(super) struct Access {
    key: hmac::Key,
    cookie_name: String,
    form: String,
}

impl Access {
    /// The port tells the cookies of two brains on one machine apart.
    pub(super) fn new(token: &str, port: u16) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
        let form = derived(&key, "form");
        Self { key, cookie_name: format!("mock-brain-{port}"), form }
    }

    /// What the link bears.
    pub(super) fn link_token(&self) -> String {
        derived(&self.key, "link")
    }

    /// What forms bear.
    pub(super) fn form_token(&self) -> &str {
        &self.form
    }

    /// Whether a form is one of our own pages.
    pub(super) fn is_own_form(&self, token: &str) -> bool {
        are_equal(token, &self.form)
    }

    fn is_known(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            cookies.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let expected = derived(&self.key, "cookie");
        pairs.any(|(name, value)| name == self.cookie_name && are_equal(value, &expected))
    }

    fn cookie(&self) -> String {
        format!("{}={}; HttpOnly; SameSite=Strict; Path=/", self.cookie_name, derived(&self.key, "cookie"))
    }
}

fn derived(key: &hmac::Key, purpose: &str) -> String {
    let tag = hmac::sign(key, format!("dashboard {purpose}").as_bytes());
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn are_equal(a: &str, b: &str) -> bool {
    constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}

/// Refuses what another site asks for, whoever's browser it is: a foreign Host (DNS rebinding), a foreign
/// Origin, and by Fetch Metadata everything but somebody who follows a link to the page itself.
pub(super) async fn own_pages_only(
    State(board): State<Arc<Board>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let host = match board.api.own_host(headers) {
        Ok(host) => host,
        Err(refusal) => return refusal.into_response(),
    };
    let origin = headers.get(ORIGIN).map(HeaderValue::as_bytes);
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let foreign_site = text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    let follows_link = *request.method() == Method::GET
        && request.uri().path() == "/"
        && text("sec-fetch-mode") == Some("navigate")
        && text("sec-fetch-dest") == Some("document");
    if origin.is_some_and(|origin| origin != format!("http://{host}").as_bytes())
        || (foreign_site && !follows_link)
    {
        return Refusal::new(ErrorCode::ForeignOrigin, "requests of other sites are not taken")
            .into_response();
    }
    next.run(request).await
}

/// Lets in whoever has the cookie, and exchanges the link's token for it. The redirect takes the token out
/// of the address bar.
pub(super) async fn let_in(State(board): State<Arc<Board>>, request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let given = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "token");
    if request.uri().path() == "/"
        && let Some((_, token)) = given
    {
        if are_equal(&token, &board.access.link_token()) {
            return ([(SET_COOKIE, board.access.cookie())], Redirect::to("/")).into_response();
        }
        return (StatusCode::UNAUTHORIZED, page::closed()).into_response();
    }
    if board.access.is_known(request.headers()) {
        return next.run(request).await;
    }
    (StatusCode::UNAUTHORIZED, page::closed()).into_response()
}
