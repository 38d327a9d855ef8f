//! What the dns and tcp probes saw, judged.

use std::net::{IpAddr, SocketAddr};

use nix::libc;

use super::super::evidence::{DnsEvidence, LocalNetwork, TcpEvidence};
use super::names::list;
use super::{Case, OUT_OF_TIME, Verdict, proxy};
use crate::net::dns::{Answer, ResolveError};
use crate::net::tcp::{Attempt, Failure};
use crate::words::errno_name;

/// Judges the name.
pub(super) fn dns(case: &Case<'_>, seen: &DnsEvidence) -> Verdict {
    let host = match &case.config.proxy {
        Some(proxy) => proxy.host_text(),
        None => case.config.brain_url.host_text(),
    };
    match seen {
        DnsEvidence::NoHost => Verdict::fail(
            "dns.bad-url",
            format!("{} has no host", case.config.brain_url.as_str()),
            "Environment=Z4J_BRAIN_URL=https://HOST/",
        ),
        DnsEvidence::Found(addresses) => {
            let addresses: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            Verdict::ok(format!("{host} -> {}{}", list(&addresses), proxy::via(case)))
                .with("host", host)
                .with("addresses", addresses)
        }
        DnsEvidence::Failed { error: ResolveError::OutOfTime, .. } => Verdict::unknown(OUT_OF_TIME),
        DnsEvidence::Failed { error: error @ ResolveError::NoThread(_), .. } => Verdict::fail(
            "dns.blocked-here",
            format!("{host} was not looked up: {}, as TasksMax= or LimitNPROC= makes it", said(error)),
            "TasksMax=infinity\nLimitNPROC=infinity",
        ),
        DnsEvidence::Failed { error, answers, local } => {
            let told = answers.iter().map(|(server, answer)| format!("{server} {}", words(answer)));
            let told: Vec<String> = told.collect();
            let answered =
                |(_, answer): &(IpAddr, Answer)| !matches!(answer, Answer::Silent | Answer::Unreachable(_));
            // A resolver on this machine that answers was reached, whatever interfaces there are.
            let cause = blocked(local).filter(|_| !answers.iter().any(answered));
            let verdict = match cause {
                Some((why, fix)) => {
                    Verdict::fail("dns.blocked-here", format!("{host} was not looked up: {why}"), fix)
                }
                None => unresolved(case, &host, error, answers),
            };
            verdict.with("host", host).with("resolver", said(error)).with("servers", told)
        }
    }
}

fn said(error: &ResolveError) -> String {
    match error {
        ResolveError::Said(text) => text.clone(),
        ResolveError::TimedOut => "no answer in time".to_owned(),
        ResolveError::OutOfTime => OUT_OF_TIME.to_owned(),
        ResolveError::NoThread(errno) => format!("no thread can be started ({})", errno_name(*errno)),
    }
}

fn words(answer: &Answer) -> String {
    match answer {
        Answer::Addresses(addresses) => format!("answers {}", list(addresses)),
        Answer::Empty => "knows the name and has no address for it".to_owned(),
        Answer::NameError => "says that there is no such name (NXDOMAIN)".to_owned(),
        Answer::ServerFailure => "could not find out (SERVFAIL)".to_owned(),
        Answer::Refused => "will not say (REFUSED)".to_owned(),
        Answer::Other(text) => format!("answers {text}"),
        Answer::Silent => "does not answer".to_owned(),
        Answer::Unreachable(text) => format!("cannot be asked ({text})"),
    }
}

/// The answer that explains the failure best: what a server says of the name before what a server says of
/// itself, and that before silence.
fn telling(answers: &[(IpAddr, Answer)]) -> Option<&(IpAddr, Answer)> {
    answers.iter().min_by_key(|(_, answer)| match answer {
        Answer::NameError => 0,
        Answer::Empty => 1,
        Answer::ServerFailure => 2,
        Answer::Refused => 3,
        Answer::Other(_) => 4,
        Answer::Addresses(_) => 5,
        Answer::Unreachable(_) => 6,
        Answer::Silent => 7,
    })
}

fn unresolved(case: &Case<'_>, host: &str, error: &ResolveError, answers: &[(IpAddr, Answer)]) -> Verdict {
    let conf = case.resolv_conf.display();
    let all = answers.iter().map(|(server, answer)| format!("{server} {}", words(answer)));
    let sentence = format!("{host}: {} ({} by {conf})", said(error), list(all));
    let servers = list(answers.iter().map(|(server, _)| server));
    let Some((server, answer)) = telling(answers) else {
        let fix = format!("add a line `nameserver ADDRESS` to {conf}");
        return Verdict::fail("dns.unreachable", sentence, fix);
    };
    match answer {
        Answer::NameError | Answer::Empty => Verdict::fail(
            "dns.not-found",
            sentence,
            match &case.config.proxy {
                Some(proxy) => format!("correct the host in {}", proxy.variable),
                None => format!("correct the host in Z4J_BRAIN_URL={}", case.config.brain_url.as_str()),
            },
        ),
        Answer::ServerFailure | Answer::Other(_) => {
            Verdict::fail("dns.servfail", sentence, format!("dig @{server} {host}"))
        }
        Answer::Refused => Verdict::fail(
            "dns.refused",
            sentence,
            format!("name a server in {conf} that answers this machine, in place of {servers}"),
        ),
        Answer::Addresses(_) if matches!(error, ResolveError::Said(_)) => Verdict::fail(
            "dns.not-found",
            sentence,
            "put `dns` into the `hosts:` line of /etc/nsswitch.conf".to_owned(),
        ),
        Answer::Addresses(_) | Answer::Silent | Answer::Unreachable(_) => Verdict::fail(
            "dns.unreachable",
            sentence,
            format!("let this machine reach {servers} on port 53, or name another server in {conf}"),
        ),
    }
}

/// What keeps this process from the network at all, with the setting that lets it.
fn blocked(local: &LocalNetwork) -> Option<(String, &'static str)> {
    let closed = local.closed_families.iter().find(|(family, errno)| {
        *family == "AF_INET" && matches!(*errno, libc::EAFNOSUPPORT | libc::EPERM | libc::EACCES)
    });
    if let Some((family, errno)) = closed {
        return Some((
            format!(
                "this process may not open an {family} socket ({}), as RestrictAddressFamilies= makes it",
                errno_name(*errno)
            ),
            "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        ));
    }
    if local.loopback_hangs {
        return Some((
            "even a connection to 127.0.0.1 hangs, as IPAddressDeny= makes it".to_owned(),
            "IPAddressAllow=any",
        ));
    }
    let alone = local.interfaces.as_ref().is_some_and(|names| names.iter().all(|name| name == "lo"));
    alone.then(|| {
        (
            "there is no network interface but lo, as PrivateNetwork=yes makes it".to_owned(),
            "PrivateNetwork=no",
        )
    })
}

/// Judges the connection.
pub(super) fn tcp(case: &Case<'_>, seen: &TcpEvidence) -> Verdict {
    let endpoint = case.config.brain_url.endpoint();
    let verdict = match (seen, &case.config.proxy) {
        (TcpEvidence::Connected(address), _) => {
            let sentence = format!("TCP connect to {endpoint}{}", proxy::via(case));
            Verdict::ok(sentence).with("address", address.to_string())
        }
        (TcpEvidence::NoTunnel { address, failure }, _) => {
            proxy::no_tunnel(case, failure).with("address", address.to_string())
        }
        (TcpEvidence::Failed { attempts, local }, Some(proxy)) => {
            proxy::unreached(proxy, unconnected(&proxy.endpoint(), attempts, local))
                .with("attempts", attempts.iter().map(attempt_words).collect::<Vec<_>>())
        }
        (TcpEvidence::Failed { attempts, local }, None) => unconnected(&endpoint, attempts, local)
            .with("attempts", attempts.iter().map(attempt_words).collect::<Vec<_>>()),
    };
    verdict.with("host", case.config.brain_url.host_text()).with("port", case.config.brain_url.port())
}

fn attempt_words(attempt: &Attempt) -> String {
    let ip = attempt.address.ip();
    match attempt.failure {
        Failure::TimedOut => format!("{ip} does not answer"),
        Failure::OutOfTime => format!("{ip} did not answer before {OUT_OF_TIME}"),
        Failure::Errno(libc::ECONNREFUSED) => format!("{ip} refuses"),
        Failure::Errno(errno @ libc::EACCES) => {
            format!("{ip} gives {}, as a route of type prohibit makes it", errno_name(errno))
        }
        Failure::Errno(errno @ libc::EINVAL) => {
            format!("{ip} gives {}, as a route of type blackhole makes it", errno_name(errno))
        }
        Failure::Errno(errno) => format!("{ip} gives {}", errno_name(errno)),
    }
}

fn unconnected(endpoint: &str, attempts: &[Attempt], local: &LocalNetwork) -> Verdict {
    let sentence = format!("no TCP connection to {endpoint}: {}", list(attempts.iter().map(attempt_words)));
    let on_loopback = attempts.iter().all(|attempt| attempt.address.ip().is_loopback());
    if let Some((why, fix)) = blocked(local).filter(|_| !on_loopback || local.loopback_hangs) {
        return Verdict::fail("tcp.blocked-here", format!("{sentence}: {why}"), fix);
    }
    // Told apart by chance only: the reset came before this side had looked at the connection.
    if attempts.iter().all(|attempt| matches!(attempt.failure, Failure::Errno(libc::ECONNRESET))) {
        return was_reset(endpoint, attempts.iter().map(|attempt| attempt.address));
    }
    if attempts.iter().any(|attempt| attempt.failure.is_errno_of(&[libc::EMFILE, libc::ENFILE])) {
        return Verdict::out_of_files();
    }
    if let Some(attempt) = attempts.iter().find(|attempt| attempt.forbidden) {
        let ip = attempt.address.ip();
        let deed = if attempt.failure == Failure::TimedOut { "drops" } else { "rejects" };
        return Verdict::fail(
            "tcp.blocked-here",
            format!("{sentence}: a rule on this machine {deed} packets to {ip}"),
            format!("let {endpoint} through the rules of this machine: sudo nft list ruleset"),
        );
    }
    if attempts.iter().any(|attempt| attempt.failure == Failure::OutOfTime) {
        return Verdict::unknown(OUT_OF_TIME);
    }
    let code = attempts.first().map_or("tcp.timeout", |attempt| match attempt.failure {
        Failure::TimedOut | Failure::OutOfTime => "tcp.timeout",
        Failure::Errno(libc::ECONNREFUSED) => "tcp.refused",
        Failure::Errno(libc::ECONNRESET | libc::ECONNABORTED) => "tcp.reset",
        Failure::Errno(libc::EPERM) => "tcp.blocked-here",
        Failure::Errno(_) => "tcp.no-route",
    });
    let fix = match code {
        "tcp.refused" => {
            format!("start what should listen on {endpoint}, or correct the port in Z4J_BRAIN_URL")
        }
        "tcp.timeout" => format!("let this machine out to {endpoint} (TCP) in the firewalls on the way"),
        "tcp.blocked-here" => {
            format!("let {endpoint} through the rules of this machine: sudo nft list ruleset")
        }
        "tcp.reset" => {
            format!("let this machine through to {endpoint}: something on the way resets connections")
        }
        _ => route_fix(attempts.first()),
    };
    Verdict::fail(code, sentence, fix)
}

/// What to look at where there is no way to an address.
fn route_fix(attempt: Option<&Attempt>) -> String {
    let Some(attempt) = attempt else { return "look at the routes: ip route".to_owned() };
    let ip = attempt.address.ip();
    let family = if ip.is_ipv6() { "ip -6" } else { "ip" };
    let kind = match attempt.failure {
        Failure::Errno(libc::EACCES) => "prohibit",
        Failure::Errno(libc::EINVAL) => "blackhole",
        _ => return format!("look at the route that is taken: {family} route get {ip}"),
    };
    format!(
        "remove the route that is in the way: {family} route show type {kind}; sudo {family} route del {kind} PREFIX"
    )
}

/// A connection that came to be and was reset before the peer had sent a byte.
pub(super) fn reset(case: &Case<'_>, seen: &TcpEvidence) -> Verdict {
    let address = match seen {
        TcpEvidence::Connected(address) => Some(*address),
        TcpEvidence::Failed { .. } | TcpEvidence::NoTunnel { .. } => None,
    };
    was_reset(&format!("{}{}", case.config.brain_url.endpoint(), proxy::via(case)), address)
        .with("host", case.config.brain_url.host_text())
        .with("port", case.config.brain_url.port())
}

fn was_reset(endpoint: &str, addresses: impl IntoIterator<Item = SocketAddr>) -> Verdict {
    let addresses = list(addresses.into_iter().map(|address| address.ip().to_string()));
    Verdict::fail(
        "tcp.reset",
        format!("{endpoint} ({addresses}) took the connection and reset it before it sent a byte"),
        format!(
            "let this machine through to {endpoint}: a firewall or a proxy on the way resets connections"
        ),
    )
}

/// Plain http, which the configuration allows only where it does no harm.
pub(super) fn not_https(case: &Case<'_>) -> Verdict {
    Verdict::ok_skip(format!("{} is not https", case.config.brain_url.as_str()))
}
