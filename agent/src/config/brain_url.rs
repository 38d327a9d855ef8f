//! The brain's address: what the operator wrote, and what connections and signatures need of it.

use std::fmt;

use url::{Host, Url};

/// Where the brain is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrainUrl {
    text: String,
    secure: bool,
    host: Option<Host<String>>,
    port: u16,
    prefix: String,
}

/// What is wrong with a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UrlProblem {
    /// Not a URL with http or https.
    NotHttp,
    /// A name or password in it, which would end up in logs.
    Credentials,
    /// A query or a fragment.
    Extra,
    /// Not a URL at all.
    Unreadable(url::ParseError),
}

impl fmt::Display for UrlProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp => f.write_str("it does not begin with https:// or http://"),
            Self::Credentials => f.write_str("it has a user name or password in it"),
            Self::Extra => f.write_str("it has a query or a fragment"),
            Self::Unreadable(error) => write!(f, "it is no URL: {error}"),
        }
    }
}

impl BrainUrl {
    /// Reads a URL. One without a host is read too: that is the DNS probe's finding.
    pub(crate) fn parse(text: &str) -> Result<Self, UrlProblem> {
        let lower = text.to_ascii_lowercase();
        let (secure, rest) = match (lower.strip_prefix("https://"), lower.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(UrlProblem::NotHttp),
        };
        let default_port = if secure { 443 } else { 80 };
        // The URL standard would take the first path segment for the host; an operator's template did not
        // mean that.
        if rest.is_empty() || rest.starts_with(['/', ':', '?', '#']) {
            if rest.contains('@') {
                return Err(UrlProblem::Credentials);
            }
            if rest.contains(['?', '#']) {
                return Err(UrlProblem::Extra);
            }
            let (text, host, prefix) = (text.to_owned(), None, String::new());
            return Ok(Self { text, secure, host, port: default_port, prefix });
        }
        let url = Url::parse(text).map_err(UrlProblem::Unreadable)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlProblem::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(UrlProblem::Extra);
        }
        let prefix = url.path().trim_end_matches('/').to_owned();
        let mut text = url.to_string();
        if !text.ends_with('/') {
            text.push('/');
        }
        let host = url.host().map(|host| host.to_owned());
        Ok(Self { text, secure, host, port: url.port().unwrap_or(default_port), prefix })
    }

    /// The URL with a trailing slash.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is https.
    pub(crate) const fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host, if there is one.
    pub(crate) const fn host(&self) -> Option<&Host<String>> {
        self.host.as_ref()
    }

    /// The host as text: a name or an address, without brackets. Empty if there is none.
    pub(crate) fn host_text(&self) -> String {
        match &self.host {
            None => String::new(),
            Some(Host::Domain(name)) => name.clone(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
        }
    }

    /// Host and port for sentences: `brain.example:443`, `[::1]:7700`.
    pub(crate) fn endpoint(&self) -> String {
        match &self.host {
            Some(host) => format!("{host}:{}", self.port),
            None => String::new(),
        }
    }

    /// The `Host` header: without the port where it is the scheme's own.
    pub(crate) fn host_header(&self) -> String {
        let own_port = if self.secure { 443 } else { 80 };
        match &self.host {
            Some(host) if self.port == own_port => host.to_string(),
            _ => self.endpoint(),
        }
    }

    /// The port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The path before the brain's own, without trailing slash.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The URL without its path prefix.
    pub(crate) fn without_prefix(&self) -> String {
        format!("{}://{}/", if self.secure { "https" } else { "http" }, self.host_header())
    }

    /// The URL without the path of the WebSocket, if it ends in that.
    pub(crate) fn without_endpoint(&self) -> Option<String> {
        let base = self.prefix.strip_suffix("/ws/agent")?;
        Some(format!("{}{base}", self.without_prefix().trim_end_matches('/')) + "/")
    }

    /// The same URL with another host, a name or an address.
    pub(crate) fn with_host(&self, host: &str) -> String {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let own_port = if self.secure { 443 } else { 80 };
        let port = if self.port == own_port { String::new() } else { format!(":{}", self.port) };
        format!("{}://{host}{port}{}/", if self.secure { "https" } else { "http" }, self.prefix)
    }

    /// The same URL with https.
    pub(crate) fn with_https(&self) -> String {
        match self.text.split_once("://") {
            Some((_, rest)) => format!("https://{rest}"),
            None => self.text.clone(),
        }
    }

    /// Whether the host is this machine by its text (protocol.md, Transports).
    pub(crate) fn is_loopback(&self) -> bool {
        match &self.host {
            None => false,
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_host_port_and_prefix() -> Result<(), UrlProblem> {
        let rows = [
            ("https://tasks.example.com", "https://tasks.example.com/", "tasks.example.com:443", ""),
            ("https://h.example/z4j/", "https://h.example/z4j/", "h.example:443", "/z4j"),
            ("https://h.example/z4j", "https://h.example/z4j/", "h.example:443", "/z4j"),
            ("HTTP://LocalHost:7700", "http://localhost:7700/", "localhost:7700", ""),
            ("http://[::1]:7700/", "http://[::1]:7700/", "[::1]:7700", ""),
        ];
        for (written, text, endpoint, prefix) in rows {
            let url = BrainUrl::parse(written)?;
            assert_eq!((url.as_str(), url.endpoint().as_str(), url.prefix()), (text, endpoint, prefix));
        }
        Ok(())
    }

    #[test]
    fn a_url_without_a_host_is_kept_for_the_probe() {
        for text in ["https://", "https:///ws", "http://:80/"] {
            assert_eq!(BrainUrl::parse(text).map(|url| url.host().is_none()), Ok(true), "{text}");
        }
    }

    #[test]
    fn another_host_takes_the_place_of_the_first() -> Result<(), UrlProblem> {
        let endpoint = BrainUrl::parse("https://h/z4j/ws/agent/")?.without_endpoint();
        assert_eq!(endpoint.as_deref(), Some("https://h/z4j/"));
        let url = BrainUrl::parse("https://[::1]:8443/z4j")?;
        assert_eq!(url.with_host("brain.example"), "https://brain.example:8443/z4j/");
        assert_eq!(url.with_host("::2"), "https://[::2]:8443/z4j/");
        assert_eq!(BrainUrl::parse("https://h")?.with_host("g"), "https://g/");
        Ok(())
    }

    #[test]
    fn refuses_what_is_no_address_of_a_brain() {
        assert_eq!(BrainUrl::parse("tasks.example.com"), Err(UrlProblem::NotHttp));
        assert_eq!(BrainUrl::parse("ws://tasks.example.com"), Err(UrlProblem::NotHttp));
        assert_eq!(BrainUrl::parse("https://u:p@h/"), Err(UrlProblem::Credentials));
        assert_eq!(BrainUrl::parse("https://h/?x"), Err(UrlProblem::Extra));
        assert_eq!(BrainUrl::parse("https:///me:pw@h/"), Err(UrlProblem::Credentials));
        assert_eq!(BrainUrl::parse("https://?token=x"), Err(UrlProblem::Extra));
        assert!(matches!(BrainUrl::parse("https://h:99999/"), Err(UrlProblem::Unreadable(_))));
    }

    #[test]
    fn all_of_127_is_loopback() {
        for (text, loopback) in [
            ("http://127.0.0.2:1/", true),
            ("http://127.255.0.1/", true),
            ("http://[::1]/", true),
            ("http://localhost/", true),
            ("http://localhost.example/", false),
            ("http://128.0.0.1/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(BrainUrl::parse(text).map(|url| url.is_loopback()), Ok(loopback), "{text}");
        }
    }
}
