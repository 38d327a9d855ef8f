//! Names: the system's resolver for connections, and a question of our own to its servers where that fails.
//!
//! getaddrinfo(3) decides (hosts file, nsswitch, search domains); the own question only finds out why it
//! said no.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;

use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE, rdata::RData};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

use super::budget::Budget;
use crate::words::errno_text;

/// Servers that the resolver uses at most (`MAXNS`, resolv.conf(5)).
const MAX_SERVERS: usize = 3;
const DNS_PORT: u16 = 53;
/// Largest answer that is read; ours asks for no more than 512 (RFC 1035).
const MAX_ANSWER_BYTES: usize = 4096;
/// Most of resolv.conf that is read, in bytes.
const MAX_CONF_BYTES: u64 = 64 * 1024;

/// Why the system's resolver gave no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResolveError {
    /// It said so.
    Said(String),
    /// It said nothing in time.
    TimedOut,
    /// The time for everything was up before this wait had its own in full.
    OutOfTime,
    /// It could not be asked: no thread can be started. Here is the errno.
    NoThread(i32),
}

/// Asks the system's resolver.
///
/// # Errors
/// It has no address, or no answer.
pub(crate) async fn resolve(host: &str, port: u16, budget: &Budget) -> Result<Vec<SocketAddr>, ResolveError> {
    let answer = ask_system(host.to_owned(), port)
        .map_err(|error| ResolveError::NoThread(error.raw_os_error().unwrap_or(nix::libc::EAGAIN)))?;
    match budget.bound(answer).await {
        Err(up) if up.cut => Err(ResolveError::OutOfTime),
        Err(_) => Err(ResolveError::TimedOut),
        Ok(Err(_)) => Err(ResolveError::Said("the resolver gave up".to_owned())),
        Ok(Ok(Err(error))) => Err(ResolveError::Said(plain_reason(&error))),
        Ok(Ok(Ok(found))) => {
            let mut addresses: Vec<SocketAddr> = Vec::new();
            for address in found {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            if addresses.is_empty() {
                return Err(ResolveError::Said("no address".to_owned()));
            }
            Ok(addresses)
        }
    }
}

/// Asks getaddrinfo(3), which blocks, on a thread of its own: a pool would panic where none can be started.
fn ask_system(host: String, port: u16) -> io::Result<oneshot::Receiver<io::Result<Vec<SocketAddr>>>> {
    let (sender, answer) = oneshot::channel();
    let ask = move || {
        let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // Nobody waits any more if the time was up.
        let _ = sender.send(found);
    };
    std::thread::Builder::new().name("getaddrinfo".to_owned()).spawn(ask)?;
    Ok(answer)
}

/// gai_strerror's words, without what the standard library puts before them.
fn plain_reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

/// What a server says to our own question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Addresses.
    Addresses(Vec<IpAddr>),
    /// The name exists and has no address.
    Empty,
    /// The name does not exist.
    NameError,
    /// The server could not find out.
    ServerFailure,
    /// The server will not say.
    Refused,
    /// Another code of RFC 1035, or something that is no answer.
    Other(String),
    /// No answer in time.
    Silent,
    /// It could not be asked.
    Unreachable(String),
}

/// The servers of a resolv.conf; without one or without any in it, this machine (resolv.conf(5)).
pub(crate) fn servers(resolv_conf: &Path) -> Vec<IpAddr> {
    // What cannot be read is as good as absent, as for the resolver itself.
    let text = crate::files::read(resolv_conf, MAX_CONF_BYTES).unwrap_or_default();
    let servers = parse_servers(&String::from_utf8_lossy(&text));
    if servers.is_empty() { vec![IpAddr::V4(Ipv4Addr::LOCALHOST)] } else { servers }
}

fn parse_servers(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("nameserver"));
    let names = lines.filter_map(|rest| rest.split_whitespace().next());
    let addresses = names.filter_map(|name| name.split('%').next()?.parse().ok());
    addresses.take(MAX_SERVERS).collect()
}

/// Asks every server for the name's IPv4 addresses, all at once.
pub(crate) async fn ask_all(servers: &[IpAddr], name: &str, budget: &Budget) -> Vec<(IpAddr, Answer)> {
    let questions = servers.iter().map(|server| async move {
        let asked = ask(SocketAddr::new(*server, DNS_PORT), name);
        (*server, budget.bound(asked).await.unwrap_or(Answer::Silent))
    });
    futures_util::future::join_all(questions).await
}

/// Asks one server.
async fn ask(server: SocketAddr, name: &str) -> Answer {
    let id = rand_id();
    let Some(query) = query(id, name) else {
        return Answer::Other("the name is no domain name".to_owned());
    };
    match exchange(server, &query).await {
        Ok(bytes) => read_answer(&bytes, id),
        Err(error) => Answer::Unreachable(errno_text(&error)),
    }
}

fn rand_id() -> u16 {
    let mut bytes = [0; 2];
    // A predictable id only weakens a diagnosis; there is nothing better to do.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u16::from_ne_bytes(bytes)
}

async fn exchange(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let local: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut bytes = vec![0; MAX_ANSWER_BYTES];
    let length = socket.recv(&mut bytes).await?;
    bytes.truncate(length);
    Ok(bytes)
}

fn query(id: u16, name: &str) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name.trim_end_matches('.')).ok()?;
    packet.questions.push(Question::new(name, TYPE::A.into(), CLASS::IN.into(), false));
    packet.build_bytes_vec().ok()
}

fn read_answer(bytes: &[u8], id: u16) -> Answer {
    let packet = match Packet::parse(bytes) {
        Ok(packet) if packet.id() == id => packet,
        Ok(_) => return Answer::Other("an answer to another question".to_owned()),
        Err(_) => return Answer::Other("something that is no DNS answer".to_owned()),
    };
    match packet.rcode() {
        RCODE::NoError => {
            let addresses: Vec<IpAddr> = packet
                .answers
                .iter()
                .filter_map(|record| match &record.rdata {
                    RData::A(a) => Some(IpAddr::V4(Ipv4Addr::from(a.address))),
                    _ => None,
                })
                .collect();
            if addresses.is_empty() { Answer::Empty } else { Answer::Addresses(addresses) }
        }
        RCODE::NameError => Answer::NameError,
        RCODE::ServerFailure => Answer::ServerFailure,
        RCODE::Refused => Answer::Refused,
        other => Answer::Other(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_servers_that_the_resolver_uses() {
        let text = "# x\nnameserver 192.0.2.1\nsearch a\n nameserver fe80::1%eth0\nnameserver bad\n\
                    nameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        let servers: Vec<String> = parse_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1", "fe80::1", "192.0.2.2"]);
    }

    #[test]
    fn an_answer_is_read_by_its_code() -> Result<(), Box<dyn std::error::Error>> {
        let question = query(7, "tasks.example.com").ok_or("no query")?;
        let with_code = |code: u8| {
            let mut bytes = question.clone();
            bytes[2] |= 0x80;
            bytes[3] = (bytes[3] & 0xf0) | code;
            bytes
        };
        for (code, answer) in
            [(0, Answer::Empty), (2, Answer::ServerFailure), (3, Answer::NameError), (5, Answer::Refused)]
        {
            assert_eq!(read_answer(&with_code(code), 7), answer);
        }
        assert!(matches!(read_answer(&with_code(0), 8), Answer::Other(_)));
        assert!(matches!(read_answer(b"junk", 7), Answer::Other(_)));
        Ok(())
    }
}
