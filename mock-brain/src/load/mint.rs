//! Tokens made for a run: by the control API of a running mock-brain, or by any brain's REST interface.
//!
//! Owns their names. Those of a mock-brain stay and serve again; those made over REST are taken away when the
//! run is over, because a real brain would keep them for good.

use http::Method;
use serde_json::json;
use z4j_protocol::HmacSecret;

use super::identity::{Identity, Secret};
use super::rest::Rest;
use super::target::Target;
use crate::api::Items;
use crate::api::agents::EnsureAgents;
use crate::client::Client;
use crate::registry::Credentials;

/// What the names of minted agents begin with.
const PREFIX: &str = "load-";

/// Who logs in to mint.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) email: String,
    pub(crate) password: Secret,
}

/// Agents that were made over REST: the paths by which they are taken away.
#[derive(Default)]
pub(crate) struct Minted(Vec<String>);

/// Has the agents `load-1` to `load-N` made, unless they are there.
pub(crate) async fn by_control(
    client: &Client,
    count: usize,
    project: Option<&str>,
) -> Result<Vec<Identity>, String> {
    let wanted = EnsureAgents { prefix: PREFIX.to_owned(), count, project: project.map(str::to_owned) };
    let body = serde_json::to_string(&wanted).map_err(|error| error.to_string())?;
    let made = client.ask::<Items<Credentials>>(Method::PUT, "/mock/v1/agents", Some(body));
    let made = made.await.map_err(|error| error.to_string())?;
    made.items.into_iter().map(identity).collect()
}

/// What an agent of a mock-brain is configured with, for a simulated one.
pub(crate) fn identity(credentials: Credentials) -> Result<Identity, String> {
    let secret = HmacSecret::parse(&credentials.hmac_secret).map_err(|error| error.to_string())?;
    Ok(Identity { token: Secret(credentials.token), secret, project: Some(credentials.project_id) })
}

/// Mints agents over REST. What was made before an error is told all the same, to be taken away.
pub(crate) async fn by_rest(
    target: &Target,
    login: &Login,
    project: &str,
    count: usize,
    tell: impl Fn(usize),
) -> (Minted, Result<Vec<Identity>, String>) {
    let mut minted = Minted::default();
    let mut rest = Rest::new(target);
    let made = async {
        rest.log_in(&login.email, &login.password.0).await?;
        let run = crate::random::hex::<4>();
        let agents = format!("/api/v1/projects/{project}/agents");
        let mut identities = Vec::new();
        for number in 1..=count {
            let name = json!({ "name": format!("{PREFIX}{run}-{number}") });
            let (_, answer) = rest.ask(Method::POST, &agents, Some(name)).await?;
            let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
            let missing = || "the answer bears no id, token or hmac_secret".to_owned();
            minted.0.push(format!("{agents}/{}", text(&answer["agent"]["id"]).ok_or_else(missing)?));
            let token = text(&answer["token"]).ok_or_else(missing)?;
            let secret = HmacSecret::parse(&text(&answer["hmac_secret"]).ok_or_else(missing)?);
            let secret = secret.map_err(|error| error.to_string())?;
            identities.push(Identity { token: Secret(token), secret, project: Some(project.to_owned()) });
            tell(number);
        }
        Ok(identities)
    };
    let made = made.await;
    (minted, made)
}

/// Takes minted agents away; returns how many could not be.
pub(crate) async fn revoke(target: &Target, login: &Login, minted: &Minted) -> usize {
    let mut rest = Rest::new(target);
    if minted.0.is_empty() {
        return 0;
    }
    if rest.log_in(&login.email, &login.password.0).await.is_err() {
        return minted.0.len();
    }
    let mut left = 0;
    for path in &minted.0 {
        left += usize::from(rest.ask(Method::DELETE, path, None).await.is_err());
    }
    left
}
