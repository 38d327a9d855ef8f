//! The network of a new network namespace: loopback up, and one Ethernet interface with the scenario's
//! addresses and a default route, as a machine has them.
//!
//! Speaks rtnetlink(7) itself: a handful of messages, and no program to look for.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const NLM_F_REQUEST: u16 = 0x001;
const NLM_F_ACK: u16 = 0x004;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const HEADER_BYTES: usize = 16;
const IFF_UP: u32 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// IPv6: usable at once, without duplicate address detection.
const IFA_F_NODAD: u8 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;

const LOOPBACK: &str = "lo";
const ETHERNET: &str = "eth0";
/// The other end of the cable: nobody listens there.
const PEER: &str = "peer0";
/// The machine's own address and its router's (RFC 5737's documentation range).
const OWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OWN_PREFIX: u8 = 24;

/// Sets the network up. The addresses are the machine's, too: whoever serves them does so here.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn set_up(addresses: &[IpAddr]) -> io::Result<()> {
    let socket =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    let create = NLM_F_CREATE | NLM_F_EXCL;
    exchange(&socket, RTM_NEWLINK, 0, &link_up(LOOPBACK)?)?;
    exchange(&socket, RTM_NEWLINK, create, &new_cable())?;
    for end in [ETHERNET, PEER] {
        exchange(&socket, RTM_NEWLINK, 0, &link_up(end)?)?;
    }
    let ethernet = if_nametoindex(ETHERNET)?;
    exchange(&socket, RTM_NEWADDR, create, &new_address(ethernet, OWN_ADDRESS.into(), OWN_PREFIX))?;
    for address in addresses {
        let host_prefix = if address.is_ipv4() { 32 } else { 128 };
        exchange(&socket, RTM_NEWADDR, create, &new_address(ethernet, *address, host_prefix))?;
    }
    exchange(&socket, RTM_NEWROUTE, create, &default_route(ethernet))
}

/// Takes the interface down, with the machine's addresses, or up again.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn set_link(addresses: &[IpAddr], up: bool) -> io::Result<()> {
    let socket =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    let ethernet = if_nametoindex(ETHERNET)?;
    // struct ifinfomsg: flags, and which of them are meant.
    let mut body = link_message(ethernet, IFF_UP);
    if !up {
        body[8..12].copy_from_slice(&0_u32.to_ne_bytes());
    }
    exchange(&socket, RTM_NEWLINK, 0, &body)?;
    // Addresses of an interface that is down are still the machine's own; IPv6 ones go by themselves.
    let (kind, flags) = if up { (RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL) } else { (RTM_DELADDR, 0) };
    for address in addresses {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        done(exchange(&socket, kind, flags, &new_address(ethernet, *address, prefix)))?;
    }
    if up {
        done(exchange(&socket, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &default_route(ethernet)))?;
    }
    Ok(())
}

/// What is so already need not be done.
fn done(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::AddrNotAvailable) =>
        {
            Ok(())
        }
        result => result,
    }
}

/// struct ifinfomsg for an interface.
fn link_message(index: u32, flags: u32) -> Vec<u8> {
    let mut body = vec![0_u8; 4];
    for word in [index, flags, flags] {
        body.extend(word.to_ne_bytes());
    }
    body
}

fn link_up(name: &str) -> io::Result<Vec<u8>> {
    Ok(link_message(if_nametoindex(name)?, IFF_UP))
}

/// A pair of Ethernet interfaces, one at each end of a virtual cable (veth(4)).
fn new_cable() -> Vec<u8> {
    let name = |name: &str| attribute(IFLA_IFNAME, format!("{name}\0").as_bytes());
    let peer = [link_message(0, 0), name(PEER)].concat();
    let data = attribute(IFLA_INFO_DATA, &attribute(VETH_INFO_PEER, &peer));
    let info = [attribute(IFLA_INFO_KIND, b"veth\0"), data].concat();
    [link_message(0, 0), name(ETHERNET), attribute(IFLA_LINKINFO, &info)].concat()
}

/// struct ifaddrmsg with its attributes.
fn new_address(index: u32, address: IpAddr, prefix: u8) -> Vec<u8> {
    let flags = if address.is_ipv6() { IFA_F_NODAD } else { 0 };
    let mut body = vec![family(address), prefix, flags, 0];
    body.extend(index.to_ne_bytes());
    for kind in [IFA_LOCAL, IFA_ADDRESS] {
        body.extend(attribute(kind, &octets(address)));
    }
    body
}

/// struct rtmsg with its attributes.
fn default_route(index: u32) -> Vec<u8> {
    let mut body = vec![family(ROUTER.into()), 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST];
    body.extend([0; 4]);
    body.extend(attribute(RTA_GATEWAY, &ROUTER.octets()));
    body.extend(attribute(RTA_OIF, &index.to_ne_bytes()));
    body
}

fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    u8::try_from(family as i32).unwrap_or_default()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// struct rtattr with its value, padded to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut out = Vec::from(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// Sends one request and waits for its acknowledgement.
fn exchange(socket: &OwnedFd, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(HEADER_BYTES + body.len()).map_err(io::Error::other)?;
    let mut message = Vec::from(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    send(socket.as_raw_fd(), &message, MsgFlags::empty())?;
    let mut answer = [0_u8; 1024];
    let received = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let field = |at: usize| answer.get(at..at + 4).filter(|_| received >= at + 4);
    let is_error = answer[4..6] == NLMSG_ERROR.to_ne_bytes();
    match field(HEADER_BYTES).map(|bytes| i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])) {
        Some(0) if is_error => Ok(()),
        Some(code) if is_error => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(io::Error::other("unexpected answer from the kernel's routing socket")),
    }
}
