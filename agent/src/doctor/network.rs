//! The dns, tcp and tls probes: the way to the brain, one step after the other.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};
use tokio::time::Instant;

use super::evidence::{DnsEvidence, Evidence, LocalNetwork, TcpEvidence, Timed, TlsEvidence};
use super::report::ProbeName;
use crate::config::Config;
use crate::environment::Environment;
use crate::net::budget::Budget;
use crate::net::route::{Link, Route};
use crate::net::{dns, roots, tcp, tls};

/// How long a connection to a closed port of this machine may take, before something must be in its way.
const LOOPBACK_WAIT: Duration = Duration::from_millis(500);
/// How long our own question to a DNS server may take.
const QUESTION_WAIT: Duration = Duration::from_secs(2);
/// Most of /proc/net/dev that is read, in bytes.
const MAX_INTERFACES_BYTES: u64 = 256 * 1024;

/// Runs a probe and takes its time.
pub(super) async fn timed<T>(probe: impl Future<Output = T>) -> Timed<T> {
    let start = Instant::now();
    let seen = probe.await;
    Timed { seen, took: start.elapsed() }
}

/// Goes the way to the brain, as far as `last`, and keeps what it meets. This is the one way there, for the
/// doctor and for the agent that runs. `None`: there is no connection, or none was asked for.
pub(super) async fn walk(
    config: &Config,
    environment: &Environment,
    last: ProbeName,
    budget: &Budget,
    evidence: &mut Evidence,
) -> Option<(Link, Route)> {
    let dns = evidence.dns.insert(timed(dns(config, environment, budget)).await);
    let DnsEvidence::Found(addresses) = &dns.seen else { return None };
    if last < ProbeName::Tcp {
        return None;
    }
    let Timed { seen: (seen, stream), took } = timed(tcp(config, addresses, budget)).await;
    let tcp = evidence.tcp.insert(Timed { seen, took });
    let (TcpEvidence::Connected(address), Some(stream)) = (&tcp.seen, stream) else { return None };
    if last < ProbeName::Tls {
        return None;
    }
    let context = tls_context(config, environment);
    let Timed { seen: (seen, link), took } = timed(tls(context.as_ref(), stream, budget)).await;
    evidence.tls = Some(Timed { seen, took });
    let (url, proxy) = (config.brain_url.clone(), config.proxy.clone());
    let route = Route { address: *address, url, proxy, tls: context, budget: *budget };
    Some((link?, route))
}

/// Looks the host up.
async fn dns(config: &Config, environment: &Environment, budget: &Budget) -> DnsEvidence {
    let url = &config.brain_url;
    if url.host().is_none() {
        return DnsEvidence::NoHost;
    }
    // A proxy looks the brain up by itself; what this machine needs is the proxy.
    let (name, port) = match &config.proxy {
        Some(proxy) => (proxy.host_text(), proxy.port()),
        None => (url.host_text(), url.port()),
    };
    if let Ok(address) = name.parse() {
        return DnsEvidence::Found(vec![SocketAddr::new(address, port)]);
    }
    match dns::resolve(&name, port, budget).await {
        Ok(addresses) => DnsEvidence::Found(addresses),
        Err(error @ (dns::ResolveError::OutOfTime | dns::ResolveError::NoThread(_))) => {
            DnsEvidence::Failed { error, answers: Vec::new(), local: LocalNetwork::default() }
        }
        Err(error) => {
            let servers = dns::servers(&environment.resolv_conf);
            let wait = budget.with_each(QUESTION_WAIT);
            let (answers, local) = tokio::join!(dns::ask_all(&servers, &name, &wait), local_network(budget));
            DnsEvidence::Failed { error, answers, local }
        }
    }
}

/// Connects: to the brain, or through its proxy.
async fn tcp(config: &Config, addresses: &[SocketAddr], budget: &Budget) -> (TcpEvidence, Option<TcpStream>) {
    match tcp::connect(addresses, budget).await {
        Ok((stream, address)) => {
            let Some(proxy) = &config.proxy else { return (TcpEvidence::Connected(address), Some(stream)) };
            match proxy.connect(stream, &config.brain_url, budget).await {
                Ok(stream) => (TcpEvidence::Connected(address), Some(stream)),
                Err(failure) => (TcpEvidence::NoTunnel { address, failure }, None),
            }
        }
        Err(attempts) => {
            let local = local_network(budget).await;
            (TcpEvidence::Failed { attempts, local }, None)
        }
    }
}

/// Shakes hands, where the URL is https. The connection comes back for the upgrade.
async fn tls(
    context: Option<&tls::Context>,
    stream: TcpStream,
    budget: &Budget,
) -> (TlsEvidence, Option<Link>) {
    let Some(context) = context else { return (TlsEvidence::NotHttps, Some(Link::plain(stream))) };
    match context.handshake(stream, budget).await {
        Ok((stream, session)) => (TlsEvidence::Session(session), Some(Link::secure(stream))),
        Err(failed) => {
            let kin = failed.chain.last().is_some_and(|last| context.roots.has_kin_of(last));
            let mut source = context.roots.source.clone();
            if !context.roots.problems.is_empty() {
                source = format!("{source}; not readable: {}", context.roots.problems.join("; "));
            }
            (TlsEvidence::Failed { failed, source, kin }, None)
        }
    }
}

/// TLS as it is configured; none for http.
fn tls_context(config: &Config, environment: &Environment) -> Option<tls::Context> {
    config.brain_url.is_secure().then(|| tls::Context {
        roots: roots::load(&config.ca),
        host: config.brain_url.host_text(),
        clock: environment.clock,
    })
}

/// What a socket may do here: looked at before a name server or a distant host is blamed.
async fn local_network(budget: &Budget) -> LocalNetwork {
    let mut closed_families = Vec::new();
    for (family, address) in [("AF_INET", "0.0.0.0:0"), ("AF_INET6", "[::]:0")] {
        if let Err(error) = UdpSocket::bind(address).await {
            closed_families.push((family, error.raw_os_error().unwrap_or_default()));
        }
    }
    let wait = budget.with_each(LOOPBACK_WAIT);
    // Port 1 is closed practically everywhere; an answer of any kind will do.
    let loopback = wait.bound(TcpStream::connect(("127.0.0.1", 1))).await;
    LocalNetwork {
        closed_families,
        loopback_hangs: loopback.is_err_and(|up| !up.cut),
        interfaces: interfaces(Path::new("/proc/net/dev")),
    }
}

/// Interface names: the lines of /proc/net/dev behind its two of heading.
fn interfaces(file: &Path) -> Option<Vec<String>> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(file).ok()?.take(MAX_INTERFACES_BYTES).read_to_string(&mut text).ok()?;
    let names = text.lines().skip(2).filter_map(|line| line.split_once(':'));
    Some(names.map(|(name, _)| name.trim().to_owned()).collect())
}
