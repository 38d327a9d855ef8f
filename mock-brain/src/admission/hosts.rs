//! The Host rule: which names a request may call this brain by.
//!
//! Owns the list and the reading of the header. A page of another name that was pointed at this address
//! must not be answered (DNS rebinding), so addresses that are not this brain's are refused too.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use http::header::HOST;
use nix::ifaddrs::getifaddrs;

/// The names of one brain, in lower case; IPv6 addresses as RFC 5952 writes them, in brackets.
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    /// Loopback, this machine's name and addresses, the one listened on, and the names given: those of the
    /// certificate, and others.
    pub(crate) fn new<'n>(listen: SocketAddr, names: impl IntoIterator<Item = &'n String>) -> Self {
        let mut hosts = ["127.0.0.1", "[::1]", "localhost"].map(str::to_owned).to_vec();
        hosts.extend(addresses().chain([listen.ip()]).map(|ip| written(&ip.to_string())));
        hosts.extend(names.into_iter().map(|name| written(name)));
        let machine = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        hosts.extend(machine.filter(|name| !name.is_empty()).map(|name| written(&name)));
        Self(hosts)
    }

    /// Whether the Host header names this brain. An absent or empty one passes.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(HOST) else { return true };
        let Ok(value) = value.to_str() else { return false };
        if value.is_empty() {
            return true;
        }
        let (name, port) = match value.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, Some(port)),
            _ => (value, None),
        };
        let port_is_one = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        self.0.contains(&unbracketed(name).map_or_else(|| name.to_ascii_lowercase(), written))
            && port.is_none_or(port_is_one)
    }
}

/// The addresses of this machine's interfaces as it starts, as the real brain reads them.
fn addresses() -> impl Iterator<Item = IpAddr> {
    let interfaces = getifaddrs().into_iter().flatten();
    interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| v4.ip().into());
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
    })
}

fn unbracketed(name: &str) -> Option<&str> {
    name.strip_prefix('[')?.strip_suffix(']').filter(|inner| inner.parse::<Ipv6Addr>().is_ok())
}

/// A name as it is compared.
fn written(name: &str) -> String {
    match name.parse() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => name.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn this_machines_addresses_are_its_names() {
        let hosts = Hosts::new("0.0.0.0:7700".parse().unwrap(), &[]);
        let allow =
            |host: &str| hosts.allow(&HeaderMap::from_iter([(HOST, HeaderValue::try_from(host).unwrap())]));
        for ip in addresses() {
            assert!(allow(&written(&ip.to_string())), "{ip}");
            assert!(allow(&SocketAddr::new(ip, 7700).to_string()), "{ip}");
        }
        for other in ["192.0.2.8", "192.0.2.8:7700", "[2001:db8::8]:7700", "evil.example"] {
            assert!(!allow(other), "{other}");
        }
    }
}
