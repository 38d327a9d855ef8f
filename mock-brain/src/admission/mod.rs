//! Who may come, and how often: addresses, names, connects.
//!
//! Owns the three lists and the order in which they are asked (docs/protocol.md): connects, then addresses.
//! Must not know tokens.

mod hosts;
mod rate;

use std::net::IpAddr;
use std::time::Instant;

use http::HeaderMap;
use ipnet::IpNet;

pub(crate) use hosts::Hosts;
use rate::Rate;

/// Whose word is taken on this, where no proxy is trusted by name: the published server's default.
const LOCAL_PROXY: [u8; 4] = [127, 0, 0, 1];
/// Most addresses of an `X-Forwarded-For` that are looked at, from the right.
const MAX_FORWARDED: usize = 32;

/// Why an agent is turned away before its token is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// It came too often; in so many seconds it may again.
    TooOften(u64),
    /// Its address is not on the list.
    Address,
}

/// The door of one brain.
pub(crate) struct Admission {
    /// Addresses that agents may come from; any if empty.
    admitted: Vec<IpNet>,
    /// Proxies whose `X-Forwarded-For` is believed.
    trusted: Vec<IpNet>,
    rate: Rate,
}

impl Admission {
    pub(crate) fn new(admitted: Vec<IpNet>, trusted: Vec<IpNet>, connects: u32) -> Self {
        let trusted = if trusted.is_empty() { vec![IpNet::from(IpAddr::from(LOCAL_PROXY))] } else { trusted };
        Self { admitted, trusted, rate: Rate::new(connects) }
    }

    /// The address that a request counts as: the right-most one of `X-Forwarded-For` that is no trusted
    /// proxy's, if a trusted proxy says so, else the peer's.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.is_trusted(peer) {
            return peer;
        }
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        let texts = lines.filter_map(|line| line.to_str().ok());
        let mut client = peer;
        for text in texts.flat_map(|line| line.rsplit(',')).take(MAX_FORWARDED) {
            // What cannot be read says nothing about those to the left of it.
            let Some(address) = address(text.trim()) else { return client };
            client = address;
            if !self.is_trusted(client) {
                return client;
            }
        }
        client
    }

    /// Counts a connect: a WebSocket handshake or a long-poll request.
    pub(crate) fn connect(&self, client: IpAddr, now: Instant) -> Result<(), TurnedAway> {
        self.rate.take(client, now).map_err(TurnedAway::TooOften)
    }

    /// Whether an agent may come from this address.
    pub(crate) fn admit(&self, client: IpAddr) -> Result<(), TurnedAway> {
        let is_admitted = self.admitted.is_empty() || self.admitted.iter().any(|net| net.contains(&client));
        if is_admitted { Ok(()) } else { Err(TurnedAway::Address) }
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&address))
    }
}

/// An address, perhaps with a port as some proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let read = |text: &str| text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    read(text).or_else(with_port).map(|address| address.to_canonical())
}

/// A network as a setting says it: `10.0.0.0/8`, or one address.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>()
        .ok()
        .map(|net| net.trunc())
        .or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| network(text).unwrap()).collect()
    }

    fn client(trusted: &[&str], peer: &str, lines: &[&'static str]) -> String {
        let lines = lines
            .iter()
            .map(|line| (http::HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static(line)));
        let admission = Admission::new(Vec::new(), nets(trusted), 0);
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value);
        }
        admission.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_rightmost_untrusted_address_counts() {
        let local = |lines| client(&[], "127.0.0.1", lines);
        assert_eq!(local(&[]), "127.0.0.1");
        assert_eq!(local(&["203.0.113.9"]), "203.0.113.9");
        assert_eq!(local(&["1.1.1.1, 203.0.113.9, 127.0.0.1"]), "203.0.113.9");
        assert_eq!(local(&["1.1.1.1", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(local(&["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(local(&["1.1.1.1, unknown"]), "127.0.0.1");
        // Not everybody on this machine is believed, as with the real brain.
        assert_eq!(client(&[], "127.0.0.2", &["203.0.113.9"]), "127.0.0.2");
        assert_eq!(client(&["10.0.0.0/8"], "127.0.0.1", &["203.0.113.9"]), "127.0.0.1");
        assert_eq!(client(&["10.0.0.0/8"], "10.1.2.3", &["203.0.113.9, 10.9.9.9"]), "203.0.113.9");
        assert_eq!(client(&["10.0.0.0/8"], "10.1.2.3", &["10.7.7.7, 10.9.9.9"]), "10.7.7.7");
        assert_eq!(client(&["10.0.0.0/8"], "::ffff:10.1.2.3", &["2001:db8::1"]), "2001:db8::1");
    }

    #[test]
    fn only_listed_addresses_come_in() {
        let may = |listed: &[&str], client: &str| {
            Admission::new(nets(listed), Vec::new(), 0).admit(client.parse().unwrap()).is_ok()
        };
        assert!(may(&[], "192.0.2.1"));
        assert!(may(&["192.0.2.0/24", "::1"], "192.0.2.1") && may(&["192.0.2.0/24", "::1"], "::1"));
        assert!(!may(&["192.0.2.0/24"], "192.0.3.1") && !may(&["192.0.2.7"], "192.0.2.8"));
        assert_eq!(network("10.1.2.3/8"), network("10.0.0.0/8"));
        for bad in ["", "10.0.0.0/33", "host", "10.0.0", "10.0.0.0/8/8"] {
            assert_eq!(network(bad), None, "{bad}");
        }
    }
}
