//! The resolver of a scenario: answers what `[host] dns` says, and that nothing else exists.
//!
//! Owns DNS answers on one UDP socket. Must not know who asks.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, Question, RCODE, ResourceRecord, TYPE};
use tokio::net::UdpSocket;

use crate::scenario::Answer;

/// Seconds that an answer may be kept.
const TIME_TO_LIVE: u32 = 60;

/// Largest query that is looked at, in bytes (RFC 1035, 4.2.1).
const MAX_QUERY: usize = 512;

/// Answers queries until the socket fails.
///
/// # Errors
/// The socket cannot be read.
pub(crate) async fn serve(socket: std::net::UdpSocket, names: BTreeMap<String, Answer>) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let socket = Arc::new(UdpSocket::from_std(socket)?);
    let names: BTreeMap<_, _> = names.into_iter().map(|(name, answer)| (key(&name), answer)).collect();
    let mut buffer = [0_u8; MAX_QUERY];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await?;
        let Some((reply, answer)) = answer(&buffer[..length], &names) else { continue };
        if let Answer::Slow(span) = answer {
            tokio::spawn(send_later(Arc::clone(&socket), reply, peer, span));
        } else {
            // A client that has gone away is no reason to stop.
            let _ = socket.send_to(&reply, peer).await;
        }
    }
}

async fn send_later(socket: Arc<UdpSocket>, reply: Vec<u8>, peer: SocketAddr, span: std::time::Duration) {
    tokio::time::sleep(span).await;
    // As above.
    let _ = socket.send_to(&reply, peer).await;
}

fn key(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// The reply to a query with what decided it; `None` for silence.
fn answer(query: &[u8], names: &BTreeMap<String, Answer>) -> Option<(Vec<u8>, Answer)> {
    let query = Packet::parse(query).ok()?;
    let question = query.questions.first()?.clone();
    let answer = names.get(&key(&question.qname.to_string())).copied().unwrap_or(Answer::NxDomain);
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE);
    match answer {
        Answer::Silent => return None,
        Answer::NxDomain | Answer::Slow(_) => *reply.rcode_mut() = RCODE::NameError,
        Answer::ServFail => *reply.rcode_mut() = RCODE::ServerFailure,
        Answer::Refused => *reply.rcode_mut() = RCODE::Refused,
        Answer::Address(address) => reply.answers.extend(record(&question, address)),
    }
    reply.questions.push(question);
    Some((reply.build_bytes_vec().ok()?, answer))
}

/// The record, if the question is for the address's family: a name without one is not a missing name.
fn record<'q>(question: &Question<'q>, address: IpAddr) -> Option<ResourceRecord<'q>> {
    let (wanted, data) = match address {
        IpAddr::V4(address) => (TYPE::A, RData::A(A::from(address))),
        IpAddr::V6(address) => (TYPE::AAAA, RData::AAAA(AAAA::from(address))),
    };
    let matches = matches!(question.qtype, QTYPE::ANY) || question.qtype == QTYPE::TYPE(wanted);
    matches.then(|| ResourceRecord::new(question.qname.clone(), CLASS::IN, TIME_TO_LIVE, data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::{Name, QCLASS};

    fn ask(name: &str, qtype: TYPE, answers: &[(&str, Answer)]) -> Option<(RCODE, usize)> {
        let mut query = Packet::new_query(7);
        let name = Name::new(name).unwrap().into_owned();
        query.questions.push(Question::new(name, QTYPE::TYPE(qtype), QCLASS::CLASS(CLASS::IN), false));
        let names = answers.iter().map(|(name, answer)| (key(name), *answer)).collect();
        let (reply, _) = answer(&query.build_bytes_vec().unwrap(), &names)?;
        let reply = Packet::parse(&reply).unwrap();
        assert_eq!(reply.id(), 7);
        Some((reply.rcode(), reply.answers.len()))
    }

    #[test]
    fn answers_what_the_scenario_says() {
        let address = Answer::Address("198.51.100.42".parse().unwrap());
        let names = [
            ("tasks.example.com", address),
            ("broken.example.com", Answer::ServFail),
            ("closed.example.com", Answer::Refused),
            ("silent.example.com", Answer::Silent),
        ];
        assert_eq!(ask("TASKS.example.com", TYPE::A, &names), Some((RCODE::NoError, 1)));
        assert_eq!(ask("tasks.example.com", TYPE::AAAA, &names), Some((RCODE::NoError, 0)));
        assert_eq!(ask("task.example.com", TYPE::A, &names), Some((RCODE::NameError, 0)));
        assert_eq!(ask("broken.example.com", TYPE::A, &names), Some((RCODE::ServerFailure, 0)));
        assert_eq!(ask("closed.example.com", TYPE::A, &names), Some((RCODE::Refused, 0)));
        assert_eq!(ask("silent.example.com", TYPE::A, &names), None);
    }

    #[test]
    fn garbage_is_not_answered() {
        assert!(answer(b"\0\0garbage", &BTreeMap::new()).is_none());
    }
}
