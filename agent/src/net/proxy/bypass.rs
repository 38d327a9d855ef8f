//! Which hosts are reached without the proxy: `no_proxy`, by the rules that curl and Python share.

use std::net::IpAddr;

use url::Host;

/// Whether a host is this machine by its text: no proxy can reach that (Go leaves it out likewise).
pub(super) fn is_local(host: &Host<String>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
        }
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Whether a list of hosts, with commas or blanks between them, names a host and port.
pub(super) fn matches(list: &str, host: &Host<String>, port: u16) -> bool {
    list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()).any(|entry| is_named(entry, host, port))
}

fn is_named(entry: &str, host: &Host<String>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    let (name, wanted) = split_port(entry);
    if wanted.is_some_and(|wanted| wanted != port) {
        return false;
    }
    match host {
        Host::Domain(domain) => is_below(domain, name),
        Host::Ipv4(address) => is_in((*address).into(), name),
        Host::Ipv6(address) => is_in((*address).into(), name),
    }
}

/// `host:port`, `[v6]:port`, or without a port; a bare v6 address has colons and none.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    let bare = |text: &'_ str| text.matches(':').count() > 1 && !text.starts_with('[');
    if bare(entry) {
        return (entry, None);
    }
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    };
    (name.trim_start_matches('[').trim_end_matches(']'), port)
}

/// The domain itself, or anything below it; `.example.com` and `*.example.com` are the same as `example.com`.
fn is_below(domain: &str, name: &str) -> bool {
    let clean = |text: &str| text.trim_end_matches('.').to_ascii_lowercase();
    let (domain, name) = (clean(domain), clean(name.trim_start_matches('*').trim_start_matches('.')));
    if name.is_empty() {
        return false;
    }
    domain == name || domain.strip_suffix(&name).is_some_and(|rest| rest.ends_with('.'))
}

/// An address, or a network as `address/bits`.
fn is_in(address: IpAddr, name: &str) -> bool {
    let Some((network, bits)) = name.split_once('/') else {
        return name.parse() == Ok(address);
    };
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) if bits <= 32 => {
            let shift = 32 - bits;
            u32::from(a).checked_shr(shift) == u32::from(n).checked_shr(shift)
        }
        (IpAddr::V6(a), IpAddr::V6(n)) if bits <= 128 => {
            let shift = 128 - bits;
            u128::from(a).checked_shr(shift) == u128::from(n).checked_shr(shift)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_hosts_networks_and_ports() -> Result<(), url::ParseError> {
        for (list, host, named) in [
            ("*", "brain.example.com", true),
            ("example.com", "brain.example.com", true),
            (".example.com", "brain.example.com", true),
            ("*.example.com", "brain.example.com", true),
            (".example.com", "example.com", true),
            ("EXAMPLE.com.", "brain.example.COM", true),
            ("ample.com", "brain.example.com", false),
            ("brain.example.com.evil", "brain.example.com", false),
            ("a.test, example.com", "brain.example.com", true),
            ("a.test example.com", "brain.example.com", true),
            ("example.com:443", "brain.example.com", true),
            ("example.com:8443", "brain.example.com", false),
            ("", "brain.example.com", false),
            (",.,*.", "brain.example.com", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3:443", "10.1.2.3", true),
            ("2.3", "10.1.2.3", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.1.2.0/25", "10.1.2.128", false),
            ("0.0.0.0/0", "10.1.2.3", true),
            ("10.0.0.0/33", "10.1.2.3", false),
            ("fd00::/8", "[fd00::1]", true),
            ("fd00::1", "[fd00::1]", true),
            ("[fd00::1]:443", "[fd00::1]", true),
            ("[fd00::1]:80", "[fd00::1]", false),
            ("::/0", "10.1.2.3", false),
        ] {
            let host = Host::parse(host)?;
            assert_eq!(matches(list, &host, 443), named, "{list:?} {host}");
        }
        Ok(())
    }
}
