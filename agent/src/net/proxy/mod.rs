//! The way through an HTTP proxy: which one, whether at all, and the tunnel.
//!
//! Owns the reading of `HTTPS_PROXY` and its kin, and CONNECT (RFC 9110, 9.3.6). Credentials leave it only in
//! the request to the proxy. It must not word a failure for people beyond a fragment.

mod bypass;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpStream;
use url::{Host, Url};

use super::Break;
use super::budget::Budget;
use super::http::{self, Request};
use crate::config::BrainUrl;
use crate::environment::Environment;
use crate::transport::USER_AGENT;
use crate::words::{printable, public_url};

/// Where a proxy of HTTP listens if its URL does not say.
const DEFAULT_PORT: u16 = 80;

/// A proxy on the way to the brain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// The variable that names it.
    pub(crate) variable: String,
    host: Host<String>,
    port: u16,
    credentials: Option<Credentials>,
}

/// The value of `Proxy-Authorization`.
#[derive(Clone, PartialEq, Eq)]
struct Credentials(String);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// A variable that names no proxy that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {problem}")]
pub(crate) struct ProxyError {
    /// The variable.
    pub(crate) variable: String,
    /// What it holds, without what may be secret.
    pub(crate) value: String,
    /// What is wrong with it.
    pub(crate) problem: &'static str,
}

/// Why there is no tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The proxy answered something else than 2xx.
    Answered {
        /// The status code.
        status: u16,
        /// The words after it.
        reason: String,
        /// The schemes in which it wants to be shown credentials.
        schemes: Vec<String>,
    },
    /// What came is no answer of a proxy; this is how it began.
    NotHttp(String),
    /// The connection to the proxy ended.
    Broken(Break),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { status, reason, .. } if reason.is_empty() => write!(f, "it answers {status}"),
            Self::Answered { status, reason, .. } => write!(f, "it answers {status} {reason}"),
            Self::NotHttp(head) => write!(f, "what it answers is not HTTP: {head:?}"),
            Self::Broken(broken) => write!(f, "{broken}"),
        }
    }
}

/// Chooses the proxy for a brain, by the rules of curl: `https_proxy` or `HTTPS_PROXY` for https; for http
/// `http_proxy` in lower case alone (`HTTP_PROXY` is a header of a request in CGI); then `all_proxy`. What
/// `no_proxy` names is reached directly, and so is this machine.
///
/// # Errors
/// The variable's value is no proxy that is spoken here.
pub(crate) fn choose(environment: &Environment, url: &BrainUrl) -> Result<Option<Proxy>, ProxyError> {
    let Some(host) = url.host() else { return Ok(None) };
    let Some((variable, value)) = first(environment, names(url.is_secure())) else { return Ok(None) };
    let direct = first(environment, &EXCEPTIONS).map(|(_, list)| list).unwrap_or_default();
    if bypass::is_local(host) || bypass::matches(&direct, host, url.port()) {
        return Ok(None);
    }
    Proxy::parse(variable, value.trim()).map(Some)
}

/// Where exceptions are named.
const EXCEPTIONS: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// Where a proxy is named; the first that is set counts.
const fn names(is_secure: bool) -> &'static [&'static str] {
    if is_secure {
        &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    } else {
        &["http_proxy", "all_proxy", "ALL_PROXY"]
    }
}

fn first(environment: &Environment, names: &[&'static str]) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| Some((*name, environment.get(name)?.to_string_lossy().into_owned())))
}

/// The variables that have an effect on the way to a brain, with their values, without what may be secret in
/// them.
pub(crate) fn effective(environment: &Environment, is_secure: bool) -> Vec<(&'static str, String)> {
    let Some((variable, value)) = first(environment, names(is_secure)) else { return Vec::new() };
    let mut rows = vec![(variable, public_url(value.trim()))];
    rows.extend(first(environment, &EXCEPTIONS));
    rows
}

impl Proxy {
    fn parse(variable: &str, value: &str) -> Result<Self, ProxyError> {
        let refused =
            |problem| ProxyError { variable: variable.to_owned(), value: public_url(value), problem };
        let scheme = value.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let text = match scheme.as_deref() {
            None => format!("http://{value}"),
            Some("http") => value.to_owned(),
            Some("https") => {
                return Err(refused("a proxy that is reached over TLS is not supported, only http://"));
            }
            Some("socks" | "socks4" | "socks4a" | "socks5" | "socks5h") => {
                return Err(refused("a SOCKS proxy is not supported, only http://"));
            }
            Some(_) => return Err(refused("it is no URL of a proxy, such as http://proxy.example:3128")),
        };
        let url = Url::parse(&text).map_err(|_| refused("it is no URL such as http://proxy.example:3128"))?;
        let host = url.host().ok_or_else(|| refused("it names no host"))?.to_owned();
        Ok(Self {
            variable: variable.to_owned(),
            host,
            port: url.port().unwrap_or(DEFAULT_PORT),
            credentials: Credentials::of(&url),
        })
    }

    /// The host as text, without brackets.
    pub(crate) fn host_text(&self) -> String {
        match &self.host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        }
    }

    /// The port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Host and port for sentences.
    pub(crate) fn endpoint(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether it is shown credentials.
    pub(crate) const fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// Asks the proxy at the other end of a connection for a tunnel to the brain.
    ///
    /// # Errors
    /// It gives none.
    pub(crate) async fn connect(
        &self,
        mut stream: TcpStream,
        brain: &BrainUrl,
        budget: &Budget,
    ) -> Result<TcpStream, Failure> {
        let mut headers = vec![("User-Agent", USER_AGENT.to_owned())];
        if let Some(Credentials(value)) = &self.credentials {
            headers.push(("Proxy-Authorization", value.clone()));
        }
        let target = brain.endpoint();
        let request = Request { method: "CONNECT", target: target.clone(), headers, body: None };
        http::send(&mut stream, &target, &request, budget).await.map_err(read_failure)?;
        let (answer, rest) = http::read_head(&mut stream, budget).await.map_err(read_failure)?;
        if !(200..300).contains(&answer.status) {
            return Err(Failure::Answered {
                status: answer.status,
                reason: printable(answer.reason.as_bytes(), 60),
                schemes: schemes(&answer),
            });
        }
        // Neither TLS nor HTTP lets a server speak first: this would be the proxy's.
        if rest.is_empty() { Ok(stream) } else { Err(Failure::NotHttp(printable(&rest, 60))) }
    }
}

fn read_failure(failure: http::Failure) -> Failure {
    match failure {
        http::Failure::Broken(broken) => Failure::Broken(broken),
        http::Failure::NotHttp(head) => Failure::NotHttp(printable(&head, 60)),
        http::Failure::TooLong => Failure::NotHttp("a head without end".to_owned()),
    }
}

/// `Proxy-Authenticate: Negotiate, Basic realm="x"` → `Negotiate` and `Basic`.
pub(crate) fn schemes(answer: &http::Answer) -> Vec<String> {
    let values = answer.headers.iter().filter(|(name, _)| name == "proxy-authenticate");
    let parts = values.flat_map(|(_, value)| list_members(value));
    parts.filter_map(scheme).map(|word| printable(word.as_bytes(), 20)).collect()
}

/// The members of a list: a comma inside quotes ends none (RFC 9110, 5.6.1 and 5.6.4).
fn list_members(value: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let ends = |c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        c == ',' && !quoted
    };
    value.split(ends).collect()
}

/// The scheme with which a member of a list of challenges begins; none if it is one more parameter of the
/// challenge before it, `NAME = VALUE` (RFC 9110, 11.6.1 and 11.2).
fn scheme(member: &str) -> Option<&str> {
    let member = member.trim_start();
    let (word, rest) = member.split_at(member.find([' ', '\t', '=']).unwrap_or(member.len()));
    (!word.is_empty() && !rest.trim_start().starts_with('=')).then_some(word)
}

impl Credentials {
    /// Basic, from the user and the password of a URL (RFC 7617).
    fn of(url: &Url) -> Option<Self> {
        if url.username().is_empty() && url.password().is_none() {
            return None;
        }
        let plain = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
        let mut pair = plain(url.username());
        pair.push(b':');
        pair.extend(plain(url.password().unwrap_or_default()));
        Some(Self(format!("Basic {}", STANDARD.encode(pair))))
    }
}

#[cfg(test)]
mod tests;
